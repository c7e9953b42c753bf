"""The main path: one scenario, executed once, from an empty machine to a stored history.

It knows no scenario and no cluster: what to do comes in a frozen plan, where to do it through the ports. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from hitless.errors import HitlessError, MissingCapabilityError, WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, Flow, ProbeSpec
from hitless.history import History, RunHeader
from hitless.load import Load, LoadSpec
from hitless.loop import Loop
from hitless.ports import Clock, Cluster, Participant
from hitless.store import RunStore
from hitless.words import MILLISECOND, SECOND, FlowRole, JsonObject, Kind, Nanoseconds

LIVE_TIMEOUT_NS: Final = Nanoseconds(20 * SECOND)
"""If the probes are not answered by then, the run is INCONCLUSIVE. Ours: agents start within a second or two."""
_LIVE_POLL_NS: Final = Nanoseconds(10 * MILLISECOND)
T = TypeVar("T")


class Switch(Protocol):
    """The parts that perform the switch in one run."""

    @property
    def participants(self) -> Sequence[Participant]:
        """The participants of Gardener's parts."""
        ...

    def request(self) -> None:
        """Do what the operator does: change the Shoot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One fault and its cure."""

    name: str
    options: JsonObject
    at_ns: Nanoseconds
    """When, after the operator's request (or after the run became live where there is no request)."""
    for_ns: Nanoseconds | None
    """How long; None: until the scenario's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything that one run is to do."""

    header: RunHeader
    probing: ProbeSpec
    make_flows: Callable[[ClusterFacts], tuple[Flow, ...]]
    """Which pairs of endpoints are probed."""
    make_switch: Callable[[Cluster, ClusterFacts, Recorder], Switch]
    """Builds the parts that perform the switch."""
    faults: tuple[PlannedFault, ...]
    make_load: Callable[[ClusterFacts], LoadSpec] | None = None
    """Says which pods make and answer HTTP requests meanwhile; None: nobody does."""
    calibration_ns: Nanoseconds | None = None
    """How long the calibration flow is dropped before the switch; None: not at all."""
    baseline_ns: Nanoseconds
    """How long the run watches before the operator's request."""
    duration_ns_max: Nanoseconds
    """How long after the request it waits for everything to settle."""
    is_until_settled: bool
    """Whether it ends as soon as everything has settled; else it always takes `duration_ns_max`."""
    has_request: bool
    """Whether the operator asks for anything at all."""


def run(plan: RunPlan, cluster: Cluster, clock: Clock, store: RunStore) -> History:
    """Execute a plan and return its history, which is stored by then.

    1. Bring the cluster up, read its counters.
    2. Start the application load, where the plan has one, and the probe agents; wait until every user and every flow is
       answered; drop the calibration flow for a known time.
    3. Watch for the baseline time, then make the operator's request; the participants and the faults do their part.
    4. When everything has settled, or the time is over: cure the faults in reverse order; probe on for the validation time.
    5. Stop and drain the load and the agents; read counters and nodes; store the records.
    6. Take the cluster down.

    Steps 4 to 6 are done also after an error and after Ctrl-C. What the harness could not do is in `History.errors`.

    Raises:
        KeyboardInterrupt: after everything was cured, stored and taken down.
    """
    return _Execution(plan, cluster, clock, store).execute()


