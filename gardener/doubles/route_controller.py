"""The double of aws-custom-route-controller, which writes a route per node into every zone's table, then the nodes' conditions.

Only a tick does work. An update describes all tables once, then deletes and creates one route after the other, then writes the
conditions one after the other. The time of a call or patch is modelled by a later wake-up. A throttled call is retried three
times inside the SDK, so short throttling is invisible. A call that hangs has no time-out: it ends with its answer, or when the
liveness probe restarts the process. What a condition says is `gardener.doubles.route_plan.conclude`. It does not watch
conditions: one that another writer overwrites stays overwritten until nodes change, an update is retried, or the sync period
ends. Nodes are taken in order of their names; the real order is that of a Go map. Source: aws-custom-route-controller
pkg/controller/reconciler.go:89-325, pkg/updater/routes.go:117-222; observed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from gardener.conditions import dated, network_unavailable, route_condition
from gardener.doubles.cloud import Cloud
from gardener.doubles.route_plan import Call, RouteControllerMode, conclude, follow_nodes, plan_table
from gardener.gate import has_route_created
from gardener.timings import Timings
from hitless.clock import read_wall_time
from hitless.errors import ApiError, RouteTableError, RouteThrottledError
from hitless.events import Recorder
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, JsonObject, Kind, Nanoseconds

USER: Final = "system:serviceaccount:kube-system:aws-custom-route-controller"
"""Writer of the conditions: not calico-node, so the admission policy does not apply. Source: provider-aws
valuesprovider.go:100, shoot access secret shoot-access-aws-custom-route-controller."""

PATCH_ATTEMPTS_MAX: Final = 10
"""Attempts to write one condition; each wait is 1.5 times the previous one. Source: reconciler.go
updateNetworkConditionBackoff."""

THROTTLE_RETRIES_MAX: Final = 3
"""Retries inside one throttled call. Source: observed; AWS SDK's standard retryer."""

_Step = Callable[[Nanoseconds], Nanoseconds]


