"""The accuracy experiment: outages of known length in the lab's router, and what hitless measures of them.

The truth is itself an interval: dropping and forwarding begin somewhere within a netlink call, whose times are read just before
and just after it. Used by a test (the bounds must hold, always) and by the benchmark (how narrow they are).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from clusters.lab.drop_switch import DropSwitch
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from clusters.lab.spec import LabSpec
from hitless.clock import RunClock
from hitless.errors import WorldError
from hitless.measure import Outage, blind_ns, classify, find_outages
from hitless.ports import Flow, ProbeSpec
from hitless.records import AgentReport, ProbeRecords
from hitless.words import SECOND, FlowId, FlowRole, Nanoseconds

LENGTH_MS: Final = (5.0, 2000.0)
"""Outages are as long as this, log-uniformly: short ones are as often as long ones."""
_PAUSE_MS: Final = (60.0, 160.0)
_EDGE_S: Final = 0.4
_LIVE_S: Final = 20.0
_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One injected outage, on the run clock."""

    dropped_after_ns: int
    """Read before the call that made the router drop."""
    dropped_before_ns: int
    """Read after that call."""
    restored_after_ns: int
    """Read before the call that made it forward again."""
    restored_before_ns: int

    @property
    def shortest_ns(self) -> int:
        """It lasted at least this long."""
        return self.restored_after_ns - self.dropped_before_ns

    @property
    def longest_ns(self) -> int:
        """It lasted at most this long."""
        return self.restored_before_ns - self.dropped_after_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One injected outage as one flow saw it."""

    flow: FlowId
    truth: Truth
    outage: Outage | None
    """None: the flow lost nothing."""
    is_merged: bool
    """The flow saw no answer between this outage and a neighbour: they are one to it."""
    blind_ns: Nanoseconds

    @property
    def holds(self) -> bool:
        """Whether what was measured is compatible with the truth."""
        if self.outage is None:
            return self.truth.shortest_ns < self.blind_ns
        assert self.outage.longest_ns is not None  # noqa: S101 - the experiment ends long after the last outage
        is_short_enough = self.is_merged or self.outage.shortest_ns <= self.truth.longest_ns
        return is_short_enough and self.truth.shortest_ns <= self.outage.longest_ns

    @property
    def error_ns(self) -> float | None:
        """The middle of the measured bounds minus the middle of the true ones; None: not seen, or merged."""
        if self.outage is None or self.outage.longest_ns is None or self.is_merged:
            return None
        truth = (self.truth.shortest_ns + self.truth.longest_ns) / 2
        return (self.outage.shortest_ns + self.outage.longest_ns) / 2 - truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The outcome of an experiment."""

    interval_ns: Nanoseconds
    samples: tuple[Sample, ...]
    """One an outage and flow between zones: all of those pass the router."""
    false_outages: tuple[Outage, ...]
    """Loss where nothing was injected."""
    ticks_missed: int
    reports: tuple[AgentReport, ...]


def measure_accuracy(rate_hz: float, count: int, directory: Path, *, seed: int = 1) -> Accuracy:
    """Bring a lab of 2 x 2 nodes up, inject outages of random length and phase, and compare. Inside the sandbox only.

    Args:
        rate_hz: probes a second and flow.
        count: number of outages.
        directory: an empty folder for the agents' records.
        seed: of lengths and pauses.

    Raises:
        WorldError: the lab or the agents failed.
    """
    clock = RunClock()
    network = LabNetwork(LabSpec(), clock)
    interval_ns = Nanoseconds(round(SECOND / rate_hz))
    network.up()
    prober = LabProber(network.endpoints, lambda name: str(network.namespace_path(name)))
    try:
        flows = make_mesh(network)
        probing = ProbeSpec(interval_ns=interval_ns, drain_ns=_THRESHOLD_NS, duration_ns_max=Nanoseconds(1800 * SECOND))
        prober.start(flows, probing, directory, clock.epoch_ns)
        wait_live(prober)
        truths = _inject(network.drop_switch([node.address for node in network.nodes]), count, seed, clock.epoch_ns)
        prober.stop()
        records = prober.collect()
    finally:
        prober.stop()
        network.down()
    return _compare(flows, _crosses_router(network, flows), truths, records, interval_ns)


def make_mesh(network: LabNetwork) -> tuple[Flow, ...]:
    """Return a flow between every two mesh pods."""
    names = [node.mesh.name for node in network.plan.nodes]
    return tuple(
        Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)
        for number, (source, destination) in enumerate(permutations(names, 2), 1)
    )


def wait_live(prober: LabProber) -> None:
    """Wait until every flow is answered. Raises WorldError."""
    deadline_s = time.monotonic() + _LIVE_S
    while not prober.is_live():
        if time.monotonic() > deadline_s:
            raise WorldError(f"not every flow was answered within {_LIVE_S:g} s")
        time.sleep(0.01)


def _inject(switch: DropSwitch, count: int, seed: int, epoch_ns: int) -> tuple[Truth, ...]:
    choice = random.Random(seed)  # noqa: S311 - lengths, not secrets
    truths = []
    time.sleep(_EDGE_S)
    for _ in range(count):
        length_ms = LENGTH_MS[0] * (LENGTH_MS[1] / LENGTH_MS[0]) ** choice.random()
        dropped = switch.drop()
        time.sleep(length_ms / 1000)
        restored = switch.restore()
        times = [value - epoch_ns for value in (*dropped, *restored)]
        truths.append(
            Truth(
                dropped_after_ns=times[0],
                dropped_before_ns=times[1],
                restored_after_ns=times[2],
                restored_before_ns=times[3],
            )
        )
        time.sleep(choice.uniform(*_PAUSE_MS) / 1000)
    time.sleep(_EDGE_S)
    return tuple(truths)


def _crosses_router(network: LabNetwork, flows: Sequence[Flow]) -> frozenset[FlowId]:
    zones = {endpoint.name: endpoint.zone for endpoint in network.endpoints}
    return frozenset(flow.id for flow in flows if zones[flow.source] != zones[flow.destination])


def _compare(
    flows: Sequence[Flow],
    routed: frozenset[FlowId],
    truths: Sequence[Truth],
    records: ProbeRecords,
    interval_ns: Nanoseconds,
) -> Accuracy:
    samples: list[Sample] = []
    strays: list[Outage] = []
    for flow in flows:
        rows = records.sender[records.sender["flow"] == flow.id]
        log = records.reflector[records.reflector["flow"] == flow.id]
        probes = classify(rows, log, _THRESHOLD_NS, is_log_whole=True)
        outages = find_outages(flow.id, probes)
        expected = truths if flow.id in routed else ()
        blind = blind_ns(probes) or Nanoseconds(0)
        strays += [outage for outage in outages if not any(_contains(outage, truth) for truth in expected)]
        for truth in expected:
            outage = next((outage for outage in outages if _contains(outage, truth)), None)
            is_merged = outage is not None and sum(_contains(outage, other) for other in truths) > 1
            samples.append(Sample(flow=flow.id, truth=truth, outage=outage, is_merged=is_merged, blind_ns=blind))
    return Accuracy(
        interval_ns=interval_ns,
        samples=tuple(samples),
        false_outages=tuple(strays),
        ticks_missed=int(records.skipped.size),
        reports=records.reports,
    )


def _contains(outage: Outage, truth: Truth) -> bool:
    """Return whether the time from the last answer before an outage to the first after it holds an injected one."""
    return outage.onset_after_ns <= truth.dropped_before_ns and outage.end_ns >= truth.restored_after_ns
