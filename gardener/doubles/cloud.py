"""The cloud's API for route tables, with quota, throttling, outages, latency and routes that take effect later.

It wraps a RouteTables and is one itself. A call acts at once or raises. It never sleeps: the caller models the latency
(`create_ns`) by a later wake-up. AWS's errors are distinguished as in its SDK: RouteLimitExceeded, RequestLimitExceeded, no
answer. Propagation is the delay between the acceptance of a route and its effect on packets. Source: docs/mechanics.md 5.1, L6;
Amazon EC2 API reference, eventual consistency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hitless.errors import RouteApiUnavailableError, RouteQuotaError, RouteTableError, RouteThrottledError
from hitless.events import Recorder
from hitless.facts import CloudRoute
from hitless.plural import plural
from hitless.ports import Clock, RouteTables
from hitless.words import MILLISECOND, SECOND, Kind, Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudBehaviour:
    """How the cloud behaves; by default it has no limits."""

    create_ns: Nanoseconds | None = None
    """Duration of CreateRoute and DeleteRoute; None: that of the profile's timings."""
    quota: Mapping[str, int] = field(default_factory=dict)
    """Zone to the number of pod routes its table can hold; no entry: no limit."""
    calls_per_second: float | None = None
    """Rate at which calls of one action are granted, over all tables; None: never throttled."""
    burst: int = 5
    """Calls of one action that are granted at once after a pause."""
    effective_ns: int = 0
    """Time from the answer to CreateRoute until packets follow the route; the API lists it at once."""


class _Bucket:
    """The tokens of one action.

    EC2 evaluates each API action separately: calls of one action take no token from another's bucket. Source: Amazon EC2
    Developer Guide, Request throttling for the Amazon EC2 API, Request rate limiting.
    """

    def __init__(self, tokens: float, filled_ns: Nanoseconds) -> None:
        self._tokens_max = self._tokens = tokens
        self._filled_ns = filled_ns

    def take(self, rate: float, now_ns: Nanoseconds) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._tokens_max, self._tokens + rate * (now_ns - self._filled_ns) / SECOND)
        self._filled_ns = now_ns
        # A bucket filled to 0.999999 by rounding is full enough for one call.
        is_granted = self._tokens >= 1 - 1e-6
        self._tokens -= is_granted
        return is_granted


class Cloud:
    """The route tables behind the cloud's API; a RouteTables."""

    def __init__(self, tables: RouteTables, behaviour: CloudBehaviour, clock: Clock) -> None:
        self.tables, self.behaviour, self._clock = tables, behaviour, clock
        self._is_away = False
        self.is_hanging = False
        """Whether calls that begin now, or have begun, get no answer; the caller polls it."""
        self._buckets: dict[str, _Bucket] = {}
        self._accepted: dict[CloudRoute, Nanoseconds] = {}
        self.unknown: set[str] = set()
        """Nodes whose instances the API does not find: no route to them can be created."""

    def set_away(self, is_away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Make every call fail from now on, or succeed again."""
        self._is_away = is_away

    def set_hanging(self, is_hanging: bool) -> None:  # noqa: FBT001 - as above
        """Leave every call without an answer from now on, or answer the waiting calls and all later ones."""
        self.is_hanging = is_hanging

    def zones(self) -> tuple[str, ...]:
        """Return the zones in the order in which the API lists their tables; known without a call."""
        return self.tables.zones()

    def describe(self) -> dict[str, tuple[CloudRoute, ...]]:
        """Return all tables, zone to routes, by one call. Raises RouteApiUnavailableError, RouteThrottledError."""
        self._begin_call("DescribeRouteTables")
        return {zone: self._listed(zone) for zone in self.tables.zones()}

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return one table. Raises RouteApiUnavailableError, RouteThrottledError."""
        self._begin_call("DescribeRouteTables")
        return self._listed(zone)

    def describe_instance(self) -> None:
        """Look up an instance, as before every CreateRoute. Raises RouteApiUnavailableError, RouteThrottledError."""
        self._begin_call("DescribeInstances")

    def create(self, route: CloudRoute) -> None:
        """Create a route. Raises also RouteQuotaError, and RouteTableError: it exists, or its machine is not found."""
        self._begin_call("CreateRoute")
        if route.node in self.unknown:
            raise RouteTableError(f"InvalidInstanceID.NotFound: the machine of {route.node} does not exist")
        quota = self.behaviour.quota.get(route.zone)
        if quota is not None and len(self._listed(route.zone)) >= quota:
            raise RouteQuotaError(
                f"RouteLimitExceeded: the route table of zone {route.zone} is full: its quota is {plural(quota, 'pod route')}"
            )
        if not self.behaviour.effective_ns:
            self.tables.create(route)
        elif route.cidr in {listed.cidr for listed in self._listed(route.zone)}:
            raise RouteTableError(f"zone {route.zone} already has a route to {route.cidr}")
        else:
            self._accepted[route] = Nanoseconds(self._clock.now_ns() + self.behaviour.effective_ns)

    def is_effective(self, route: CloudRoute) -> bool:
        """Return whether packets follow a route that was created."""
        return route not in self._accepted

    def next_effective_ns(self) -> Nanoseconds | None:
        """Return when the next accepted route becomes effective; None: all are."""
        return min(self._accepted.values(), default=None)

    def take_effective(self, now_ns: Nanoseconds) -> tuple[CloudRoute, ...]:
        """Let the accepted routes that are due become effective, and return them."""
        due = tuple(route for route, due_ns in self._accepted.items() if due_ns <= now_ns)
        for route in due:
            del self._accepted[route]
            self.tables.create(route)
        return due

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route. Raises as the tables do, and RouteApiUnavailableError, RouteThrottledError."""
        self._begin_call("DeleteRoute")
        accepted = [route for route in self._accepted if (route.zone, route.cidr) == (zone, cidr)]
        for route in accepted:
            del self._accepted[route]
        if not accepted:
            self.tables.delete(zone, cidr)

    def _listed(self, zone: str) -> tuple[CloudRoute, ...]:
        return (*self.tables.list(zone), *(route for route in self._accepted if route.zone == zone))

    def _begin_call(self, call: str) -> None:
        if self._is_away:
            raise RouteApiUnavailableError(f"{call}: the route API does not answer")
        rate = self.behaviour.calls_per_second
        if rate is None:
            return
        now_ns = self._clock.now_ns()
        bucket = self._buckets.setdefault(call, _Bucket(float(self.behaviour.burst), now_ns))
        if not bucket.take(rate, now_ns):
            raise RouteThrottledError(f"{call}: RequestLimitExceeded: the limit is {rate} per second")


_POLL_NS: Final = Nanoseconds(MILLISECOND)
"""Time between two looks for accepted routes: they are accepted outside the loop."""


class Propagation:
    """Lets accepted routes become effective; a Participant.

    Args:
        recorder: records `route.created`, at the time from which packets follow the route.
    """

    name: Final = "cloud"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, *, cloud: Cloud, recorder: Recorder) -> None:
        self._cloud, self._recorder = cloud, recorder

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Make the routes effective that are due."""
        for route in self._cloud.take_effective(now_ns):
            self._recorder.record("route.created", zone=route.zone, cidr=route.cidr, node=route.node, began_ns=now_ns)
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether every accepted route is effective."""
        return self._cloud.next_effective_ns() is None