class RouteController:
    """Maintains the tables and reports on the nodes; a Participant.

    Args:
        replicas: 0, or 1 if it has been running for a long time.
    """

    name: Final = "aws-custom-route-controller"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self,
        *,
        kube: KubeApi,
        cloud: Cloud,
        recorder: Recorder,
        timings: Timings,
        mode: RouteControllerMode,
        replicas: int,
    ) -> None:
        self._kube = kube
        self._cloud = cloud
        self._recorder = recorder
        self._timings = timings
        self._mode = mode
        latency_ns = cloud.behaviour.create_ns
        self._call_ns = timings.route_create_ns if latency_ns is None else latency_ns
        self.replicas = replicas
        """Number of running replicas: 0 or 1."""
        self._is_away = False
        self._due_ns = Nanoseconds(0)
        self._forget(self._due_ns)

    def scale(self, replicas: int, at_ns: Nanoseconds) -> None:
        """Start the controller or stop it, at any point of its work."""
        if replicas == self.replicas:
            return
        self.replicas = replicas
        self._start(at_ns)

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Stop the process, or start it again as `scale` does; the number of replicas stays."""
        self._is_away = is_away
        self._start(at_ns)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Take the next step if it is due."""
        if self.replicas == 0 or self._is_away:
            # Scaling comes from outside the loop; a wake-up at this interval is early enough for the first tick.
            return Nanoseconds(now_ns + max(self._timings.route_controller_start_ns, MILLISECOND))
        if now_ns >= self._due_ns:
            self._due_ns = self._step(now_ns)
        return self._due_ns

    def is_settled(self) -> bool:
        """Return whether it is stopped, or waits for a tick without a failure or unfinished work."""
        is_waiting = self._step == self._tick and self._has_updated and not self._is_changed
        return self.replicas == 0 or (is_waiting and self._retry_delay_ns == 0 and not self._is_away)

    def _start(self, at_ns: Nanoseconds) -> Nanoseconds:
        """Start the process; returns when its first tick comes."""
        timings = self._timings
        self._forget(Nanoseconds(at_ns + timings.route_controller_start_ns + timings.route_controller_first_tick_ns))
        return self._due_ns

    def _forget(self, first_tick_ns: Nanoseconds) -> None:
        """Start with the state of a new process."""
        self._step: _Step = self._tick
        self._due_ns = first_tick_ns
        self._next_tick_ns = first_tick_ns
        self._wanted: dict[str, str] = {}
        """Node to the destination of its route."""
        self._is_changed = False
        self._has_updated = False
        self._updated_ns = first_tick_ns
        self._failed_ns = first_tick_ns
        self._retry_delay_ns = 0
        self._calls: deque[Call] = deque()
        self._began_ns = first_tick_ns
        self._retries = 0
        self._hung_ns = first_tick_ns
        self._failed: set[tuple[str, str]] = set()
        """Zone and destination of each route that this update could not create."""
        self._errors: list[str] = []
        self._writes: deque[tuple[str, bool]] = deque()
        self._patches = 0
        self._synced: frozenset[str] = frozenset()

    def _tick(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Check whether there is a reason to update: a changed node, a retry, the sync period."""
        period_ns = self._timings.route_controller_tick_ns
        while self._next_tick_ns <= now_ns:
            self._next_tick_ns = Nanoseconds(self._next_tick_ns + period_ns)
        self._follow_nodes()
        is_sync_due = self._has_updated and now_ns > self._updated_ns + self._timings.route_controller_sync_ns
        is_retry_due = self._retry_delay_ns > 0 and now_ns > self._failed_ns + self._retry_delay_ns
        if not (self._is_changed or is_sync_due or is_retry_due):
            return self._next_tick_ns
        self._is_changed = False
        if not self._wanted:
            self._has_updated = True
            return self._next_tick_ns
        return self._begin_update(now_ns)

    def _follow_nodes(self) -> None:
        try:
            wanted = follow_nodes(self._wanted, self._kube.list(Kind.NODE))
        except ApiError:
            return  # The real controller continues with its cache; before its first list it does not start.
        if wanted != self._wanted or not self._has_updated:
            self._wanted, self._is_changed = wanted, True

    def _begin_update(self, now_ns: Nanoseconds) -> Nanoseconds:
        self._failed, self._errors = set(), []
        if self._cloud.is_hanging:
            return self._hang(now_ns)
        try:
            tables = self._cloud.describe()
        except RouteTableError as error:
            if self._is_tried_again(error):
                return self._pause(now_ns, self._begin_update)
            return self._end_update(now_ns, self._conclude_nothing(), [str(error)])
        self._retries = 0
        self._calls = deque(call for zone, present in tables.items() for call in plan_table(zone, present, self._wanted))
        return self._begin_call(now_ns)

    def _conclude_nothing(self) -> dict[str, bool]:
        """Conclude from a failed DescribeRouteTables: nothing, or, like the real controller, that no node has a route."""
        match self._mode:
            case RouteControllerMode.IDEAL:
                return {}
            case RouteControllerMode.FAITHFUL:
                return dict.fromkeys(self._wanted.values(), False)

    def _begin_call(self, now_ns: Nanoseconds) -> Nanoseconds:
        if not self._calls:
            results = conclude(self._mode, self._cloud.zones(), self._wanted.values(), self._failed)
            return self._end_update(now_ns, results, self._errors)
        self._step, self._began_ns = self._end_call, now_ns
        return Nanoseconds(now_ns + self._call_ns)

    def _end_call(self, now_ns: Nanoseconds) -> Nanoseconds:
        if self._cloud.is_hanging:
            return self._hang(now_ns)
        call, error = self._calls[0], None
        route = call.route
        try:
            if call.is_delete:
                self._cloud.delete(route.zone, route.cidr)
            else:
                self._cloud.describe_instance()
                self._cloud.create(route)
        except RouteTableError as caught:
            if self._is_tried_again(caught):
                return self._pause(now_ns, self._end_call)
            error = str(caught)
        self._retries = 0
        self._calls.popleft()
        facts: JsonObject = {"zone": route.zone, "cidr": route.cidr, "node": route.node}
        if error is not None:
            self._errors.append(error)
            if not call.is_delete:
                self._failed.add((route.zone, route.cidr))
            self._recorder.record("route.failed", **facts, error=error)
        else:
            created = "route.created" if self._cloud.is_effective(route) else "route.accepted"
            name = "route.deleted" if call.is_delete else created
            self._recorder.record(name, **facts, began_ns=self._began_ns)
        return self._begin_call(now_ns)

    def _is_tried_again(self, error: RouteTableError) -> bool:
        return isinstance(error, RouteThrottledError) and self._retries < THROTTLE_RETRIES_MAX

    def _pause(self, now_ns: Nanoseconds, step: _Step) -> Nanoseconds:
        """Try the same call again after a pause. Source: AWS SDK's standard retryer; observed."""
        self._step = step
        self._retries += 1
        exponent = self._retries - 1
        return Nanoseconds(now_ns + self._timings.throttle_pause_first_ns * 11**exponent // 3**exponent)

    def _hang(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Wait for the answer of the present call."""
        step, self._hung_ns = (self._begin_update if self._step == self._tick else self._end_call), now_ns

        def wait(now_ns: Nanoseconds) -> Nanoseconds:
            if not self._cloud.is_hanging:
                self._step = step
                return step(now_ns)
            if now_ns < self._hung_ns + self._timings.route_controller_health_ns:
                return Nanoseconds(now_ns + self._timings.condition_write_ns)
            first_tick_ns = self._start(now_ns)
            error = "a call to the route API hangs; the liveness probe fails and the process is restarted"
            self._recorder.record("reconcile.failed", actor=self.name, error=error, retry_ns=first_tick_ns - now_ns)
            return first_tick_ns

        self._step = wait
        return wait(now_ns)

    def _end_update(self, now_ns: Nanoseconds, results: Mapping[str, bool], errors: list[str]) -> Nanoseconds:
        if errors:
            tick_ns, max_ns = self._timings.route_controller_tick_ns, self._timings.route_controller_backoff_max_ns
            self._failed_ns = now_ns
            self._retry_delay_ns = min(4 * self._retry_delay_ns // 3, max_ns) if self._retry_delay_ns else tick_ns
            self._recorder.record("reconcile.failed", actor=self.name, error="; ".join(errors), retry_ns=self._retry_delay_ns)
        else:
            self._retry_delay_ns = 0
        self._writes = deque(self._plan_writes(results))
        self._patches = 0
        return self._begin_write(now_ns)

    def _plan_writes(self, results: Mapping[str, bool]) -> list[tuple[str, bool]]:
        """List the conditions to write, by spec.podCIDR, without those that are right already."""
        try:
            nodes = self._kube.list(Kind.NODE)
        except ApiError as error:
            self._give_up(str(error))
            return []
        found = {node.get("spec", {}).get("podCIDR"): node for node in nodes}
        return [
            (found[cidr]["metadata"]["name"], is_created)
            for cidr, is_created in results.items()
            if cidr in found and not _says(found[cidr], is_created=is_created)
        ]

    def _begin_write(self, now_ns: Nanoseconds) -> Nanoseconds:
        if not self._writes:
            return self._wait_for_tick(now_ns)
        self._step = self._end_write
        return Nanoseconds(now_ns + self._timings.condition_write_ns)

    def _end_write(self, now_ns: Nanoseconds) -> Nanoseconds:
        node, is_created = self._writes[0]
        condition = dated(route_condition(is_created=is_created), read_wall_time())
        self._patches += 1
        try:
            self._kube.merge_condition(node, condition, actor=USER)
        except ApiError as error:
            if self._patches < PATCH_ATTEMPTS_MAX:
                wait_ns = self._timings.condition_retry_first_ns * 3 ** (self._patches - 1) // 2 ** (self._patches - 1)
                return Nanoseconds(now_ns + wait_ns)
            self._give_up(str(error))
        else:
            facts = {"status": condition["status"], "reason": condition["reason"]}
            self._recorder.record("condition.written", node=node, **facts, actor=self.name)
        self._writes.popleft()
        self._patches = 0
        return self._begin_write(now_ns)

    def _give_up(self, error: str) -> None:
        """Leave a condition unwritten: the real one until nodes change or the sync, the ideal one until its next tick."""
        match self._mode:
            case RouteControllerMode.IDEAL:
                self._is_changed = True
                retry_ns = self._timings.route_controller_tick_ns
            case RouteControllerMode.FAITHFUL:
                retry_ns = self._timings.route_controller_sync_ns
        self._recorder.record("reconcile.failed", actor=self.name, error=error, retry_ns=retry_ns)

    def _wait_for_tick(self, now_ns: Nanoseconds) -> Nanoseconds:
        """End the update. A tick that was due during it was kept by the ticker and comes at once. Source: Go time.Ticker."""
        self._step = self._tick
        self._has_updated = True
        self._updated_ns = now_ns
        self._tell_synced()
        return max(now_ns, self._next_tick_ns)

    def _tell_synced(self) -> None:
        """Record `routes.synced` when it becomes true; the harness reads the tables itself, without a call."""
        try:
            nodes = self._kube.list(Kind.NODE)
        except ApiError:
            return
        names = frozenset(str(node["metadata"]["name"]) for node in nodes)
        tables = [{(route.cidr, route.node) for route in self._cloud.tables.list(zone)} for zone in self._cloud.zones()]
        routes = {(cidr, node) for node, cidr in self._wanted.items()}
        is_synced = (
            names == self._wanted.keys()
            and all(routes <= table for table in tables)
            and all(has_route_created(node) for node in nodes)
        )
        if is_synced and names != self._synced:
            self._recorder.record("routes.synced", nodes=sorted(names))
        self._synced = names if is_synced else frozenset()


def _says(node: JsonObject, *, is_created: bool) -> bool:
    """Return whether the first NetworkUnavailable entry has these values already. Source: updateNetworkingCondition."""
    entries = network_unavailable(node)
    wanted = route_condition(is_created=is_created)
    return bool(entries) and all(entries[0].get(key) == wanted[key] for key in ("status", "reason"))
