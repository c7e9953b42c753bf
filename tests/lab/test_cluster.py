"""The lab as a cluster: the contract of the port, for every kind of lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clusters.lab.cluster import LabCluster, make_lab_cluster
from hitless.clock import RunClock
from hitless.events import Event, Recorder
from hitless.ports import Cluster
from hitless.words import Nanoseconds
from scenarios.model import find_scenario, load_scenario
from scenarios.plan import Options, make_case
from tests.lab.conformance.cluster import ClusterConformance


class _Silent:
    """Takes nothing down."""

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        return Event(t_ns=t_ns or Nanoseconds(0), name=name, facts=facts)


@pytest.fixture
def clock() -> RunClock:
    return RunClock()


@pytest.fixture
def recorder() -> Recorder:
    return _Silent()


@pytest.fixture(params=["plain-switch", "native-to-overlay"])
def cluster(request: pytest.FixtureRequest, clock: RunClock) -> Iterator[LabCluster]:
    lab = make_lab_cluster(make_case(load_scenario(find_scenario(request.param)), Options()), clock)
    yield lab
    lab.down()


class TestLabCluster(ClusterConformance):
    pass


def test_vxlan_gives_pods_addresses_outside_of_their_nodes_cidr(clock: RunClock) -> None:
    case = make_case(load_scenario(find_scenario("vxlan-switch")), Options())
    lab: Cluster = make_lab_cluster(case, clock)
    try:
        facts = lab.up()
    finally:
        lab.down()
    assert facts.carrier == "vxlan"
    cidrs = {node.pod_cidr.split(".")[1] for node in facts.nodes}
    assert cidrs.isdisjoint(endpoint.address.split(".")[1] for endpoint in facts.endpoints)
