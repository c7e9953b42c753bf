"""Tries of a sample: the instants at which one of its packets uses the path. It fails if all of them are dropped.

A datagram tries once. TCP sends again, so that a connection outlives every outage that is over before its last try within the
tool's patience. This is a model of Linux; its uncertainty is in the two ends of each try, and docs/estimators.md has what a
real kernel did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from bench.estimators.windows import Windows, make_windows, meet
from hitless.words import MILLISECOND, SECOND

INITIAL_TIMEOUT_NS: Final = SECOND
"""A SYN is sent again after this. Source: RFC 6298 2.1; Linux include/net/tcp.h TCP_TIMEOUT_INIT."""
LINEAR_TIMEOUTS: Final = 4
"""Retries before the time-out doubles. Source: Linux 6.5 and later, Documentation/networking/ip-sysctl.rst
tcp_syn_linear_timeouts; earlier kernels doubled at once."""
SHORTEST_TIMEOUT_NS: Final = 200 * MILLISECOND
"""A segment is sent again after this where the round trip is short; the time-out then doubles. Source: Linux
include/net/tcp.h TCP_RTO_MIN; RFC 6298 5.5."""
_LATENESS: Final = 8
"""A timer of the kernel fires late by up to this part of its length. Source: Linux kernel/time/timer.c, granularity of the
levels of the timer wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One packet of a sample."""

    earliest_ns: int
    """It meets the path no earlier than this after the sample began."""
    latest_ns: int
    """And no later than this."""


Tries = tuple[Try, ...]

ONCE: Final[Tries] = (Try(earliest_ns=0, latest_ns=0),)
"""A datagram, or a connection that is refused at once."""


def all_the_time(length_ns: int) -> Tries:
    """Return what stands for tries at unknown times: none of them gets through for certain only if nothing does."""
    return (Try(earliest_ns=0, latest_ns=length_ns),)


def every(period_ns: int, patience_ns: int) -> Tries:
    """Return tries one period apart, as long as the patience lasts."""
    return tuple(Try(earliest_ns=at, latest_ns=at) for at in range(0, patience_ns, period_ns))


def connect(patience_ns: int) -> Tries:
    """Return when a new connection sends its SYNs: 0, 1, 2, 3, 4, 5, 7, 11, 19, ... seconds after the first."""
    offsets = takewhile(lambda offset: offset < patience_ns, _syn_offsets())
    return tuple(Try(earliest_ns=offset, latest_ns=_late(offset)) for offset in offsets)


def send_again(patience_ns: int) -> Tries:
    """Return when a segment on an established connection is sent: 0, 0.2, 0.6, 1.4, 3.0, 6.2, ... seconds after the first time.

    A tail loss probe may come before the first of these (RFC 8985 7) and move the others by its own time-out.
    """
    offsets = takewhile(lambda offset: offset < patience_ns, _segment_offsets())
    return tuple(Try(earliest_ns=offset, latest_ns=_late(offset + SHORTEST_TIMEOUT_NS) if offset else 0) for offset in offsets)


def fails_surely(down: Windows, tries: Tries) -> Windows:
    """Return when a sample must begin so that all its tries are dropped, wherever between its two ends each of them falls."""
    return _meet_all(
        tuple((begin - one.earliest_ns, end - one.latest_ns) for begin, end in down if end - begin > _width(one))
        for one in tries
    )


def fails_possibly(down: Windows, tries: Tries) -> Windows:
    """Return when a sample must begin so that all its tries may be dropped."""
    return _meet_all(make_windows((begin - one.latest_ns, end - one.earliest_ns) for begin, end in down) for one in tries)


def _meet_all(each: Iterator[Windows]) -> Windows:
    found = next(each)
    for windows in each:
        if not found:
            break
        found = meet(found, windows)
    return found


def _width(one: Try) -> int:
    return one.latest_ns - one.earliest_ns


def _late(offset_ns: int) -> int:
    return offset_ns + offset_ns // _LATENESS


def _syn_offsets() -> Iterator[int]:
    offset, timeout = 0, int(INITIAL_TIMEOUT_NS)
    for sent in range(1, 100):
        yield offset
        offset += timeout
        timeout *= 2 if sent > LINEAR_TIMEOUTS else 1


def _segment_offsets() -> Iterator[int]:
    return (SHORTEST_TIMEOUT_NS * (2**doublings - 1) for doublings in range(100))
