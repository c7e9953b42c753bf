"""Probe records: the rows that agents write, their files, and the reader of both, also of what killed agents left.

An agent writes fixed little-endian rows into plain files, so that its record survives a crash: one JSON header line padded to
4,096 octets, then rows of one numpy dtype. This module ships into pods with the agent: standard library and numpy only.

All times are run-clock nanoseconds (CLOCK_MONOTONIC since `epoch_ns`); -1 means none. An address is 16 octets in network order,
an IPv4 address the IPv4-mapped one (::ffff:10.250.0.11; RFC 4291 2.5.5.2); all zero means none.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hitless.errors import RecordDamagedError

HEADER_OCTETS: Final = 4096
RECORD_SCHEMA: Final = "hitless.record/2"
NONE_NS: Final = -1
"""No such time."""
ADDRESS: Final = np.dtype("V16")
NO_ADDRESS: Final = np.void(bytes(16))

SENDER_ROW: Final = np.dtype(
    [
        ("flow", "<u4"),  # FlowId; 0: the row was never written
        ("seq", "<u4"),  # sequence number in the flow, from 0; skipped ticks use none
        ("send_began_ns", "<i8"),  # read just before the call that sent the probe
        ("send_ended_ns", "<i8"),  # read just after that call
        ("received", "<i8"),  # kernel's receive time of the first answer
        ("reflector_received", "<i8"),  # kernel's receive time at the reflector, from the answer
        ("reflector_sent", "<i8"),  # reflector's send time, from the answer
        ("forward_ttl", "u1"),  # TTL with which the probe reached the reflector, from the answer; 0: none
        ("return_ttl", "u1"),  # TTL with which the answer came back; 0: none
        ("reflector_seq", "<u4"),  # the reflector's own sequence number in the flow, from the answer
        ("copies", "u1"),  # answers received: 0 lost, 2 or more duplicated
        ("corrupted", "u1"),  # 1: an answer did not echo the probe
        ("send_errno", "<u2"),  # not 0: the kernel refused to send it; the probe was never offered
        ("failure", "<u2"),  # TCP: errno with which the probe's connection ended before its answer; 0: none
        ("retransmits", "u1"),  # TCP: retransmissions on the connection since the probe before, until its answer
    ]
)
"""One probe, in the order of sending. Source: RFC 8762 4.2-4.3 for what an answer carries."""

REFLECTOR_ROW: Final = np.dtype(
    [
        ("flow", "<u4"),
        ("seq", "<u4"),  # the sender's sequence number
        ("received", "<i8"),  # kernel's receive time of the probe
        ("sent", "<i8"),  # read just before the call that answered
        ("ttl", "u1"),  # TTL with which the probe came
        ("reflector_seq", "<u4"),  # number of the reflector's answer in this flow, from 0
        ("source", ADDRESS),  # source address, which shows whether it was rewritten on the way
    ]
)
"""One probe that reached its reflector, in the order of receiving: it makes the direction of every loss known."""

CONNECTION_ROW: Final = np.dtype(
    [
        ("flow", "<u4"),
        ("connection", "<u4"),  # number in the flow, from 0
        ("began", "<i8"),  # read before connect()
        ("at", "<i8"),  # time of the event
        ("what", "u1"),  # ConnectionEvent
        ("errno", "<u2"),  # why, where the kernel said so; 0: it did not
        ("seq", "<u4"),  # the flow's next sequence number then
        ("retransmits", "<u4"),  # segments retransmitted on it so far (TCP_INFO tcpi_total_retrans)
    ]
)
"""One event of a connection of a `tcp-established` flow: a row when it opened, a row when it ended."""


@unique
class ConnectionEvent(IntEnum):
    """The events of CONNECTION_ROW."""

    OPENED = 1
    CLOSED = 2
    """Closed by the agent at the end of the run."""
    RESET = 3
    """Ended by RST after it was open."""
    ENDED = 4
    """Ended by the other end, or by the kernel's time-out."""
    REFUSED = 5
    """Not opened: RST."""
    TIMED_OUT = 6
    """Not opened: silence."""
    UNREACHABLE = 7
    """Not opened: ICMP unreachable, or no local route."""


SKIPPED_ROW: Final = np.dtype(
    [
        ("due", "<i8"),  # when the tick was due
        ("woke", "<i8"),  # when the sender noticed that it was more than one interval late
    ]
)
"""One tick of a sender (all its flows) that was skipped, never caught up."""

CLOCK_ROW: Final = np.dtype(
    [
        ("monotonic", "<i8"),  # run clock
        ("wall", "<i8"),  # CLOCK_REALTIME at the same instant, ns since the epoch
        ("width", "<i8"),  # time between the two monotonic readings around it: the pair's error
    ]
)
"""One (monotonic, wall) pair, each second: kernel receive times are CLOCK_REALTIME and are converted by these."""

