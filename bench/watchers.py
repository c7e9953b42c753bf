"""fping, irtt, iperf3 and ping as watchers of one path, and their estimates of every outage on it.

Each runs in its best setting, with the same precedence as hitless's agents:

    fping -o -i 0 -p PERIOD -t 500 -c N        once an outage: its report is a sum over a run
    irtt server -i 0; irtt client -o JSON      all the time
    iperf3 -s -i 0.1; iperf3 -u -l 44          all the time; it counts in rows of 0.1 s, which is shorter than any pause
    ping -D -O -n -i INTERVAL                  all the time

A tool that is missing or dies is skipped, with the reason.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.estimates import SentProbes, by_count_ns, by_times_ns
from bench.lab.injection import Truth
from bench.outputs import read_fping, read_iperf_row, read_irtt, read_ping
from bench.programs import Program
from hitless.errors import WorldError
from probes.clocks import Pair

LEAD_S: Final = 0.08
"""From fping's first reply to an outage, at least."""
_TAIL_S: Final = 0.1
_PAYLOAD_OCTETS: Final = 44
"""Of an iperf3 datagram: as large as our probes."""
_FOR_EVER_S: Final = 900
"""Who must be told an end at the start is told this one, and is ended before."""
_READY_S: Final = 10.0
_TELL_S: Final = 60.0
"""irtt writes 900 octets per probe when it is ended."""
_FPING_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The path that the watchers probe, and the rate."""

    source: Path
    """Namespace that they send from."""
    destination: Path
    """Namespace of the servers of those that need one."""
    address: str
    """Address there."""
    rate_hz: float

    @property
    def interval_s(self) -> float:
        """Time between two probes that every tool is asked for."""
        return 1 / self.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One kind of estimate by one tool."""

    tool: str
    by: str
    """How it comes to it."""
    lengths_ns: Sequence[float]
    """Of every outage, in order."""
    rate_hz: float | None
    """Probes a second that it really sent; None: it does not tell."""


