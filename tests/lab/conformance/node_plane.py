"""What every NodePlane must do: the conformance suite of the seam between the doubles and a node's network.

A test module takes the suite in by subclassing `NodePlaneConformance` and giving the fixtures `plane` (of a node in OVERLAY
start state: routes to all peers through the tunnel, blackhole, tunnel device), `peers` (NodeFacts of all other nodes), `facts`
(of the node itself), `blocks` (node name to block, of all nodes) and `tunnel_device`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from clusters.lab.calico.plane import NodePlane
from hitless.calico import PROTOCOL_BIRD, PROTOCOL_FELIX
from hitless.errors import WorldError
from hitless.facts import NodeFacts
from hitless.words import JsonObject, Mode, Overlay

Blocks = Mapping[str, str]


def routes_to(plane: NodePlane, blocks: Blocks) -> dict[str, JsonObject]:
    """Return node name to the route to its block, of those that have one."""
    owners = {block: node for node, block in blocks.items()}
    return {owners[route["dst"]]: route for route in plane.state().routes if route["dst"] in owners}


def overlay_protocol(plane: NodePlane) -> int:
    return PROTOCOL_FELIX if plane.overlay is Overlay.VXLAN else PROTOCOL_BIRD


class NodePlaneConformance:
    takes_time: ClassVar[bool] = True
    """Whether the plane's clock goes on while routes change: on a simulated clock both ends of a change are one instant."""

    def test_in_overlay_every_peer_is_behind_the_tunnel(
        self, plane: NodePlane, peers: Sequence[NodeFacts], blocks: Blocks, tunnel_device: str
    ) -> None:
        found = routes_to(plane, blocks)
        assert {peer.name for peer in peers} | {plane.node} == set(found)
        assert {(tunnel_device, overlay_protocol(plane))} == {
            (found[peer.name]["dev"], found[peer.name]["protocol"]) for peer in peers
        }
        assert found[plane.node]["type"] == "blackhole"
        assert tunnel_device in plane.state().devices

    def test_in_native_a_neighbour_is_direct_and_others_are_behind_the_gateway(
        self, plane: NodePlane, peers: Sequence[NodeFacts], facts: NodeFacts, blocks: Blocks
    ) -> None:
        change = plane.repoint(Mode.NATIVE, [peer.name for peer in peers])
        assert len(peers) == change.routes
        assert change.began_ns >= 0
        assert self.takes_time == (change.began_ns < change.ended_ns)
        expected = {peer.name: peer.address if peer.zone == facts.zone else facts.gateway for peer in peers}
        found = routes_to(plane, blocks)
        assert expected == {peer.name: found[peer.name]["via"] for peer in peers}
        assert {("eth0", PROTOCOL_BIRD)} == {(found[peer.name]["dev"], found[peer.name]["protocol"]) for peer in peers}

    def test_there_and_back_changes_nothing(self, plane: NodePlane, peers: Sequence[NodeFacts]) -> None:
        before, names = plane.state(), [peer.name for peer in peers]
        for mode in (Mode.NATIVE, Mode.OVERLAY, Mode.OVERLAY):
            plane.repoint(mode, names)
        assert sorted(map(str, before.routes)) == sorted(map(str, plane.state().routes))
        assert before.devices == plane.state().devices

    def test_only_the_named_peers_change(self, plane: NodePlane, peers: Sequence[NodeFacts], blocks: Blocks) -> None:
        before = routes_to(plane, blocks)
        plane.repoint(Mode.NATIVE, [peers[0].name])
        after = routes_to(plane, blocks)
        assert {peers[0].name} == {node for node in before if before[node] != after[node]}

    def test_withdrawing_twice_is_no_error(self, plane: NodePlane, peers: Sequence[NodeFacts], blocks: Blocks) -> None:
        names = [peer.name for peer in peers[:2]]
        assert [plane.withdraw(names).routes for _ in range(2)] == [2, 0]
        assert {plane.node, *(peer.name for peer in peers[2:])} == set(routes_to(plane, blocks))

    def test_cleanup_takes_what_is_birds_and_nothing_else(
        self, plane: NodePlane, peers: Sequence[NodeFacts], blocks: Blocks
    ) -> None:
        plane.repoint(Mode.NATIVE, [peers[0].name])
        before = plane.state().routes
        change = plane.cleanup_routes()
        expected = [route for route in before if route["protocol"] != PROTOCOL_BIRD]
        assert len(before) - len(expected) == change.routes
        assert sorted(map(str, expected)) == sorted(map(str, plane.state().routes))
        assert peers[0].name not in routes_to(plane, blocks)
        assert plane.cleanup_routes().routes == 0

    def test_the_blackhole_may_be_set_and_taken_twice(self, plane: NodePlane, blocks: Blocks) -> None:
        for present in (False, False, True, True):
            plane.set_blackhole(present=present)
            assert present == (plane.node in routes_to(plane, blocks))

    def test_the_tunnel_goes_with_its_routes_and_comes_back_without(
        self, plane: NodePlane, peers: Sequence[NodeFacts], blocks: Blocks, tunnel_device: str
    ) -> None:
        for _ in range(2):
            plane.set_tunnel(present=False)
            assert tunnel_device not in plane.state().devices
        assert {plane.node} == set(routes_to(plane, blocks))
        for _ in range(2):
            plane.set_tunnel(present=True)
            assert tunnel_device in plane.state().devices
        plane.repoint(Mode.OVERLAY, [peer.name for peer in peers])
        assert {plane.node, *(peer.name for peer in peers)} == set(routes_to(plane, blocks))

    def test_who_is_no_peer_is_refused(self, plane: NodePlane) -> None:
        for name in ("no-such-node", plane.node):
            with pytest.raises(WorldError, match=name):
                plane.withdraw([name])