OVERFLOW_ROW: Final = np.dtype(
    [
        ("address", ADDRESS),  # of the endpoint whose socket it was
        ("flow", "<u4"),  # one of the flows that the socket serves: it names the socket among those of the endpoint
        ("is_reflector", "u1"),  # 1: a reflector's socket, probes were dropped; 0: a sender's, answers were
        ("since", "<i8"),  # the drops fell between these two looks
        ("until", "<i8"),
        ("dropped", "<u4"),  # datagrams (SK_MEMINFO_DROPS)
    ]
)
"""Datagrams that reached a socket of the prober and were dropped there: the instrument's loss, never downtime."""

REQUEST_ROW: Final = np.dtype(
    [
        ("client", "<u2"),  # place of the user's pod in LoadSpec.clients
        ("server", "<u2"),  # place of the server pod in LoadSpec.servers
        ("user", "<u2"),  # number of the user in its pod, from 0
        ("use", "u1"),  # hitless.load.ConnectionUse
        ("outcome", "u1"),  # hitless.load.RequestOutcome
        ("errno", "<u2"),  # why, where the kernel said so; 0: it did not
        ("status", "<u2"),  # of HTTP; 0: no answer came
        ("octets", "<u4"),  # of the body that came
        ("nth", "<u4"),  # requests that its connection had carried before; 0: the connection was opened for it
        ("missed", "<u4"),  # times before `due`, one interval apart, time at which the request was due and still waited
        ("due", "<i8"),  # time at which the request was due
        ("began", "<i8"),  # when it did
        ("connected", "<i8"),  # when the connection was open; -1: it was before, or never
        ("ended", "<i8"),  # when the answer was whole, or the user gave up
    ]
)
"""One request of the application load, in the order in which they ended. Times are on the run clock, ns."""

TABLES: Final[Mapping[str, np.dtype[Any]]] = {
    "sender": SENDER_ROW,
    "reflector": REFLECTOR_ROW,
    "skipped": SKIPPED_ROW,
    "clock": CLOCK_ROW,
    "connection": CONNECTION_ROW,
    "overflow": OVERFLOW_ROW,
    "requests": REQUEST_ROW,
}
"""Table name (also the file's suffix: `AGENT.sender`) to its row."""

STRAYS: Final = ("malformed", "foreign", "stale", "rate_limited")
"""Counters of packets that were not for the agent or that it did not answer; `stale` ones answer no known probe."""

_MAPPED: Final = bytes(10) + b"\xff\xff"

Rows = npt.NDArray[np.void]
"""A one-dimensional structured array of one of the dtypes above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """The final report of an agent: the JSON file `AGENT.json`."""

    agent: str
    """Name of the agent, such as `sender` or `reflector`."""
    counters: Mapping[str, int]
    """Those of STRAYS, `receive_overflows`, `answered`, `sent`, `probes`; `wakeups`, `cpu_user_ns`, `cpu_system_ns` are of its
    process, and 0 but for the first agent of it."""
    finished: bool
    """False: the agent ended without a report."""
    inner_loop: str = ""
    """What handled its datagrams: `compiled` or `python` (`probes.inner_loop`). Empty: not known."""
    clock: str = ""
    """Which CLOCK_MONOTONIC it read; equal ones are the same clock. Empty: not known, as good as the harness's."""
    offset_ns: int = 0
    """Added to its times, so that all agents' records are on one run clock; the value in the middle of the run."""
    offset_bound_ns: int = 0
    """How far its times may still be off those of an agent whose bound is 0. 0: one clock, nothing to be off."""
    run_clock_bound_ns: int = 0
    """How far the agents' run clock may be off the harness's, which dates the events."""


@dataclass(frozen=True, kw_only=True)
class ProbeRecords:
    """The records of one run, of all agents."""

    sender: Rows
    """SENDER_ROW, sorted by (flow, seq)."""
    reflector: Rows
    """REFLECTOR_ROW, in order of (flow, received)."""
    skipped: Rows
    """SKIPPED_ROW, of all senders, by due."""
    clocks: Mapping[str, Rows]
    """Agent name to its CLOCK_ROWs."""
    reports: tuple[AgentReport, ...]
    connections: Rows = field(default_factory=lambda: np.zeros(0, dtype=CONNECTION_ROW))
    """CONNECTION_ROW of all agents, in order of (flow, at)."""
    overflows: Rows = field(default_factory=lambda: np.zeros(0, dtype=OVERFLOW_ROW))
    """OVERFLOW_ROW of all agents."""

    @cached_property
    def is_whole(self) -> bool:
        """Whether every agent lived to report."""
        return all(report.finished for report in self.reports)

    @cached_property
    def clock_bound_ns(self) -> int:
        """How far the times of two agents may be off each other."""
        return 2 * max((report.offset_bound_ns for report in self.reports), default=0)

    @cached_property
    def run_clock_bound_ns(self) -> int:
        """How far the times of probes may be off those of events."""
        return max((report.run_clock_bound_ns for report in self.reports), default=0)


def encode_address(address: str) -> bytes:
    """Return the 16 octets of an address in a row."""
    parsed = ip_address(address)
    return parsed.packed if parsed.version == 6 else _MAPPED + parsed.packed  # noqa: PLR2004