class Watchers:
    """All of them; `skipped` says who is not among them, and why.

    Args:
        place: where they watch.
        folder: for their output.
        stack: ends them when it is left.
    """

    def __init__(self, place: Place, folder: Path, stack: ExitStack) -> None:
        self._place, self._folder, self._stack = place, folder, stack
        self._programs: dict[str, Program] = {}
        self._fpings: list[Program] = []
        self._iperf_marks: list[int] = []
        self.skipped: dict[str, str] = {}

    def start(self) -> None:
        """Start the tools that watch all the time, and return when they do."""
        for name, begin in (("irtt", self._start_irtt), ("iperf3", self._start_iperf), ("ping", self._start_ping)):
            self._try(name, begin)

    def expect(self, length_s: float) -> None:
        """Return when fping watches: the next outage comes within `LEAD_S` and one interval, and takes about `length_s`."""
        interval_s = self._place.interval_s
        count = math.ceil((LEAD_S + interval_s + length_s + _TAIL_S) / interval_s)
        shape = ["-o", "-i", "0", "-p", f"{interval_s * 1000:g}", "-t", "500", "-c", str(count)]

        def begin() -> None:
            self._fpings.append(self._run(f"fping-{len(self._fpings)}", ["fping", *shape, self._place.address]))
            self._fpings[-1].wait_text("[0]", _READY_S)

        if "fping" not in self.skipped:
            self._try("fping", begin)

    def note_end(self) -> None:
        """Note that an outage is over and that iperf3 has had time to print it."""
        self._iperf_marks.append(len(self._said("iperf3-server")))

    def stop(self) -> None:
        """End every tool, so that it prints the rest."""
        for name in ("irtt", "ping", "iperf3"):
            if name in self.skipped:
                continue
            program = self._programs[name]
            was_running = program.is_running
            code = program.end(signal.SIGINT, _TELL_S).code
            if not was_running:
                self.skipped[name] = f"it ended with {code} before it was told to: {' '.join(program.text.split())[-200:]}"

    def estimates(self, truths: Sequence[Truth], pair: Pair) -> list[Estimate]:
        """Return every tool's estimates of these outages; a tool whose output cannot be read is skipped.

        Args:
            truths: all outages, each announced by `expect` and followed by `note_end`.
            pair: of the truths' clock and the wall clock.
        """
        found: list[Estimate] = []

        def from_wall(probes: SentProbes) -> SentProbes:
            return SentProbes(sent_ns=probes.sent_ns - (pair.wall_ns - pair.monotonic_ns), is_lost=probes.is_lost)

        readers: dict[str, Callable[[], list[Estimate]]] = {
            "fping": self._read_fpings,
            "irtt": lambda: self._read_probes("irtt", from_wall(read_irtt((self._folder / "irtt.json").read_text())), truths),
            "iperf3": self._read_iperf,
            "ping": lambda: self._read_probes("ping", from_wall(read_ping(self._said("ping"))), truths),
        }
        for name, read in readers.items():
            if name not in self.skipped:
                self._try(name, lambda read=read: found.extend(read()))  # type: ignore[misc]
        return found

    def _start_irtt(self) -> None:
        address = self._place.address
        server = self._run("irtt-server", ["irtt", "server", "-i", "0", "-b", address], self._place.destination)
        server.wait_text("starting IPv4 listener", _READY_S)
        shape = [
            "-i",
            f"{self._place.interval_s * 1e6:g}us",
            "-d",
            f"{_FOR_EVER_S}s",
            "-q",
            "-o",
            str(self._folder / "irtt.json"),
        ]
        self._run("irtt", ["irtt", "client", *shape, address])
        server.wait_text("[NewConn]", _READY_S)

    def _start_iperf(self) -> None:
        server = self._run("iperf3-server", ["iperf3", "-s", "-i", "0.1", "--forceflush"], self._place.destination)
        server.wait_text("Server listening", _READY_S)
        bits = str(round(self._place.rate_hz * _PAYLOAD_OCTETS * 8))
        shape = ["-u", "-l", str(_PAYLOAD_OCTETS), "-b", bits, "-t", str(_FOR_EVER_S), "-i", "0"]
        self._run("iperf3", ["iperf3", "-c", self._place.address, *shape])
        server.wait_text("connected to", _READY_S)

    def _start_ping(self) -> None:
        arguments = ["ping", "-D", "-O", "-n", "-i", f"{self._place.interval_s:g}", self._place.address]
        self._run("ping", arguments).wait_text("icmp_seq=", _READY_S)

    def _run(self, name: str, arguments: Sequence[str], namespace: Path | None = None) -> Program:
        program = Program(arguments, self._folder / f"{name}.txt", namespace or self._place.source)
        self._programs[name] = self._stack.enter_context(program)
        return program

    def _try(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (WorldError, OSError) as error:
            self.skipped[name] = str(error)

    def _said(self, name: str) -> str:
        return self._programs[name].text if name in self._programs else ""

    def _read_fpings(self) -> list[Estimate]:
        lengths_ns = []
        for program in self._fpings:
            program.wait(_FPING_S, allowed=(0, 1))  # 1: no answer, which its report says too
            (report,) = read_fping(program.text)
            if report.outage_ms is None:
                raise WorldError("the tool reported no outage")
            lengths_ns.append(report.outage_ms * 1e6)
        return [Estimate(tool="fping", by="its -o", lengths_ns=lengths_ns, rate_hz=None)]

    def _read_iperf(self) -> list[Estimate]:
        """Add up, for every outage, the rows that the server printed between the end of the one before and its own."""
        said = self._said("iperf3-server")
        rows = [read_iperf_row(line) for line in said.splitlines()]
        times = [row for row in rows if row is not None and not row.is_sum]
        lengths_ns, since = [], 0
        for mark in self._iperf_marks:
            found = [row for row in map(read_iperf_row, said[since:mark].splitlines()) if row is not None and not row.is_sum]
            lengths_ns.append(sum(row.lost for row in found) * self._place.interval_s * 1e9)
            since = mark
        rate_hz = sum(row.total for row in times) / times[-1].until_s if times else None
        return [Estimate(tool="iperf3", by="count, one way", lengths_ns=lengths_ns, rate_hz=rate_hz)]

    def _read_probes(self, tool: str, probes: SentProbes, truths: Sequence[Truth]) -> list[Estimate]:
        counts = [by_count_ns(probes, truth, self._place.interval_s * 1e9) for truth in truths]
        times = [by_times_ns(probes, truth) for truth in truths]
        return [
            Estimate(tool=tool, by="count", lengths_ns=counts, rate_hz=probes.rate_hz),
            Estimate(tool=tool, by="send times", lengths_ns=times, rate_hz=probes.rate_hz),
        ]
