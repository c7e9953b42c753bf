"""hitless's prober under load: runs it for a while over some endpoints, and counts its probes, losses and CPU.

Counts come from the agents' own reports; the rows stay on disk and are never read, so that ten million probes need no memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.lab.accuracy import wait_live
from bench.machine import MachineLoad, MachineMeter
from clusters.agent_groups import PROCESS, REFLECTOR, SENDER
from clusters.lab.prober import LabProber
from hitless.clock import RunClock
from hitless.errors import WorldError
from hitless.facts import Endpoint, Flow, ProbeSpec
from hitless.records import read_record
from hitless.words import SECOND, Nanoseconds

_DRAIN_NS: Final = Nanoseconds(2 * SECOND)
_SLACK_S: Final = 60.0
"""Until every flow is live, and for starting and stopping."""
MISSED_SHARE_MAX: Final = 0.01
"""One late tick in a hundred is the machine's; more is too much load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The result of probing for a while."""

    flows: int
    interval_ns: int
    seconds: float
    """That were watched; probes are counted from start to end."""
    probes: int
    """That the kernel took."""
    lost: int
    """Of them never answered: nothing was injected, so each is false."""
    refused: int
    """Probes that the kernel did not take."""
    ticks_missed: int
    processes_us: Mapping[str, tuple[float, float]]
    """Process of the agents to its CPU per probe, user and system, us."""
    overflows: tuple[int, int]
    """Datagrams that a socket of the sender, of the reflector dropped because it was full."""
    limited: int
    """Probes that the reflector's rate limit left unanswered."""
    machine: MachineLoad

    @property
    def rate_hz(self) -> float:
        """Probes a second that were really sent, by the ticks that were not missed."""
        ticks = self.probes / self.flows
        return self.flows * 1e9 / self.interval_ns * ticks / (ticks + self.ticks_missed) if ticks else 0.0

    @property
    def missed_share(self) -> float:
        """Share of the ticks that were missed."""
        ticks = self.probes / self.flows + self.ticks_missed
        return self.ticks_missed / ticks if ticks else 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost and hardly a tick was late."""
        return self.lost == self.refused == 0 and self.missed_share <= MISSED_SHARE_MAX

    @property
    def cores(self) -> Mapping[str, float]:
        """Process to the share of one core that it took."""
        return {process: sum(used_us) * self.rate_hz / 1e6 for process, used_us in self.processes_us.items()}

    @property
    def user_us(self) -> float:
        """CPU of both ends in user mode, a probe (a round trip), us."""
        return sum(user_us for user_us, _ in self.processes_us.values())

    @property
    def system_us(self) -> float:
        """The same in the kernel; includes what softirqs do on their time."""
        return sum(system_us for _, system_us in self.processes_us.values())


def probe(
    endpoints: Sequence[Endpoint],
    namespace_path: Callable[[str], str | None],
    flows: Sequence[Flow],
    interval_ns: float,
    seconds: float,
) -> Load:
    """Probe these flows for so long, from the moment that all are live. Raises WorldError."""
    clock, interval = RunClock(), Nanoseconds(round(interval_ns))
    prober = LabProber(endpoints, namespace_path)
    limit_ns = Nanoseconds(round((seconds + _SLACK_S) * 1e9))
    probing = ProbeSpec(interval_ns=interval, drain_ns=_DRAIN_NS, duration_ns_max=limit_ns)
    with tempfile.TemporaryDirectory() as folder:
        try:
            prober.start(flows, probing, Path(folder), clock.epoch_ns)
            wait_live(prober)
            meter, began = MachineMeter(), time.monotonic()
            _wait(prober, began + seconds)
            machine, lasted = meter.read(), time.monotonic() - began
        finally:
            prober.stop()
        counters = {agent: _read_counters(Path(folder) / f"{agent}.json") for agent in (SENDER, REFLECTOR)}
        _, skipped = read_record(Path(folder) / f"{SENDER}.skipped")
    return _make_load(counters, len(flows), interval, lasted, int(skipped.size), machine)


def _wait(prober: LabProber, until_s: float) -> None:
    """Wait, and look now and then whether the agents live."""
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, 1.0))
        prober.is_live()


def _read_counters(path: Path) -> Mapping[str, int]:
    try:
        counters: Mapping[str, int] = json.loads(path.read_bytes())["counters"]
    except (OSError, ValueError, KeyError) as error:
        raise WorldError(f"the agent left no report: {path.name}: {error}") from error
    return counters


def _make_load(
    counters: Mapping[str, Mapping[str, int]],
    flows: int,
    interval_ns: int,
    seconds: float,
    ticks_missed: int,
    machine: MachineLoad,
) -> Load:
    sender, reflector = counters[SENDER], counters[REFLECTOR]
    probes = max(1, sender["sent"])

    def used_us(agent: Mapping[str, int]) -> tuple[float, float]:
        return agent["cpu_user_ns"] / 1000 / probes, agent["cpu_system_ns"] / 1000 / probes

    return Load(
        flows=flows,
        interval_ns=interval_ns,
        seconds=seconds,
        probes=sender["sent"],
        lost=sender["sent"] - sender["answered"],
        refused=sender["probes"] - sender["sent"],
        ticks_missed=ticks_missed,
        # What a shared process used is in the report of its first agent, the reflector.
        processes_us={agent: used_us(counters[agent]) for agent in (SENDER, REFLECTOR)}
        if sender["wakeups"]
        else {PROCESS: used_us(reflector)},
        overflows=(sender["receive_overflows"], reflector["receive_overflows"]),
        limited=reflector["rate_limited"],
        machine=machine,
    )
