"""A program of the system under test as a process: its log in the run's folder, its end noticed and quoted.

`end` asks it to end. A harness that is killed takes its programs along, with a sandbox and without: `clusters.linux.bound`
starts each. They follow the thread that started them, which is the run's own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from hitless.errors import ApiUnavailableError, WorldError, attempting
from hitless.words import MILLISECOND, Kind, Nanoseconds

_QUOTED_LINES: Final = 8
_QUOTED_CHARACTERS: Final = 400
_END_S: Final = 5.0
_GUARD_NS: Final = Nanoseconds(10 * MILLISECOND)
_PORTS: Final = range(20_000, 32_768)
_next_ports: Final[Iterator[int]] = itertools.cycle(
    (*_PORTS[os.getpid() % len(_PORTS) :], *_PORTS[: os.getpid() % len(_PORTS)])
)


class Process:
    """One running program.

    Args:
        name: how messages name it; its log is NAME.log.
        directory: of the log; it is appended to where the program is started again.
        environment: variables to set beside the harness's own.

    Raises:
        WorldError: it cannot be started.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with attempting(f"start {name} ({arguments[0]})"), self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - programs that the user named
                [sys.executable, "-m", "clusters.linux.bound", str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                process_group=0,  # Ctrl-C is for the harness, which ends it
            )

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def check(self) -> None:
        """Raise WorldError with the last lines of its log if it has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise WorldError(f"{self.name} {how}; {self.quote()}")

    def quote(self) -> str:
        """Return the place of its log, and the log's last lines."""
        with self._log.open(encoding="utf-8", errors="replace") as log:
            lines = [line.rstrip()[:_QUOTED_CHARACTERS] for line in deque(log, _QUOTED_LINES)]
        text = "\n  ".join(lines) if lines else "(it wrote nothing)"
        return f"its log is {self._log}, whose last lines are:\n  {text}"

    def end(self) -> None:
        """Ask it to end, and kill it if it does not. Safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it, as a crash does. Safe to call twice."""
        self._process.kill()
        self._process.wait()


class Followed(Protocol):
    """A participant that knows the programs' objects from watches."""

    def refresh(self) -> None:
        """List them. Raises ApiError."""

    def is_settled(self) -> bool:
        """See `hitless.ports.Participant`."""


class Guard:
    """Checks that every process still runs, and at the end that everything has really settled; a Participant.

    Watches of two kinds report at different times: a Network can be reported as reconciled before its new ManagedResource is
    reported, and the ManagedResource as applied before the new DaemonSet is reported. A run could end in between, before
    anything is switched.

    Args:
        check: raises WorldError if a process has ended.
        followed: the participants that rely on watches; those on which others depend come first.
    """

    name: Final = "guard"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, check: Callable[[], None], followed: Sequence[Followed]) -> None:
        self._check, self._followed = check, followed

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Raise WorldError if one has ended."""
        self._check()
        return Nanoseconds(now_ns + _GUARD_NS)

    def is_settled(self) -> bool:
        """Return whether they are still settled after a list; called once all others have settled."""
        try:
            for one in self._followed:
                one.refresh()
        except ApiUnavailableError:
            return False
        # Read after all lists: an apply is written before the status reports it.
        return all(one.is_settled() for one in self._followed)


def free_port() -> int:
    """Return a TCP port of the loopback that nothing listens on; a process gets each once.

    The kernel gives none of them to a connection, which could take it before the program does. Source: ip(7),
    ip_local_port_range.
    """
    for port in itertools.islice(_next_ports, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise WorldError(f"no TCP port from {_PORTS[0]} to {_PORTS[-1]} is free on the loopback")