class _Execution:
    """The state of one run while it lasts."""

    def __init__(self, plan: RunPlan, cluster: Cluster, clock: Clock, store: RunStore) -> None:
        self._plan, self._cluster, self._clock, self._store = plan, cluster, clock, store
        self._events = store.events
        self._errors: list[str] = []
        self._injected: list[str] = []
        self._planned = len(plan.faults)
        """Faults that are still to be injected."""
        self._interrupt: KeyboardInterrupt | None = None
        self._load: Load | None = None

    def execute(self) -> History:
        plan, cluster, store = self._plan, self._cluster, self._store
        store.write_header(plan.header)
        self._events.record("run.started")
        try:
            facts = cluster.up()
            flows = plan.make_flows(facts)
            counters_before = cluster.counters()
            store.write_cluster(facts, flows, counters_before)
            try:
                self._attempt("probing", lambda: self._watch_switch(facts, flows))
            finally:
                self._finish()
        finally:
            cluster.down()
            store.close()
        if self._interrupt is not None:
            raise self._interrupt
        return store.read()

    def _watch_switch(self, facts: ClusterFacts, flows: tuple[Flow, ...]) -> None:
        plan, cluster, clock = self._plan, self._cluster, self._clock
        switch = plan.make_switch(cluster, facts, self._events)
        participants = (*switch.participants, *cluster.participants(self._events))
        self._start_load(facts)
        cluster.prober.start(flows, plan.probing, self._store.agents_directory, self._store.epoch_ns)
        self._wait_live(cluster.prober.is_live, "flow")
        self._events.record("run.live")
        self._calibrate(flows)
        loop = Loop(participants, cluster.kube, clock)
        loop.run(lambda: False, Nanoseconds(clock.now_ns() + plan.baseline_ns))
        start_ns = clock.now_ns()
        self._plan_faults(loop, start_ns)
        if plan.has_request:
            loop.at(start_ns, switch.request)
            # The request itself must have been made before anybody may say that all is settled.
            loop.run(lambda: False, Nanoseconds(start_ns + plan.probing.interval_ns))

        def is_over() -> bool:
            return plan.is_until_settled and not self._planned and all(one.is_settled() for one in participants)

        is_settled = loop.run(is_over, Nanoseconds(start_ns + plan.duration_ns_max))
        self._events.record("run.settled" if is_settled else "run.timed_out")
        if self._planned:
            message = f"{self._planned} faults were never injected: the time was over before"
            raise WorldError(message)

    def _start_load(self, facts: ClusterFacts) -> None:
        """Start the load before the probes, for its processes take seconds of the machine to begin."""
        make_load, load = self._plan.make_load, self._cluster.load
        if make_load is None:
            return
        if load is None:
            message = "this cluster makes no application load"
            raise MissingCapabilityError(message)
        self._load = load
        spec = make_load(facts)
        load.start(spec, self._store.load_directory, self._store.epoch_ns)
        self._wait_live(load.is_live, "user of the load")
        self._events.record("load.live", clients=list(spec.clients))

    def _wait_live(self, is_live: Callable[[], bool], what: str) -> None:
        deadline_ns = self._clock.now_ns() + LIVE_TIMEOUT_NS
        while not is_live():
            if self._clock.now_ns() > deadline_ns:
                message = f"not every {what} was answered within {LIVE_TIMEOUT_NS / SECOND:.0f} s; nothing was switched"
                raise WorldError(message)
            self._clock.wait_until(Nanoseconds(self._clock.now_ns() + _LIVE_POLL_NS))

    def _calibrate(self, flows: tuple[Flow, ...]) -> None:
        """Drop the calibration flow, where there is one and the cluster can, and write down when exactly."""
        calibrator, length_ns, clock = self._cluster.calibrator, self._plan.calibration_ns, self._clock
        flow = next((flow for flow in flows if flow.role is FlowRole.CALIBRATION), None)
        if flow is None or calibrator is None or length_ns is None:
            self._events.record("calibration.not_possible")
            return
        try:
            dropped = calibrator.drop(flow)
            clock.wait_until(Nanoseconds(dropped[1] + length_ns))
        finally:
            restored = calibrator.restore(flow)
        names = ("drop_began_ns", "drop_done_ns", "restore_began_ns", "restore_done_ns")
        self._events.record(
            "calibration.pulsed", t_ns=restored[1], flow=flow.id, **dict(zip(names, (*dropped, *restored), strict=True))
        )

    def _plan_faults(self, loop: Loop, start_ns: Nanoseconds) -> None:
        for fault in self._plan.faults:
            loop.at(Nanoseconds(start_ns + fault.at_ns), partial(self._inject, fault))
            if fault.for_ns is not None:
                loop.at(Nanoseconds(start_ns + fault.at_ns + fault.for_ns), partial(self._cure, fault.name))

    def _inject(self, fault: PlannedFault) -> None:
        self._injected.append(fault.name)
        self._planned -= 1
        began_ns = self._clock.now_ns()
        self._cluster.faults.inject(fault.name, fault.options)
        self._events.record("fault.injected", fault=fault.name, options=dict(fault.options), began_ns=int(began_ns))

    def _cure(self, name: str) -> None:
        began_ns = self._clock.now_ns()
        self._cluster.faults.cure(name)
        self._injected.remove(name)
        self._events.record("fault.cured", fault=name, began_ns=int(began_ns))

    def _finish(self) -> None:
        """Cure, watch on, stop, collect, store: each step is tried whatever became of the one before."""
        cluster, clock = self._cluster, self._clock
        for name in reversed(self._injected.copy()):
            self._attempt(f"cure of {name}", partial(self._cure, name))
        if not self._errors and self._interrupt is None:
            until = Nanoseconds(clock.now_ns() + self._plan.header.validation_ns)
            self._attempt("validation", lambda: clock.wait_until(until))
        self._finish_load()
        self._events.record("run.probing_stopped")
        self._attempt("stopping of the agents", cluster.prober.stop)
        records = self._attempt("collection of the records", cluster.prober.collect)
        if records is not None:
            self._attempt("storing of the records", partial(self._store.write_records, records))
        counters = self._attempt("reading of counters", cluster.counters)
        nodes = self._attempt("reading of nodes", cluster.inspect)
        objects: list[JsonObject] = []
        for kind in (Kind.NODE, Kind.IP_POOL, Kind.DAEMON_SET):
            objects.extend(self._attempt(f"reading of {kind}", partial(cluster.kube.list, kind)) or ())
        self._store.write_final(counters or {}, nodes or (), tuple(objects), tuple(self._errors))

    def _finish_load(self) -> None:
        """Stop the load while the probes still run: what it meets at the very end is on both records."""
        if self._load is None:
            return
        self._attempt("stopping of the load", self._load.stop)
        records = self._attempt("collection of the load's records", self._load.collect)
        if records is not None:
            self._attempt("storing of the load's records", partial(self._store.write_load, records))

    def _attempt(self, what: str, act: Callable[[], T]) -> T | None:
        """Call `act`; an error of ours is written down and ends nothing, Ctrl-C is remembered until the end.

        A bug is written down, too, so that nobody takes what is stored for a whole run, and goes its way.
        """
        try:
            return act()
        except HitlessError as error:
            self._errors.append(f"{what}: {error}")
        except KeyboardInterrupt as interrupt:
            self._interrupt = interrupt
            self._events.record("run.interrupted")
            self._errors.append(f"{what}: interrupted")
        except Exception as error:
            self._errors.append(f"{what}: {type(error).__name__}: {error}")
            raise
        return None
