"""Application load: its settings, its records, and its port.

HTTP users between pods, beside the probes and on the same run clock, show what an application would have seen of a switch. They
are no instrument: a user that waits for an answer makes no other request. Requests that it missed are counted separately
(`missed`), and no downtime is ever computed from them.

This module ships with the processes of the load: standard library and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from pathlib import Path
from typing import Final, Protocol

from hitless.records import AgentReport, Rows
from hitless.words import Nanoseconds

USERS_MAX: Final = 100
"""Users in all. Chosen here: each is a greenlet and a connection."""
REQUESTS_HZ_MAX: Final = 500.0
"""Requests per second in total. A request takes about 0.5 ms of a core, both ends together (measured), beside the probes."""
BODY_OCTETS_MAX: Final = 1_200
"""Largest body of an answer: with its head it fits into one segment under every overlay. A longer answer leaves as one large
packet that a tunnel device cuts, so that the kernel's counters of packets do not balance any more (measured through the lab
with 200,000 octets: 91,843 packets sent, 201,525 received), and lost probes could not be told from them."""
CLIENTS_MAX: Final = 8
"""Pods with users: each is a Locust worker, an interpreter of 67 MB (measured)."""
SERVERS_MAX: Final = 64
"""Pods that answer."""


@unique
class ConnectionUse(IntEnum):
    """How a user connects."""

    REUSED = 1
    """One connection for all its requests, opened again where it broke: HTTP keep-alive."""
    NEW = 2
    """A new connection for each request."""

    @property
    def label(self) -> str:
        """How reports name it."""
        return self.name.lower()


@unique
class RequestOutcome(IntEnum):
    """The outcome of a request."""

    ANSWERED = 0
    REFUSED = 1
    """No connection: RST."""
    UNREACHABLE = 2
    """No connection, or the connection was lost: ICMP unreachable, or no local route."""
    CONNECT_TIMED_OUT = 3
    """No connection: silence."""
    RESET = 4
    """RST on an open connection."""
    ENDED = 5
    """The other end closed the connection before it answered."""
    TIMED_OUT = 6
    """No answer in time on an open connection."""
    WRONG_STATUS = 7
    """An answer other than 200."""
    WRONG_ANSWER = 8
    """An answer that is no HTTP, comes from another pod, or has another length."""
    OTHER = 9
    """`errno` says what."""
    ABORTED = 10
    """The load ended before the request: neither answered nor failed."""

    @property
    def label(self) -> str:
        """How reports name it."""
        return self.name.lower().replace("_", " ")

    @property
    def is_failure(self) -> bool:
        """Whether the application did not get its answer."""
        return self not in {RequestOutcome.ANSWERED, RequestOutcome.ABORTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """The load of a run: how much, and between which pods."""

    clients: tuple[str, ...]
    """Names of the pods that have users, at most CLIENTS_MAX: a Locust worker each."""
    servers: tuple[str, ...]
    """Names of the pods that answer, at most SERVERS_MAX; a user asks one of another node than its own."""
    users: int
    """In all; every second one opens a new connection each time. A multiple of the number of clients, at most USERS_MAX."""
    interval_ns: Nanoseconds
    """Time between two requests of a user."""
    body_octets: int
    """Of each answer, at most BODY_OCTETS_MAX."""
    timeout_ns: Nanoseconds
    """A user gives up a request after this."""
    duration_ns_max: Nanoseconds
    """The load ends after this: it is always bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRecords:
    """The records of the load of one run."""

    spec: LoadSpec
    rows: Rows
    """REQUEST_ROW of all users, in order of `began`."""
    reports: tuple[AgentReport, ...]
    """Of the service, of Locust's master (what it counted itself: `requests`, `failures`) and of each worker."""


class Load(Protocol):
    """Makes HTTP load between pods, in separate processes that end with the harness, and collects its records."""

    def start(self, spec: LoadSpec, directory: Path, epoch_ns: int) -> None:
        """Start services, then users. `epoch_ns` is the CLOCK_MONOTONIC reading that is 0 on the run clock.

        The processes write their own record files below `directory`. Raises WorldError; nothing runs then.
        """

    def is_live(self) -> bool:
        """Return whether every user has been answered. Raises WorldError if a process died."""

    def stop(self) -> None:
        """Make no more requests, wait for the outstanding answers, and end all processes. Safe to call twice."""

    def collect(self) -> LoadRecords:
        """Return the records. Raises RecordDamagedError."""
