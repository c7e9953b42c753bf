"""The plane that the doubles' unit tests run on is held to the suite of the real one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hitless.calico import TUNNEL_DEVICES
from hitless.facts import NodeFacts
from hitless.words import Mode, Overlay
from tests.lab.conformance.node_plane import NodePlaneConformance
from tests.unit.lab_fakes import FakePlane, World, make_shoot


@pytest.fixture(params=list(Overlay))
def overlay(request: pytest.FixtureRequest) -> Overlay:
    found: Overlay = request.param
    return found


@pytest.fixture
def world(overlay: Overlay) -> World:
    return World(make_shoot(Mode.OVERLAY, overlay))


class TestFakePlane(NodePlaneConformance):
    takes_time = False

    @pytest.fixture
    def facts(self, world: World) -> NodeFacts:
        return world.nodes[0]

    @pytest.fixture
    def plane(self, world: World, facts: NodeFacts) -> FakePlane:
        return world.planes[facts.name]

    @pytest.fixture
    def peers(self, world: World) -> Sequence[NodeFacts]:
        return world.nodes[1:]

    @pytest.fixture
    def blocks(self, world: World) -> dict[str, str]:
        return {node.name: node.pod_cidr for node in world.nodes}

    @pytest.fixture
    def tunnel_device(self, overlay: Overlay) -> str:
        return TUNNEL_DEVICES[overlay]
