"""Other programs under load: how much they send in a time, how much of it they lose, and their CPU.

CPU is that of the whole process including its start (milliseconds), which matters little in a run of seconds, and that of its
server.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.outputs import read_fping, read_iperf_sum, read_irtt_counts, read_ping_counts
from bench.programs import Ended, Program
from hitless.errors import WorldError

_READY_S: Final = 10.0
_LATE_S: Final = 15.0
"""A program that cannot keep up takes longer; it is stopped after this."""
_PAYLOAD_OCTETS: Final = 44
_FPING_PROBES: Final = 60_000
"""It has 65,536 sequence numbers and keeps each for 10 s: then it gives up. Source: fping 5.1, seqmap.c."""
_LOSSES: Final = (0, 1)
"""fping and ping end with 1 where answers are missing; their counts say how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLoad:
    """What became of it."""

    sent: int
    lost: int
    seconds: float
    user_s: float
    system_s: float

    @property
    def rate_hz(self) -> float:
        """Probes a second that were really sent."""
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a program sends from and to."""

    source: Path
    """Namespace."""
    destination: Path
    """Namespace of the server, where the program needs one."""
    addresses: Sequence[str]
    """All at the destination."""
    sources: Sequence[str] = ()
    """Addresses to send from, a process each; empty: one process, as the kernel chooses."""


def load_fping(ends: Ends, rate_hz: float, seconds: float, folder: Path) -> PeerLoad:
    """Let fping probe all addresses at this rate altogether; one process a source address. Raises WorldError.

    It sends for less than `seconds` where it would run out of sequence numbers.
    """
    period_ms = len(ends.addresses) * 1000 / rate_hz * max(1, len(ends.sources))
    count = min(math.ceil(seconds * 1000 / period_ms), _FPING_PROBES // len(ends.addresses))
    shape = ["-q", "-o", "-i", "0", "-p", f"{period_ms:g}", "-t", "500", "-c", str(count)]
    with ExitStack() as stack:
        began = time.monotonic()
        programs = []
        for index, source in enumerate(ends.sources or [""]):
            targets = [address for address in ends.addresses if address != source]
            arguments = ["fping", *shape, *(["-S", source] if source else []), *targets]
            programs.append(stack.enter_context(Program(arguments, folder / f"fping-{index}.txt", ends.source)))
        ended = [program.wait(seconds + _LATE_S, _LOSSES) for program in programs]
        lasted_s = time.monotonic() - began
        reports = [report for program in programs for report in read_fping(program.text)]
    sent = sum(report.counts.sent for report in reports)
    received = sum(report.counts.received for report in reports)
    return _sum_up(sent, sent - received, lasted_s, ended)


def load_irtt(ends: Ends, rate_hz: float, seconds: float, folder: Path, clients: int = 1) -> PeerLoad:
    """Let irtt probe the first address, by this many clients with a share of the rate each. Raises WorldError."""
    address, interval_us = ends.addresses[0], clients * 1e6 / rate_hz
    with ExitStack() as stack:
        output = folder / "irtt-server.txt"
        server = stack.enter_context(Program(["irtt", "server", "-i", "0", "-b", address], output, ends.destination))
        server.wait_text("starting IPv4 listener", _READY_S)
        shape = ["-i", f"{interval_us:g}us", "-d", f"{seconds:g}s", "-q", address]
        programs = [
            stack.enter_context(Program(["irtt", "client", *shape], folder / f"irtt-{index}.txt", ends.source))
            for index in range(clients)
        ]
        ended = [program.wait(seconds + _LATE_S) for program in programs]
        found = [read_irtt_counts(program.text) for program in programs]
        ended.append(server.end(signal.SIGINT))
    sent = sum(counts.sent for counts, _ in found)
    received = sum(counts.received for counts, _ in found)
    return _sum_up(sent, sent - received, max(lasted_s for _, lasted_s in found), ended)


def load_iperf(ends: Ends, rate_hz: float, seconds: float, folder: Path) -> PeerLoad:
    """Let iperf3 send datagrams one way to the first address. Raises WorldError."""
    address, bits = ends.addresses[0], str(round(rate_hz * _PAYLOAD_OCTETS * 8))
    with ExitStack() as stack:
        output = folder / "iperf3-server.txt"
        server = stack.enter_context(Program(["iperf3", "-s", "-1", "--forceflush"], output, ends.destination))
        server.wait_text("Server listening", _READY_S)
        shape = ["-u", "-l", str(_PAYLOAD_OCTETS), "-b", bits, "-t", str(math.ceil(seconds))]
        client = Program(["iperf3", "-c", address, *shape], folder / "iperf3.txt", ends.source)
        ended = [stack.enter_context(client).wait(seconds + _LATE_S), server.wait(_READY_S)]
        row = read_iperf_sum(server.text.splitlines())
    return _sum_up(row.total, row.lost, row.until_s - row.since_s, ended)


def load_ping(ends: Ends, rate_hz: float, seconds: float, folder: Path) -> PeerLoad:
    """Let ping probe the first address. Raises WorldError."""
    count = str(max(1, math.ceil(seconds * rate_hz)))
    arguments = ["ping", "-q", "-n", "-i", f"{1 / rate_hz:g}", "-c", count, "-w", str(math.ceil(seconds)), ends.addresses[0]]
    began = time.monotonic()
    with Program(arguments, folder / "ping.txt", ends.source) as program:
        ended = program.wait(seconds + _LATE_S, _LOSSES)
        lasted_s = time.monotonic() - began
        counts = read_ping_counts(program.text)
    return _sum_up(counts.sent, counts.sent - counts.received, lasted_s, [ended])


def _sum_up(sent: int, lost: int, seconds: float, ended: Sequence[Ended]) -> PeerLoad:
    if not sent:
        raise WorldError("the peer sent nothing")
    return PeerLoad(
        sent=sent,
        lost=lost,
        seconds=seconds,
        user_s=sum(one.user_s for one in ended),
        system_s=sum(one.system_s for one in ended),
    )