def decode_address(octets: np.void) -> str:
    """Return the address of a row as text; an IPv4 address in dotted form."""
    address = IPv6Address(octets.tobytes())
    return str(address.ipv4_mapped or address)


def map_ipv4(numbers: npt.NDArray[np.unsignedinteger[Any]]) -> npt.NDArray[np.void]:
    """Return the 16 octets of IPv4 addresses that are numbers. Shape (n,) to (n,), V16; 0 becomes no address."""
    octets = np.zeros((len(numbers), 16), dtype=np.uint8)
    octets[:, 10:12] = 0xFF
    octets[:, 12:] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    octets[numbers == 0] = 0
    return octets.view(ADDRESS)[:, 0]


def encode_header(table: str, facts: Mapping[str, Any]) -> bytes:
    """Return the padded header of a file of TABLES; `facts` are what the agent wants to keep (its name, epoch, interval)."""
    document = {"schema": RECORD_SCHEMA, "table": table, "row_octets": TABLES[table].itemsize, **facts}
    line = json.dumps(document, sort_keys=True).encode()
    if len(line) >= HEADER_OCTETS:
        raise ValueError(f"the header of a record file has {len(line)} octets; at most {HEADER_OCTETS - 1} fit")
    return line.ljust(HEADER_OCTETS - 1) + b"\n"


def read_record(path: Path) -> tuple[dict[str, Any], Rows]:
    """Read a record file.

    A last row that was cut off (the agent was killed while writing) is left out, and so are sender and reflector rows that
    were never written (flow 0).

    Returns:
        The header and a one-dimensional array of its table's dtype.

    Raises:
        RecordDamagedError: not a record file, or of another schema.
    """
    try:
        content = path.read_bytes()
        header: dict[str, Any] = json.loads(content[:HEADER_OCTETS])
        dtype = TABLES[header["table"]]
        if header["schema"] != RECORD_SCHEMA or header["row_octets"] != dtype.itemsize:
            raise RecordDamagedError(f"{path}: the record is {header['schema']}; this version of hitless reads {RECORD_SCHEMA}")
        if len(content) < HEADER_OCTETS:
            raise RecordDamagedError(f"{path}: the header is truncated: {len(content)} of {HEADER_OCTETS} octets")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordDamagedError(f"{path}: not a record file: {error}") from error
    rows = np.frombuffer(content, dtype=dtype, offset=HEADER_OCTETS, count=(len(content) - HEADER_OCTETS) // dtype.itemsize)
    if "flow" in (dtype.names or ()):
        rows = rows[rows["flow"] != 0]
    return header, rows


_HOLE_OCTETS: Final = 1 << 40
"""Larger than any record file: no limit."""


def read_agents(directory: Path, agents: Sequence[str]) -> ProbeRecords:
    """Read and sort the records of some agents below a directory.

    Raises RecordDamagedError: a file is there and cannot be read.
    """
    rows = {table: [np.zeros(0, dtype=dtype)] for table, dtype in TABLES.items()}
    clocks: dict[str, Rows] = {}
    for agent in agents:
        for table in TABLES:
            path = directory / f"{agent}.{table}"
            if not path.exists():
                continue
            if table == "sender":
                # Without the right to write, reading takes longer with the same result.
                with suppress(PermissionError):
                    trim(path)
            _, content = read_record(path)
            rows[table].append(content)
            if table == "clock":
                clocks[agent] = content
    whole = {table: np.concatenate(parts) for table, parts in rows.items()}
    sender, reflector, skipped, connections = (whole[table] for table in ("sender", "reflector", "skipped", "connection"))
    return ProbeRecords(
        sender=sender[np.lexsort((sender["seq"], sender["flow"]))],
        reflector=reflector[np.lexsort((reflector["received"], reflector["flow"]))],
        skipped=skipped[np.argsort(skipped["due"], kind="stable")],
        clocks=clocks,
        reports=tuple(read_report(directory, agent) for agent in agents),
        connections=connections[np.lexsort((connections["at"], connections["flow"]))],
        overflows=whole["overflow"],
    )


def read_report(directory: Path, agent: str) -> AgentReport:
    """Read an agent's final report; if there is none, the agent did not finish. Raises RecordDamagedError."""
    path = directory / f"{agent}.json"
    if not path.exists():
        return AgentReport(agent=agent, counters={}, finished=False)
    try:
        return AgentReport(**json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordDamagedError(f"{path}: not an agent's report: {error}") from error


def trim(path: Path) -> None:
    """Truncate the hole at the end of a sparse record file: a killed agent leaves a file for its longest possible run.

    A file system that does not report holes leaves the file as it is, which is only slower to read.
    """
    with path.open("r+b") as file:
        descriptor, end = file.fileno(), 0
        try:
            while end < _HOLE_OCTETS:
                start = os.lseek(descriptor, end, os.SEEK_DATA)
                end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: no data behind `end`
                return
        if end:
            os.truncate(descriptor, end)


def find_agents(directory: Path) -> tuple[str, ...]:
    """Return the names of the agents that left a record file in a directory, in order."""
    return tuple(sorted({path.stem for table in TABLES for path in directory.glob(f"*.{table}")}))
