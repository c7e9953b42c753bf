"""The machine's activity during a measurement: CPU time by kind, and the queues of the network's soft interrupts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KINDS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Fields of a `cpu` line. Source: proc(5), /proc/stat."""
_TICKS_A_SECOND: Final = 100
"""USER_HZ, whatever the kernel's own. Source: proc(5)."""
_DROPPED, _SQUEEZED = 1, 2
"""Fields of a line of softnet_stat: packets that found a CPU's queue full; times that a CPU ran out of its share. Source:
Linux, net/core/net-procfs.c softnet_seq_show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLoad:
    """The activity of the whole machine between two readings."""

    seconds: float
    cores: int
    busy: Mapping[str, float]
    """Kind of CPU time to its share of all cores' time: `user`, `system`, `softirq`, `other`; the rest is idle."""
    backlog_dropped: int
    """Packets dropped because a CPU's queue (net.core.netdev_max_backlog) was full."""
    squeezed: int
    """Times that a CPU had to leave packets for later (net.core.netdev_budget)."""

    @property
    def busy_s(self) -> float:
        """CPU time that all cores spent on something, s."""
        return sum(self.busy.values()) * self.cores * self.seconds

    @property
    def idle(self) -> float:
        """Share of all cores' time that was idle."""
        return max(0.0, 1 - sum(self.busy.values()))


class MachineMeter:
    """Looks when it is made, and at every `read` again."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._cpu, self._softnet = _read_cpu(), _read_softnet()

    def read(self) -> MachineLoad:
        """Return the load since the meter was created."""
        seconds = time.monotonic() - self._at
        cpu = {kind: now - then for (kind, now), then in zip(_read_cpu().items(), self._cpu.values(), strict=True)}
        whole = sum(cpu.values()) or 1
        softnet = [now - then for now, then in zip(_read_softnet(), self._softnet, strict=True)]
        parts = {
            "user": cpu["user"] + cpu["nice"],
            "system": cpu["system"],
            "softirq": cpu["softirq"],
            "other": cpu["irq"] + cpu["steal"],
        }
        return MachineLoad(
            seconds=seconds,
            cores=max(1, round(whole / _TICKS_A_SECOND / seconds)),
            busy={kind: value / whole for kind, value in parts.items()},
            backlog_dropped=softnet[0],
            squeezed=softnet[1],
        )


def parse_cpu(text: str) -> Mapping[str, int]:
    """Return kind of CPU time to ticks, of all cores, from the contents of /proc/stat."""
    fields = text.splitlines()[0].split()[1 : len(_KINDS) + 1]
    return dict(zip(_KINDS, map(int, fields), strict=True))


def parse_softnet(text: str) -> tuple[int, int]:
    """Return (dropped, squeezed) over all CPUs from the contents of /proc/net/softnet_stat; its numbers are hexadecimal."""
    lines = [line.split() for line in text.splitlines()]
    return sum(int(line[_DROPPED], 16) for line in lines), sum(int(line[_SQUEEZED], 16) for line in lines)


def _read_cpu() -> Mapping[str, int]:
    return parse_cpu(Path("/proc/stat").read_text(encoding="ascii"))


def _read_softnet() -> tuple[int, int]:
    return parse_softnet(Path("/proc/net/softnet_stat").read_text(encoding="ascii"))
