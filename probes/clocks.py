"""Two clocks, and the conversion between them.

The run clock is CLOCK_MONOTONIC; the kernel's receive times and the timestamps on the wire are CLOCK_REALTIME. Pairs of
both, taken each second, convert one into the other and are kept in the record, so that a step of the wall clock is seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probes import stamp

PAIR_PERIOD_NS: Final = 1_000_000_000
"""Time between two pairs."""
_TRIES: Final = 5
"""Readings for one pair: the narrowest counts."""
_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC. Source: linux/timex.h."""
_MICROSECOND_NS: Final = 1_000
UNKNOWN_ERROR_NS: Final = 16_000_000_000
"""The kernel's value if nothing synchronises the clock. Source: linux/ntp.c NTP_PHASE_LIMIT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One instant on both clocks."""

    monotonic_ns: int
    """Run clock, the middle of the two readings around `wall_ns`."""
    wall_ns: int
    """CLOCK_REALTIME, ns since 1970."""
    width_ns: int
    """Time between those two readings: the pair's error is half of it at most."""


class _Timex(ctypes.Structure):
    """The beginning of struct timex. Source: linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("esterror_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_ubyte * 256),
    )


_adjtimex = ctypes.CDLL(None).adjtimex


def take_pair(
    epoch_ns: int,
    monotonic: Callable[[], int] = time.monotonic_ns,
    wall: Callable[[], int] = time.time_ns,
) -> Pair:
    """Read the wall clock between two readings of the run clock; the narrowest of a few tries counts."""
    best: Pair | None = None
    for _ in range(_TRIES):
        before, at, after = monotonic(), wall(), monotonic()
        if best is None or after - before < best.width_ns:
            best = Pair(monotonic_ns=(before + after) // 2 - epoch_ns, wall_ns=at, width_ns=after - before)
    assert best is not None  # noqa: S101 - _TRIES is not 0
    return best


def read_clock_error() -> tuple[int, bool]:
    """Return the kernel's data on the wall clock: its largest error (ns) and whether it is synchronised.

    Without synchronisation the kernel reports 16 s, which means "unknown". Source: adjtimex(2), RFC 5905 11.3.
    """
    timex = _Timex()
    if _adjtimex(ctypes.byref(timex)) < 0:  # a seccomp profile can refuse even a read
        return UNKNOWN_ERROR_NS, False
    return timex.maxerror_us * _MICROSECOND_NS, not timex.status & _UNSYNCHRONISED


def read_clock_id() -> str:
    """Return the id of CLOCK_MONOTONIC here: agents with the same id read the same clock.

    The boot id is the kernel's, in every container of it; a time namespace has offsets of its own. Source: random(4),
    time_namespaces(7).
    """
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/time")
        return f"{boot} {namespace.readlink()}" if namespace.is_symlink() else boot
    return ""


class Bridge:
    """Converts wall time to the run clock by the latest pair.

    Args:
        epoch_ns: the CLOCK_MONOTONIC reading that is 0 on the run clock.
    """

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self.renew()

    def renew(self, longest_call_ns: int = 0) -> Pair:
        """Take a new pair, and measure the Error Estimate for the wire.

        It covers `longest_call_ns`: the longest time from reading the clock until the last packet of the batch left.
        """
        self.pair = take_pair(self._epoch_ns)
        clock_ns, is_synchronised = read_clock_error()
        self.error = stamp.encode_error(clock_ns + longest_call_ns + self.pair.width_ns, is_synchronised=is_synchronised)
        return self.pair

    def is_due(self, now_ns: int) -> bool:
        """Return whether the latest pair is a period old; `now_ns` on the run clock."""
        return now_ns - self.pair.monotonic_ns >= PAIR_PERIOD_NS

    def now_ns(self) -> int:
        """Return the present on the run clock."""
        return time.monotonic_ns() - self._epoch_ns

    @property
    def offset_ns(self) -> int:
        """Wall time minus run clock."""
        return self.pair.wall_ns - self.pair.monotonic_ns
