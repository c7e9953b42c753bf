"""Parsers of other tools' output: one pure function per format, tested on real output.

They raise WorldError if a text is not the output of the version below: better no number than a wrong one.
Sources: fping 5.1, irtt 0.9.0, iperf 3.12, ping of iputils 20221126, as Debian 12 ships them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.estimates import SentProbes
from hitless.errors import WorldError

_FPING: Final = re.compile(
    r"^(?P<target>\S+)\s*: xmt/rcv/%loss = (?P<sent>\d+)/(?P<received>\d+)/\d+%(?:, outage\(ms\) = (?P<outage>\d+))?",
    re.MULTILINE,
)
_PING_REPLY: Final = re.compile(r"^\[(\d+)\.(\d+)\] \d+ bytes from \S+: icmp_seq=(\d+) .*time=([\d.]+) ms", re.MULTILINE)
_PING_NONE: Final = re.compile(r"^\[(\d+)\.(\d+)\] no answer yet for icmp_seq=(\d+)$", re.MULTILINE)
_PING_END: Final = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)
_PING_SEQS: Final = 1 << 16
"""icmp_seq has 16 bits."""
_IPERF_ROW: Final = re.compile(
    r"^\[ *\d+\] +(?P<since>[\d.]+)-(?P<until>[\d.]+) +sec +.* (?P<lost>-?\d+)/(?P<total>\d+) \([^)]*\) *(?P<side>\w+)?$"
)
_IRTT_COUNTS: Final = re.compile(r"packets sent/received: (\d+)/(\d+) ")
_IRTT_DURATION: Final = re.compile(r"duration: ([\dhmµun.s]+)")
_IRTT_WAIT: Final = re.compile(r"\(wait ([\dhmµun.s]+)\)")
_GO_DURATION: Final = re.compile(r"([\d.]+)(h|ms|m|s|µs|us|ns)")
_GO_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many probes a tool sent and got back."""

    sent: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FpingReport:
    """The last line that fping prints of a target."""

    target: str
    counts: Counts
    outage_ms: int | None
    """With -o: lost packets times the period. None: it was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IperfRow:
    """One line of an iperf3 server about a UDP stream."""

    since_s: float
    until_s: float
    lost: int
    total: int
    is_sum: bool
    """Whether it is the line about the whole test."""


def read_fping(text: str) -> tuple[FpingReport, ...]:
    """Read the summary of `fping -o`: one report per target."""
    reports = tuple(
        FpingReport(
            target=found["target"],
            counts=Counts(sent=int(found["sent"]), received=int(found["received"])),
            outage_ms=None if found["outage"] is None else int(found["outage"]),
        )
        for found in _FPING.finditer(text)
    )
    if not reports:
        raise _unreadable("fping", text)
    return reports


def read_ping(text: str) -> SentProbes:
    """Read `ping -D -O -n`: when each probe was sent (CLOCK_REALTIME), and which were not answered.

    An answered probe was sent at the time of its answer minus its round trip; `no answer yet` is printed when the next one is
    sent. Neither gives the send time of the first lost probe of a series: it is taken half-way.
    """
    counts = read_ping_counts(text)
    known: dict[int, int] = {}
    answered: set[int] = set()
    events = [(found, True) for found in _PING_REPLY.finditer(text)] + [(found, False) for found in _PING_NONE.finditer(text)]
    latest = 1
    for found, is_answer in sorted(events, key=lambda event: event[0].start()):
        at_ns = int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0"))
        seq = int(found[3])
        seq += round((latest - seq) / _PING_SEQS) * _PING_SEQS
        latest = max(latest, seq)
        if is_answer:
            answered.add(seq)
            known[seq] = at_ns - round(float(found[4]) * 1e6)
        else:
            known.setdefault(seq + 1, at_ns)
    if not known:
        raise _unreadable("ping", text)
    seqs = np.arange(1, counts.sent + 1)
    places = np.array(sorted(known))
    # Relative times: a double does not hold nanoseconds since 1970.
    origin_ns = known[int(places[0])]
    times = np.interp(seqs, places, [known[int(place)] - origin_ns for place in places])
    return SentProbes(
        sent_ns=origin_ns + np.maximum.accumulate(np.rint(times).astype(np.int64)),
        is_lost=np.array([int(seq) not in answered for seq in seqs], dtype=np.bool_),
    )


def read_ping_counts(text: str) -> Counts:
    """Read the summary of ping."""
    found = _PING_END.search(text)
    if found is None:
        raise _unreadable("ping", text)
    return Counts(sent=int(found[1]), received=int(found[2]))


def read_irtt(text: str) -> SentProbes:
    """Read the JSON of `irtt client -o`: send times (CLOCK_REALTIME) and lost packets, in either direction."""
    try:
        trips = json.loads(text)["round_trips"]
        sent = np.array([trip["timestamps"]["client"]["send"]["wall"] for trip in trips], dtype=np.int64)
        lost = np.array([trip["lost"] != "false" for trip in trips], dtype=np.bool_)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable("irtt", text) from error
    if not sent.size:
        raise _unreadable("irtt", text)
    return SentProbes(sent_ns=sent, is_lost=lost)


def read_irtt_counts(text: str) -> tuple[Counts, float]:
    """Read the summary of `irtt client -q`.

    Returns:
        The counts, and the seconds that it sent for.
    """
    counts, duration, wait = _IRTT_COUNTS.search(text), _IRTT_DURATION.search(text), _IRTT_WAIT.search(text)
    if counts is None or duration is None:
        raise _unreadable("irtt", text)
    seconds = _read_go_duration(duration[1]) - (_read_go_duration(wait[1]) if wait else 0.0)
    return Counts(sent=int(counts[1]), received=int(counts[2])), seconds


def read_iperf_row(line: str) -> IperfRow | None:
    """Read a line of `iperf3 -s` about a UDP stream; None: it is about something else."""
    found = _IPERF_ROW.match(line.rstrip())
    if found is None or found["side"] == "sender":
        return None
    return IperfRow(
        since_s=float(found["since"]),
        until_s=float(found["until"]),
        lost=int(found["lost"]),
        total=int(found["total"]),
        is_sum=found["side"] == "receiver",
    )


def read_iperf_sum(lines: Iterable[str]) -> IperfRow:
    """Read what `iperf3 -s` says of the whole test."""
    text = list(lines)
    for row in map(read_iperf_row, text):
        if row is not None and row.is_sum:
            return row
    raise _unreadable("iperf3", "".join(text))


def _read_go_duration(text: str) -> float:
    return sum(float(number) * _GO_UNITS_S[unit] for number, unit in _GO_DURATION.findall(text))


def _unreadable(tool: str, text: str) -> WorldError:
    return WorldError(f"unexpected output of {tool}: {' '.join(text.split())[-300:] or 'nothing'}")
