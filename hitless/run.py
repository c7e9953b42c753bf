"""The main path: one scenario, executed once, from an empty machine to a stored history.

It knows no scenario and no cluster: a frozen plan says what to do, and it acts through the ports. It judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from hitless.clock import wait_until
from hitless.errors import HitlessError, MissingCapabilityError, WorldError
from hitless.facts import CloudRoute, ClusterFacts, Flow
from hitless.faults import FaultTable
from hitless.history import History
from hitless.load import Load
from hitless.loop import Loop
from hitless.plan import PlannedFault, RunPlan, Switch
from hitless.plural import plural
from hitless.ports import Clock, Cluster
from hitless.store import RunStore, read_history
from hitless.words import Capability, FlowRole, JsonObject, Kind, Nanoseconds

LIVE_TIMEOUT_S: Final = 20.0
"""If the probes are not answered by then, the run is INCONCLUSIVE. Chosen here: agents start within a second or two."""
_LIVE_POLL_S: Final = 0.01
T = TypeVar("T")


def run(plan: RunPlan, cluster: Cluster, clock: Clock, store: RunStore) -> History:
    """Execute a plan and return its history, which is stored by then.

    1. Bring the cluster up, list its flows, read its counters.
    2. Start the application load, if the plan has one, and wait until every user is answered; start the probe agents and wait
       until every flow is answered; drop the calibration flow for a known time.
    3. Watch for the baseline time, then make the operator's requests; the participants and the faults do their part until
       everything has settled or the time is over.
    4. Cure the faults in reverse order; probe on for the validation time.
    5. Stop and collect the load, then the agents; read the counters, the nodes and the objects; store it all.
    6. Take the cluster down and close the store.

    An error or Ctrl-C in step 1 skips to step 6. One in step 2 or 3 skips to step 4, whose validation time is skipped if not
    every flow had been answered before. One in step 4 or 5 skips the rest of that part only, so a second Ctrl-C ends the
    validation time. The errors of steps 2 to 5 are in `History.errors`.

    Raises:
        WorldError: the cluster did not come up or could not be removed, or the store could not be written.
        RecordDamagedError: the stored run cannot be read.
        KeyboardInterrupt: Ctrl-C, after step 6.
        Exception: a bug, after step 6.

    The first of these is raised; a later error of step 6 becomes a note on it.
    """
    with _cleanup("closing the store", store.close), _cleanup("taking the cluster down", cluster.down):
        store.write_header(plan.header)
        store.events.record("run.started")
        facts = cluster.up()
        flows = plan.make_flows(facts)
        store.write_cluster(facts, flows, cluster.counters())
        execution = _Execution(plan, cluster, clock, store)
        try:
            execution.attempt("probing", lambda: execution.watch_switch(facts, flows))
        finally:
            execution.finish()
    return read_history(store.directory)


@contextmanager
def _cleanup(what: str, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at the end; its errors never hide an earlier error but become notes on it."""
    try:
        yield
    except BaseException as first:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told with the first one
            first.add_note(f"{what} failed, too: {type(error).__name__}: {error}")
        raise
    act()


