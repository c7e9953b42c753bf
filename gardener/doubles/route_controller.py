"""The double of aws-custom-route-controller, which writes a route per node into every zone's table, then the nodes' conditions.

Only a tick does work. An update describes all tables once, then deletes and creates one route after the other, then writes the
conditions one after the other. The time of a call or patch is modelled by a later wake-up. A throttled call is retried three
times inside the SDK, so short throttling is invisible. A call that hangs has no time-out: it ends with its answer, or when the
liveness probe restarts the process. What a condition says is `conclude`. It does not watch conditions: one that another
writer overwrites stays overwritten until nodes change, an update is retried, or the sync period ends. Nodes are taken in
order of their names; the real order is that of a Go map. Source: aws-custom-route-controller
pkg/controller/reconciler.go:89-325, pkg/updater/routes.go:117-253, pkg/updater/node_route.go; observed.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from gardener.conditions import dated, network_unavailable, route_condition
from gardener.doubles.cloud import Cloud
from gardener.gate import has_route_created
from gardener.timings import Timings
from hitless.clock import read_wall_time
from hitless.errors import ApiError, RouteTableError, RouteThrottledError
from hitless.events import Recorder
from hitless.facts import CloudRoute
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


@unique
class RouteControllerMode(StrEnum):
    """What RouteCreated means."""

    IDEAL = "ideal"
    """Every table has the node's route."""
    FAITHFUL = "faithful"
    """The real controller's meaning: the last table that it processed had or got the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the route API."""

    is_delete: bool
    route: CloudRoute


def find_cidr(node: JsonObject) -> str | None:
    """Return the destination of a Node's route, its first IPv4 podCIDR; None: it has none, or no instance.

    The instance id is the last part of a providerID such as aws:///eu-central-1a/i-0123.
    """
    spec = node.get("spec") or {}
    provider_id = spec.get("providerID") or ""
    cidr = next((text for text in spec.get("podCIDRs") or () if _is_ipv4(text)), None)
    if cidr is None or not provider_id.startswith("aws:") or not provider_id.rpartition("/")[2]:
        return None
    return str(cidr)


def follow_nodes(known: Mapping[str, str], nodes: Sequence[JsonObject]) -> dict[str, str]:
    """Return the routes wanted now, node to destination, in order of the nodes' names.

    A route is removed only with its Node object: a node that is being deleted, or that lost its providerID, keeps it.
    """
    wanted: dict[str, str] = {}
    for node in sorted(nodes, key=lambda each: str(each["metadata"]["name"])):
        name = node["metadata"]["name"]
        cidr = find_cidr(node) or known.get(name)
        if cidr is not None:
            wanted[name] = cidr
    return wanted


def plan_table(zone: str, present: Sequence[CloudRoute], wanted: Mapping[str, str]) -> tuple[Call, ...]:
    """Return the calls for one table: delete unwanted routes, then create what is missing."""
    right = {(cidr, node) for node, cidr in wanted.items()}
    there = {(route.cidr, route.node) for route in present}
    deletes = [Call(is_delete=True, route=route) for route in present if (route.cidr, route.node) not in right]
    creates = [
        Call(is_delete=False, route=CloudRoute(zone=zone, cidr=cidr, node=node))
        for node, cidr in wanted.items()
        if (cidr, node) not in there
    ]
    return (*deletes, *creates)


def conclude(
    mode: RouteControllerMode, zones: Sequence[str], cidrs: Iterable[str], failed: Collection[tuple[str, str]]
) -> dict[str, bool]:
    """Return for each podCIDR whether its node is to report RouteCreated.

    Args:
        mode: what RouteCreated means.
        zones: the tables in the order in which they were looked at.
        cidrs: destinations of the routes that every table should have.
        failed: zone and destination of each route that could not be created; the others were there already, or are now.
    """
    match mode:
        case RouteControllerMode.IDEAL:
            return {cidr: not any((zone, cidr) in failed for zone in zones) for cidr in cidrs}
        case RouteControllerMode.FAITHFUL:
            return {cidr: (zones[-1], cidr) not in failed for cidr in cidrs}


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4  # noqa: PLR2004 - IPv4
    except ValueError:
        return False


