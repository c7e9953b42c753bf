"""The bottleneck of a load that was not clean, by counters alone; without one, none is named. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bench.probing import MISSED_SHARE_MAX, Load
from hitless.words import JsonObject

_FULL_CORE: Final = 0.85
"""A process that uses this share of a core cannot absorb bursts."""
_SAID: Final = 0.01
_FULL_MACHINE: Final = 0.1
"""With less idle than this every wake-up waits."""


def name_limit(load: Load) -> str:
    """Say what limits; "nothing" of a clean load."""
    return "; ".join((*_name_losses(load), *_name_lateness(load))) or "nothing"


def _name_losses(load: Load) -> Iterator[str]:
    """Yield the places of lost probes that a counter shows."""
    for who, dropped in zip(("sender", "reflector"), load.overflows, strict=True):
        if dropped:
            yield f"full socket of the {who}: {dropped:,} dropped"
    if load.machine.backlog_dropped:
        yield f"full softirq queue: {load.machine.backlog_dropped:,} dropped"
    if load.limited:
        yield f"the reflector's rate limit: {load.limited:,}"
    if load.refused:
        yield f"the kernel took no more: {load.refused:,} refused"
    if load.lost and not (sum(load.overflows) or load.machine.backlog_dropped or load.limited):
        yield f"{load.lost:,} lost and no counter moved"


def _name_lateness(load: Load) -> Iterator[str]:
    """Yield why ticks were late, if too many were."""
    if load.missed_share <= MISSED_SHARE_MAX:
        return
    late = f"{load.missed_share:.0%} of the ticks late"
    reasons = [
        f"the process {process} takes {core:.0%} of a core" for process, core in load.cores.items() if core >= _FULL_CORE
    ]
    if load.machine.idle < _FULL_MACHINE:
        reasons.append(f"the machine's CPU is used up ({say_kinds(load.machine.busy)})")
    yield f"{late}: {', '.join(reasons)}" if reasons else f"{late}, although {load.machine.idle:.0%} of the CPU was idle"


def say_kinds(busy: Mapping[str, float]) -> str:
    """Return the kinds of CPU time that take a percent or more."""
    return ", ".join(f"{kind} {share:.0%}" for kind, share in busy.items() if share >= _SAID)


def describe_load(load: Load) -> JsonObject:
    """Return what is stored of a load."""
    return {
        "flows": load.flows,
        "reached_hz": round(load.rate_hz, 1),
        "seconds": round(load.seconds, 2),
        "probes": load.probes,
        "lost": load.lost,
        "refused": load.refused,
        "ticks_missed": load.ticks_missed,
        "missed_share": round(load.missed_share, 4),
        "is_clean": load.is_clean,
        "user_us": round(load.user_us, 2),
        "system_us": round(load.system_us, 2),
        "cores": {process: round(core, 3) for process, core in load.cores.items()},
        "busy": {kind: round(share, 3) for kind, share in load.machine.busy.items()},
        "machine_us": round(load.machine.busy_s / (load.rate_hz * load.seconds) * 1e6, 2) if load.probes else None,
        "backlog_dropped": load.machine.backlog_dropped,
        "squeezed": load.machine.squeezed,
        "overflows": list(load.overflows),
        "limit": name_limit(load),
    }
