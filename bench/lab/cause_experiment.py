"""The cause experiment: outages of known cause in a lab, and the causes that the attribution finds.

The attribution gets the same history that a run would leave: events, records, counters of the whole run. It does not get the
truth. Used by a test (certain causes are never mistaken) and by the benchmark (precision and recall of each).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Final

from analysis.causes.attribution import Attribution
from analysis.causes.candidates import CauseKind
from analysis.evidence import Evidence
from bench.lab.accuracy import probed_lab, wait_live
from bench.lab.cause_scenes import LARGE_OCTETS, STAGES, distract
from bench.lab.cause_world import CauseWorld
from clusters.lab.network import LabNetwork
from hitless.clock import RunClock
from hitless.facts import ClusterFacts, Flow, ProbeSpec
from hitless.history import History, RunHeader
from hitless.words import SECOND, Arm, FlowId, FlowRole, Mode, Nanoseconds, Overlay, Profile
from tests.recorders import ListRecorder

HOLD_MS: Final = (25.0, 250.0)
"""Something is broken for so long, log-uniformly."""
PAUSE_MS: Final = (80.0, 200.0)
"""And nothing is for so long, before and after."""
NEAR_MS: Final = 20.0
"""Before something breaks something harmless may happen so shortly."""
MARGIN_NS: Final = Nanoseconds(30_000_000)
"""An outage is due to what was broken if it began no later than this after it was healed: a probe may still be on its way."""
_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What was broken."""

    kind: CauseKind
    subjects: frozenset[str]
    began_ns: Nanoseconds
    """Run clock before it was broken."""
    ended_ns: Nanoseconds
    """And after it was healed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One outage: the truth, and what the attribution said."""

    truth: Injection | None
    """None: nothing was broken then."""
    said: Attribution

    @property
    def is_right(self) -> bool:
        """Whether the likeliest cause is the true one."""
        return self.truth is not None and self.said.cause.kind is self.truth.kind

    @property
    def is_subject_right(self) -> bool:
        """Whether it also names what was broken, and nothing else."""
        return self.is_right and self.truth is not None and frozenset(self.said.cause.subjects) <= self.truth.subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseExperiment:
    """The outcome of one run."""

    injections: tuple[Injection, ...]
    answers: tuple[Answer, ...]
    """One an outage."""
    history: History


def run_cause_experiment(
    kinds: Sequence[CauseKind], directory: Path, *, rate_hz: float = 200, seed: int = 1
) -> CauseExperiment:
    """Bring a lab of 2 x 2 nodes up, break it in these ways in random order, and attribute. Inside the sandbox only.

    Args:
        kinds: what to break; one outage or several each.
        directory: an empty folder for the agents' records.
        rate_hz: probes per second per flow.
        seed: of everything that is drawn.

    Raises:
        WorldError: the lab or the agents failed.
    """
    choice = random.Random(seed)  # noqa: S311 - scenes, not secrets
    clock = RunClock()
    interval_ns = Nanoseconds(round(SECOND / rate_hz))
    events = ListRecorder(clock)
    with probed_lab(clock) as (network, prober):
        flows = make_flows(network)
        before = network.counters()
        probing = ProbeSpec(interval_ns=interval_ns, drain_ns=_THRESHOLD_NS, duration_ns_max=Nanoseconds(1800 * SECOND))
        events.record("run.started")
        prober.start(flows, probing, directory, clock.epoch_ns)
        wait_live(prober)
        events.record("run.live")
        world = CauseWorld(network, clock, events)
        injections = tuple(_play(world, clock, choice, choice.sample(kinds, len(kinds))))
        events.record("run.probing_stopped")
        prober.stop()
        history = History(
            header=_header(interval_ns),
            facts=_facts(network),
            flows=flows,
            events=tuple(sorted(events.events, key=lambda event: event.t_ns)),
            records=prober.collect(),
            counters_before=before,
            counters_after=network.counters(),
            final_nodes=network.inspect(),
            final_objects=(),
            errors=(),
        )
    said = Evidence(history).causes
    answers = tuple(Answer(truth=_truth(one, injections), said=one) for one in said)
    return CauseExperiment(injections=injections, answers=answers, history=history)


def make_flows(network: LabNetwork) -> tuple[Flow, ...]:
    """Return a flow between every two mesh pods, large packets from every fourth pair, then one within every node."""
    names = [node.mesh.name for node in network.plan.nodes]
    pairs = [(source, destination, FlowRole.MESH) for source, destination in permutations(names, 2)]
    pairs += [(node.mesh.name, node.control.name, FlowRole.CONTROL) for node in network.plan.nodes]
    flows = (
        Flow(id=FlowId(number), source=source, destination=destination, role=role)
        for number, (source, destination, role) in enumerate(pairs, 1)
    )
    return tuple(
        replace(flow, octets=LARGE_OCTETS) if flow.role is FlowRole.MESH and flow.id % 4 == 1 else flow for flow in flows
    )


def _play(world: CauseWorld, clock: RunClock, choice: random.Random, kinds: Sequence[CauseKind]) -> Iterator[Injection]:
    for kind in kinds:
        scene = STAGES[kind](world, choice)
        _pause(world, choice)
        began_ns = clock.now_ns()
        scene.break_it()
        _wait(world, choice, HOLD_MS[0] * (HOLD_MS[1] / HOLD_MS[0]) ** choice.random())
        scene.heal_it()
        yield Injection(kind=scene.kind, subjects=scene.subjects, began_ns=began_ns, ended_ns=clock.now_ns())
        _pause(world, choice)
        world.go_home()
    _pause(world, choice)


def _pause(world: CauseWorld, choice: random.Random) -> None:
    """Wait while nothing is broken; now and then something harmless happens just before what comes next."""
    _wait(world, choice, choice.uniform(*PAUSE_MS))
    if choice.random() < 1 / 2:
        distract(world, choice)
        time.sleep(choice.uniform(0, NEAR_MS) / 1000)


def _wait(world: CauseWorld, choice: random.Random, length_ms: float) -> None:
    """Wait, with something harmless at a random time."""
    at = choice.random()
    time.sleep(length_ms * at / 1000)
    distract(world, choice)
    time.sleep(length_ms * (1 - at) / 1000)


def _truth(said: Attribution, injections: Sequence[Injection]) -> Injection | None:
    """Return what was broken when the outage's first probe was lost."""
    outage = said.outage
    for injection in injections:
        if outage.onset_before_ns >= injection.began_ns and outage.onset_after_ns <= injection.ended_ns + MARGIN_NS:
            return injection
    return None


def _header(interval_ns: Nanoseconds) -> RunHeader:
    return RunHeader(
        scenario="causes",
        arm=Arm.UNGATED,
        trial=1,
        profile=Profile.FAST,
        overlay=Overlay.IPIP,
        start_mode=Mode.OVERLAY,
        wanted_mode=Mode.OVERLAY,
        end_mode=Mode.OVERLAY,
        interval_ns=interval_ns,
        forwarding_delay_threshold_ns=_THRESHOLD_NS,
        validation_ns=Nanoseconds(0),
        checks={},
        mutant=None,
    )


def _facts(network: LabNetwork) -> ClusterFacts:
    return ClusterFacts(
        backend="lab",
        carrier=network.carrier,
        nodes=network.nodes,
        endpoints=network.endpoints,
        zone_gateways=network.zone_gateways,
        underlay_mtu=network.underlay_mtu,
        pod_mtu=network.pod_mtu,
        permanent_neighbours=network.spec.has_permanent_neighbours,
        rp_filter=network.spec.rp_filter,
        versions={},
    )
