"""The accuracy experiment: outages of known length in the lab's router, and what hitless measures of them.

Used by a test (the bounds must hold, always) and by the benchmark (how narrow they are, and how far off the middle is).
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from analysis.classify import classify
from analysis.measure import Outage, blind_ns, find_outages
from bench.lab.injection import LENGTH_MS, Lengths, Truth, inject, precedence
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from clusters.lab.sharp_switch import SharpSwitch
from clusters.lab.spec import LabSpec
from hitless.clock import RunClock, wait_until
from hitless.facts import Flow, ProbeSpec
from hitless.records import AgentReport, ProbeRecords
from hitless.words import SECOND, FlowId, FlowRole, Nanoseconds

_PAUSE_MS: Final = (40.0, 100.0)
_EDGE_S: Final = 0.4
_LIVE_S: Final = 20.0
_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)


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
        """Whether the measurement is compatible with the truth."""
        if self.outage is None:
            return self.truth.shortest_ns < self.blind_ns
        assert self.outage.longest_ns is not None  # noqa: S101 - the experiment ends long after the last outage
        is_short_enough = self.is_merged or self.outage.shortest_ns <= self.truth.longest_ns
        return is_short_enough and self.truth.shortest_ns <= self.outage.longest_ns

    @property
    def error_ns(self) -> float | None:
        """The middle of the measured bounds minus the middle of the true ones; None: merged with a neighbour.

        Who saw nothing says that there was no outage.
        """
        if self.outage is None:
            return -self.truth.middle_ns
        if self.outage.longest_ns is None or self.is_merged:
            return None
        return (self.outage.shortest_ns + self.outage.longest_ns) / 2 - self.truth.middle_ns

    @property
    def likely_error_ns(self) -> float | None:
        """The same for the likely length."""
        if self.outage is None:
            return -self.truth.middle_ns
        likely_ns = self.outage.likely_ns
        return None if likely_ns is None or self.is_merged else likely_ns - self.truth.middle_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The outcome of an experiment."""

    interval_ns: Nanoseconds
    samples: tuple[Sample, ...]
    """One an outage and flow between zones: all of those pass the router."""
    false_outages: tuple[Outage, ...]
    """Loss where nothing was injected."""
    ticks: int
    """That were sent."""
    ticks_missed: int
    reports: tuple[AgentReport, ...]


def measure_accuracy(
    rate_hz: float,
    count: int,
    directory: Path,
    *,
    seed: int = 1,
    is_pair: bool = False,
    blur_ns_max: float | None = None,
    length_ms: tuple[float, float] = LENGTH_MS,
) -> Accuracy:
    """Bring a lab of 2 x 2 nodes up, inject outages of random length and phase, and compare. Inside the sandbox only.

    Args:
        rate_hz: probes per second per flow.
        count: number of outages.
        directory: an empty folder for the agents' records.
        seed: of lengths and pauses.
        is_pair: probe one flow between two zones instead of the whole mesh.
        blur_ns_max: go on until this many outages are known at least this exactly, or twice as many were injected; None: never.
        length_ms: least and largest length of an outage.

    Raises:
        WorldError: the lab or the agents failed.
    """
    clock = RunClock()
    interval_ns = Nanoseconds(round(SECOND / rate_hz))
    with probed_lab(clock) as (network, prober):
        flows = make_pair(network) if is_pair else make_mesh(network)
        probing = ProbeSpec(interval_ns=interval_ns, drain_ns=_THRESHOLD_NS, duration_ns_max=Nanoseconds(1800 * SECOND))
        with SharpSwitch(network, [node.address for node in network.nodes]) as switch:
            prober.start(flows, probing, directory, clock.epoch_ns)
            wait_live(prober)
            truths = _inject_all(switch, count, Lengths(seed, _PAUSE_MS, length_ms), clock.epoch_ns, blur_ns_max)
            prober.stop()
        records = prober.collect()
    return _compare(flows, _crosses_router(network, flows), truths, records, interval_ns)


@contextmanager
def probed_lab(clock: RunClock) -> Iterator[tuple[LabNetwork, LabProber]]:
    """Bring a lab of 2 x 2 nodes up, with a prober for it; end both. Inside the sandbox only. Raises WorldError."""
    network = LabNetwork(LabSpec(), clock)
    network.up()
    prober = LabProber(network.endpoints, lambda name: str(network.namespace_path(name)))
    try:
        yield network, prober
    finally:
        prober.stop()
        network.down()


def make_pair(network: LabNetwork) -> tuple[Flow, ...]:
    """Return one flow, from a mesh pod to one of another zone."""
    first, last = network.plan.nodes[0], network.plan.nodes[-1]
    return (Flow(id=FlowId(1), source=first.mesh.name, destination=last.mesh.name, role=FlowRole.MESH),)


def make_mesh(network: LabNetwork) -> tuple[Flow, ...]:
    """Return a flow between every two mesh pods."""
    names = [node.mesh.name for node in network.plan.nodes]
    return tuple(
        Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)
        for number, (source, destination) in enumerate(permutations(names, 2), 1)
    )


def wait_live(prober: LabProber) -> None:
    """Wait until every flow is answered. Raises WorldError."""
    wait_until(prober.is_live, timeout_s=_LIVE_S, poll_s=0.01, unmet="not every flow was answered")


def _inject_all(
    switch: SharpSwitch, count: int, lengths: Lengths, epoch_ns: int, blur_ns_max: float | None
) -> tuple[Truth, ...]:
    truths: list[Truth] = []
    sharp = 0
    with precedence():
        time.sleep(_EDGE_S)
        while sharp < count and len(truths) < 2 * count:
            truths.append(inject(switch, lengths.draw_s(), epoch_ns))
            sharp += blur_ns_max is None or truths[-1].blur_ns <= blur_ns_max
            time.sleep(lengths.draw_pause_s())
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
        strays += [outage for outage in outages if not _inside(outage, expected)]
        ends = [outage.end_ns for outage in outages]
        for truth in expected:
            place = bisect_left(ends, truth.restored_after_ns)
            found = [outage for outage in outages[place : place + 1] if outage.onset_after_ns <= truth.dropped_before_ns]
            samples.append(
                Sample(
                    flow=flow.id,
                    truth=truth,
                    outage=found[0] if found else None,
                    is_merged=bool(found) and _inside(found[0], expected) > 1,
                    blind_ns=blind,
                )
            )
    return Accuracy(
        interval_ns=interval_ns,
        samples=tuple(samples),
        false_outages=tuple(strays),
        ticks=int(records.sender["seq"].max()) + 1 if records.sender.size else 0,
        ticks_missed=int(records.skipped.size),
        reports=records.reports,
    )


def _inside(outage: Outage, truths: Sequence[Truth]) -> int:
    """Return how many injected outages lie between the last answer before an outage and the first after it.

    Both are in order of time, and so are the truths.
    """
    first = bisect_left(truths, int(outage.onset_after_ns), key=lambda truth: truth.dropped_before_ns)
    last = bisect_right(truths, int(outage.end_ns), key=lambda truth: truth.restored_after_ns)
    return max(0, last - first)