class _Execution:
    """Steps 2 to 5 of one run, and their errors."""

    def __init__(self, plan: RunPlan, cluster: Cluster, clock: Clock, store: RunStore) -> None:
        self._plan, self._cluster, self._clock, self._store = plan, cluster, clock, store
        self._events = store.events
        self._errors: list[str] = []
        self._injected: list[PlannedFault] = []
        self._left = Counter(fault=len(plan.faults), request=len(plan.requests_ns))
        """Faults that are still to be injected, and requests that are still to be made."""
        self._switch: Switch | None = None
        self._load: Load | None = None
        self._is_live = False
        self._first_raised: BaseException | None = None
        """Ctrl-C or a bug: raised once everything is stored."""

    def watch_switch(self, facts: ClusterFacts, flows: tuple[Flow, ...]) -> None:
        """Do steps 2 and 3."""
        plan, cluster, clock = self._plan, self._cluster, self._clock
        switch = self._switch = plan.make_switch(cluster, facts, self._events)
        taken = {one.name for one in switch.participants}
        of_cluster = (one for one in cluster.participants(self._events) if one.name not in taken)
        participants = (*switch.participants, *of_cluster)
        self._start_load(facts)
        cluster.prober.start(flows, plan.probing, self._store.agents_directory, clock.epoch_ns)
        self._wait_live(cluster.prober.is_live, "flow")
        self._is_live = True
        self._events.record("run.live")
        self._calibrate(flows)
        loop = Loop(participants, cluster.kube, clock)
        loop.run(lambda: False, Nanoseconds(clock.now_ns() + plan.baseline_ns))
        start_ns = clock.now_ns()
        self._plan_faults(loop, start_ns, facts.node_names)
        for number, at_ns in enumerate(plan.requests_ns):
            loop.at(Nanoseconds(start_ns + at_ns), partial(self._request, switch, number))
        if plan.requests_ns:
            # Nothing has settled before the first request is made.
            loop.run(lambda: False, Nanoseconds(start_ns + plan.probing.interval_ns))

        def is_over() -> bool:
            is_quiet = plan.is_until_settled and not self._left.total()
            return is_quiet and all(one.is_settled() for one in participants)

        is_settled = loop.run(is_over, Nanoseconds(start_ns + plan.duration_ns_max))
        self._events.record("run.settled" if is_settled else "run.timed_out")
        left = [plural(count, what) for what, count in self._left.items() if count]
        if left:
            raise WorldError(f"the run ended before {' and '.join(left)}; lengthen duration_s, or inject and request earlier")

    def _request(self, switch: Switch, number: int) -> None:
        self._left["request"] -= 1
        switch.request(number)

    def _start_load(self, facts: ClusterFacts) -> None:
        """Start the load before the probes, because its processes need seconds of CPU to start."""
        make_load, load = self._plan.make_load, self._cluster.load
        if make_load is None:
            return
        if load is None:
            raise MissingCapabilityError(
                "this cluster cannot generate application load; use --backend lab for scenarios with `load`"
            )
        self._load = load
        spec = make_load(facts)
        load.start(spec, self._store.load_directory, self._clock.epoch_ns)
        self._wait_live(load.is_live, "user of the load")
        self._events.record("load.live", clients=list(spec.clients))

    def _wait_live(self, is_live: Callable[[], bool], what: str) -> None:
        unmet = f"nothing was switched: not every {what} was answered"
        wait_until(is_live, timeout_s=LIVE_TIMEOUT_S, poll_s=_LIVE_POLL_S, unmet=unmet, clock=self._clock)

    def _calibrate(self, flows: tuple[Flow, ...]) -> None:
        """Drop the calibration flow, if there is one and the cluster can, and record the exact times."""
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

    def _plan_faults(self, loop: Loop, start_ns: Nanoseconds, names: Mapping[str, str]) -> None:
        for planned in self._plan.faults:
            options = planned.options
            fault = replace(planned, options={**options, "node": names[options["node"]]}) if "node" in options else planned
            loop.at(Nanoseconds(start_ns + fault.at_ns), partial(self._inject, fault))
            if fault.for_ns is not None:
                loop.at(Nanoseconds(start_ns + fault.at_ns + fault.for_ns), partial(self._cure, fault))

    def _faults_of(self, name: str) -> FaultTable:
        """Return the owner of a fault: the parts that switch, or the cluster."""
        switch = self._switch
        return switch.faults if switch is not None and name in switch.faults.known() else self._cluster.faults

    def _inject(self, fault: PlannedFault) -> None:
        self._injected.append(fault)
        self._left["fault"] -= 1
        began_ns = self._clock.now_ns()
        self._faults_of(fault.name).inject(fault.name, fault.options)
        self._events.record("fault.injected", fault=fault.name, options=dict(fault.options), began_ns=int(began_ns))

    def _cure(self, fault: PlannedFault) -> None:
        began_ns = self._clock.now_ns()
        self._faults_of(fault.name).cure(fault.name, fault.options)
        self._injected.remove(fault)
        self._events.record("fault.cured", fault=fault.name, options=dict(fault.options), began_ns=int(began_ns))

    def finish(self) -> None:
        """Do steps 4 and 5: each part is tried even if one before failed.

        Raises:
            KeyboardInterrupt, Exception: Ctrl-C or a bug in steps 2 to 5; else:
            WorldError: the end could not be stored.
        """
        cluster, clock = self._cluster, self._clock
        for fault in reversed(self._injected.copy()):
            self.attempt(f"cure of {fault.name}", partial(self._cure, fault))
        if self._is_live:
            until = Nanoseconds(clock.now_ns() + self._plan.header.validation_ns)
            self.attempt("validation", lambda: clock.wait_until(until))
        self._finish_load()
        self.attempt("recording of the end", partial(self._events.record, "run.probing_stopped"))
        self.attempt("stopping of the agents", cluster.prober.stop)
        records = self.attempt("collection of the records", cluster.prober.collect)
        if records is not None:
            self.attempt("storing of the records", partial(self._store.write_records, records))
        counters = self.attempt("reading of counters", cluster.counters)
        nodes = self.attempt("reading of nodes", cluster.inspect)
        routes = self.attempt("reading of the cloud's tables", self._read_tables)
        objects: list[JsonObject] = []
        for kind in (Kind.NODE, Kind.IP_POOL, Kind.DAEMON_SET):
            objects.extend(self.attempt(f"reading of {kind}", partial(cluster.kube.list, kind)) or ())
        try:
            self._store.write_final(counters or {}, nodes or (), tuple(objects), tuple(self._errors), routes)
        finally:
            if self._first_raised is not None:
                raise self._first_raised

    def _read_tables(self) -> tuple[CloudRoute, ...] | None:
        """Return the routes of all tables; None: this cluster has no table within reach."""
        if Capability.ROUTE_TABLES not in self._cluster.capabilities():
            return None
        tables = self._cluster.routes
        return tuple(route for zone in tables.zones() for route in tables.list(zone))

    def _finish_load(self) -> None:
        """Stop the load while the probes still run, so that both records cover its end."""
        if self._load is None:
            return
        self.attempt("stopping of the load", self._load.stop)
        records = self.attempt("collection of the load's records", self._load.collect)
        if records is not None:
            self.attempt("storing of the load's records", partial(self._store.write_load, records))

    def attempt(self, what: str, act: Callable[[], T]) -> T | None:
        """Call `act`; record its error and go on. Ctrl-C and bugs are raised at the run's end."""
        try:
            return act()
        except HitlessError as error:
            self._errors.append(f"{what}: {error}")
        except KeyboardInterrupt as interrupt:
            self._events.record("run.interrupted")
            self._errors.append(f"{what}: interrupted")
            self._first_raised = self._first_raised or interrupt
        except Exception as bug:  # noqa: BLE001 - raised at the end
            self._errors.append(f"{what}: {type(bug).__name__}: {bug}")
            self._first_raised = self._first_raised or bug
        return None
