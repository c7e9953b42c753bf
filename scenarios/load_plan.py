"""The application load of a scenario, `load: {users: 12, rate_hz: 10}`, and its settings on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Annotated, Self

from pydantic import Field, model_validator

from hitless.documents import MisfitError
from hitless.facts import ClusterFacts, Endpoint
from hitless.load import BODY_OCTETS_MAX, CLIENTS_MAX, REQUESTS_HZ_MAX, SERVERS_MAX, USERS_MAX, LoadSpec
from hitless.words import MILLISECOND, SECOND, Nanoseconds
from scenarios.per_profile import Strict


class LoadPlan(Strict):
    """HTTP users between pods, beside the probes; needs the capability `locust`."""

    users: Annotated[int, Field(ge=2, le=USERS_MAX)] = 12
    """In all. Every second one opens a new connection for each request, the others keep theirs."""
    rate_hz: Annotated[float, Field(ge=0.1, le=50)] = 10
    """Requests per second of each user, while it is answered in time."""
    body_octets: Annotated[int, Field(ge=0, le=BODY_OCTETS_MAX)] = 1_000
    """Of each answer."""
    timeout_ms: Annotated[float, Field(ge=100, le=60_000)] = 2_000
    """A user gives up a request after this."""
    clients: Annotated[int, Field(ge=1, le=CLIENTS_MAX)] = 2
    """Pods with users, spread over the zones. Each is a process of its own."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.users % self.clients:
            raise MisfitError(
                "users",
                self.users,
                f"a multiple of clients ({self.clients}), because every client pod has the same number of users",
            )
        if self.users * self.rate_hz > REQUESTS_HZ_MAX:
            found = f"{self.users} users * {self.rate_hz:g} requests per second"
            raise MisfitError("rate_hz", found, f"at most {REQUESTS_HZ_MAX:g} requests per second in total")
        return self


def make_load(plan: LoadPlan, facts: ClusterFacts, duration_ns_max: Nanoseconds) -> LoadSpec:
    """Return the load of a run: users in the first pods of some nodes ask the first pods of all others.

    Args:
        plan: of the scenario; if the cluster has fewer nodes than `clients`, each has users.
        facts: the cluster.
        duration_ns_max: the load ends after this.
    """
    pods = [pod.name for pod in _first_pods(facts)]
    clients = pods[: plan.clients]
    return LoadSpec(
        clients=tuple(clients),
        servers=tuple(pods[:SERVERS_MAX]),
        users=plan.users - plan.users % len(clients),
        interval_ns=Nanoseconds(round(SECOND / plan.rate_hz)),
        body_octets=plan.body_octets,
        timeout_ns=Nanoseconds(round(plan.timeout_ms * MILLISECOND)),
        duration_ns_max=duration_ns_max,
    )


def _first_pods(facts: ClusterFacts) -> Iterator[Endpoint]:
    """Yield the first pod of every node, in turns from each zone."""
    by_node: dict[str, Endpoint] = {}
    for endpoint in facts.endpoints:
        if endpoint.is_pod:
            by_node.setdefault(endpoint.node, endpoint)
    zones: dict[str, list[Endpoint]] = {}
    for pod in by_node.values():
        zones.setdefault(pod.zone, []).append(pod)
    return (pod for pod in chain.from_iterable(zip_longest(*zones.values())) if pod is not None)