class _HungError(Exception):
    """A call hangs until the liveness probe fails."""


class RouteController:
    """Maintains the tables and reports on the nodes; a Participant.

    Its process is a generator, which yields the time at which it goes on.

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
        self._kube, self._cloud, self._recorder, self._timings, self._mode = kube, cloud, recorder, timings, mode
        latency_ns = cloud.behaviour.create_ns
        self._call_ns = timings.route_create_ns if latency_ns is None else latency_ns
        self.replicas = replicas
        """Number of running replicas: 0 or 1."""
        self._is_away = False
        self._now_ns = self._due_ns = Nanoseconds(0)
        self._begin(self._now_ns)

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
            self._now_ns = now_ns
            try:
                self._due_ns = next(self._process)
            except _HungError:
                self._start(now_ns)
                error = "a call to the route API hangs; the liveness probe fails and the process is restarted"
                self._record_failure(error, self._due_ns - now_ns)
        return self._due_ns

    def is_settled(self) -> bool:
        """Return whether it is stopped, or waits for a tick without a failure or unfinished work."""
        is_waiting = self._is_waiting and self._has_updated and not self._is_changed
        return self.replicas == 0 or (is_waiting and self._retry_delay_ns == 0 and not self._is_away)

    def _start(self, at_ns: Nanoseconds) -> None:
        timings = self._timings
        self._begin(Nanoseconds(at_ns + timings.route_controller_start_ns + timings.route_controller_first_tick_ns))

    def _begin(self, first_tick_ns: Nanoseconds) -> None:
        """Begin as a fresh process does."""
        self._process = self._run()
        self._due_ns = self._next_tick_ns = first_tick_ns
        self._wanted: dict[str, str] = {}
        """Node to the destination of its route."""
        self._is_waiting = True
        """For a tick."""
        self._is_changed = self._has_updated = False
        self._updated_ns = self._failed_ns = first_tick_ns
        self._retry_delay_ns = 0
        self._synced: frozenset[str] = frozenset()

    def _run(self) -> Iterator[Nanoseconds]:
        """Take one tick after the other."""
        while True:
            while self._next_tick_ns <= self._now_ns:
                self._next_tick_ns = Nanoseconds(self._next_tick_ns + self._timings.route_controller_tick_ns)
            if self._is_update_due():
                self._is_waiting = False
                yield from self._update()
                self._is_waiting, self._has_updated, self._updated_ns = True, True, self._now_ns
                self._tell_synced()
            # A tick that fell into the update was kept by the ticker and comes at once. Source: Go time.Ticker.
            yield max(self._now_ns, self._next_tick_ns)

    def _is_update_due(self) -> bool:
        """Look whether there is a reason to update: a changed node, a retry, the sync period."""
        # Without an answer the real controller continues with its cache; before its first list it does not start.
        with contextlib.suppress(ApiError):
            wanted = follow_nodes(self._wanted, self._kube.list(Kind.NODE))
            if wanted != self._wanted or not self._has_updated:
                self._wanted, self._is_changed = wanted, True
        is_sync_due = self._has_updated and self._now_ns > self._updated_ns + self._timings.route_controller_sync_ns
        is_retry_due = self._retry_delay_ns > 0 and self._now_ns > self._failed_ns + self._retry_delay_ns
        if not (self._is_changed or is_sync_due or is_retry_due):
            return False
        self._is_changed = False
        self._has_updated |= not self._wanted
        return bool(self._wanted)

    def _update(self) -> Iterator[Nanoseconds]:
        """Bring the tables up to date, then the conditions."""
        failed: set[tuple[str, str]] = set()
        errors: list[str] = []
        tables: dict[str, tuple[CloudRoute, ...]] = {}
        try:
            yield from self._ask(lambda: tables.update(self._cloud.describe()))
        except RouteTableError as error:
            errors = [str(error)]
            # Without the tables nothing can be concluded; the real one concludes that no node has a route.
            is_faithful = self._mode is RouteControllerMode.FAITHFUL
            results = dict.fromkeys(self._wanted.values(), False) if is_faithful else {}
        else:
            calls = [call for zone, present in tables.items() for call in plan_table(zone, present, self._wanted)]
            for call in calls:
                yield from self._carry_out(call, failed, errors)
            results = conclude(self._mode, self._cloud.zones(), self._wanted.values(), failed)
        if errors:
            tick_ns, max_ns = self._timings.route_controller_tick_ns, self._timings.route_controller_backoff_max_ns
            self._failed_ns = self._now_ns
            self._retry_delay_ns = min(4 * self._retry_delay_ns // 3, max_ns) if self._retry_delay_ns else tick_ns
            self._record_failure("; ".join(errors), self._retry_delay_ns)
        else:
            self._retry_delay_ns = 0
        for node, is_created in self._plan_writes(results):
            yield from self._write(node, is_created=is_created)

    def _ask(self, act: Callable[[], None]) -> Iterator[Nanoseconds]:
        """Call the API once it does not hang, again after a pause where it throttles: AWS SDK's standard retryer; observed."""
        for exponent in range(THROTTLE_RETRIES_MAX + 1):
            fails_ns = self._now_ns + self._timings.route_controller_health_ns
            while self._cloud.is_hanging:
                if self._now_ns >= fails_ns:
                    raise _HungError
                yield Nanoseconds(self._now_ns + self._timings.condition_write_ns)
            try:
                act()
            except RouteThrottledError:
                if exponent == THROTTLE_RETRIES_MAX:
                    raise
            else:
                return
            yield Nanoseconds(self._now_ns + self._timings.throttle_pause_first_ns * 11**exponent // 3**exponent)

    def _carry_out(self, call: Call, failed: set[tuple[str, str]], errors: list[str]) -> Iterator[Nanoseconds]:
        route, began_ns = call.route, self._now_ns
        facts: JsonObject = {"zone": route.zone, "cidr": route.cidr, "node": route.node}

        def act() -> None:
            if call.is_delete:
                self._cloud.delete(route.zone, route.cidr)
            else:
                self._cloud.describe_instance()
                self._cloud.create(route)

        yield Nanoseconds(began_ns + self._call_ns)
        try:
            yield from self._ask(act)
        except RouteTableError as error:
            errors.append(str(error))
            if not call.is_delete:
                failed.add((route.zone, route.cidr))
            self._recorder.record("route.failed", **facts, error=str(error))
        else:
            created = "route.created" if self._cloud.is_effective(route) else "route.accepted"
            self._recorder.record("route.deleted" if call.is_delete else created, **facts, began_ns=began_ns)

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

    def _write(self, node: str, *, is_created: bool) -> Iterator[Nanoseconds]:
        """Write one condition, with retries."""
        wait_ns = self._timings.condition_write_ns
        for attempt in range(PATCH_ATTEMPTS_MAX):
            yield Nanoseconds(self._now_ns + wait_ns)
            condition = dated(route_condition(is_created=is_created), read_wall_time())
            try:
                self._kube.merge_condition(node, condition, actor=USER)
            except ApiError as error:
                complaint = str(error)
                wait_ns = Nanoseconds(self._timings.condition_retry_first_ns * 3**attempt // 2**attempt)
                continue
            facts = {"status": condition["status"], "reason": condition["reason"]}
            self._recorder.record("condition.written", node=node, **facts, actor=self.name)
            return
        self._give_up(complaint)

    def _give_up(self, error: str) -> None:
        """Leave a condition unwritten: the real one until nodes change or the sync, the ideal one until its next tick."""
        is_ideal = self._mode is RouteControllerMode.IDEAL
        self._is_changed |= is_ideal
        timings = self._timings
        self._record_failure(error, timings.route_controller_tick_ns if is_ideal else timings.route_controller_sync_ns)

    def _record_failure(self, error: str, retry_ns: int) -> None:
        self._recorder.record("reconcile.failed", actor=self.name, error=error, retry_ns=retry_ns)

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
