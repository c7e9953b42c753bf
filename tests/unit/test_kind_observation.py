"""Objects before and after to events: a table of what can be seen of someone else's switch."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.kubernetes.node_objects import pick_address, read_pod_addresses
from clusters.kubernetes.watched import read_families, read_node, read_overlay
from hitless.errors import UsageError
from hitless.facts import Endpoint
from hitless.objects import is_rolled
from hitless.words import IpFamily, JsonObject, Mode, Overlay
from switches.observer import Observed, Sighting, compare, observe
from tests.unit.histories import node_object, pool


def daemon_set(
    mode: Mode, generation: int = 1, *, noticed: int | None = None, updated: int = 2, available: int = 2
) -> JsonObject:
    env = [{"name": "FELIX_IPINIPENABLED", "value": "true" if mode is Mode.OVERLAY else "false"}]
    return {
        "kind": "DaemonSet",
        "metadata": {"name": "calico-node", "generation": generation},
        "spec": {"template": {"spec": {"containers": [{"name": "calico-node", "env": env}]}}},
        "status": {
            "observedGeneration": generation if noticed is None else noticed,
            "desiredNumberScheduled": 2,
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
        },
    }


def calico_pod(node: str, number: int, *, ready: bool = True) -> JsonObject:
    return {
        "metadata": {
            "name": f"calico-node-{number}",
            "uid": f"uid-{number}",
            "ownerReferences": [{"kind": "DaemonSet", "name": "calico-node"}],
        },
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def world(before: Observed | None = None, **changes: Any) -> Observed:  # noqa: ANN401 - any of the four lists
    plain: dict[str, Any] = {
        "nodes": [node_object("n1", reason="CalicoIsUp"), node_object("n2", reason="CalicoIsUp")],
        "daemon_sets": [daemon_set(Mode.OVERLAY), {"metadata": {"name": "node-local-dns"}, "spec": {}}],
        "pools": [pool(Mode.OVERLAY), pool(Mode.NATIVE, name="no-snat-for-node-cidr", disabled=True)],
        "pods": [calico_pod("n1", 1), calico_pod("n2", 2), {"metadata": {"name": "coredns"}, "spec": {"nodeName": "n1"}}],
    }
    return observe(before, **(plain | changes))


CASES: dict[str, tuple[dict[str, Any], list[Sighting]]] = {
    "nothing": ({}, []),
    "a route controller writes": (
        {"nodes": [node_object("n1"), node_object("n2", "True", "NoRouteCreated")]},
        [
            ("condition.written", {"node": "n1", "status": "False", "reason": "RouteCreated", "actor": "unknown"}),
            ("condition.written", {"node": "n2", "status": "True", "reason": "NoRouteCreated", "actor": "unknown"}),
        ],
    ),
    "a condition goes": (
        {"nodes": [{"metadata": {"name": "n1"}}, node_object("n2", reason="CalicoIsUp")]},
        [("condition.removed", {"node": "n1", "reason": "CalicoIsUp", "actor": "unknown"})],
    ),
    "a node goes": (
        {"nodes": [node_object("n1", reason="CalicoIsUp")]},
        [("object.deleted", {"kind": "Node", "name": "n2"})],
    ),
    "the pool is switched": (
        {"pools": [pool(Mode.NATIVE), pool(Mode.NATIVE, name="no-snat-for-node-cidr", disabled=True)]},
        [("manifest.applied", {"kind": "IPPool", "name": "default-ipv4-ippool", "mode": "NATIVE"})],
    ),
    "a pool comes, a pool goes": (
        {"pools": [pool(Mode.OVERLAY), pool(Mode.NATIVE, name="other", disabled=True)]},
        [
            ("object.deleted", {"kind": "IPPool", "name": "no-snat-for-node-cidr"}),
            ("manifest.applied", {"kind": "IPPool", "name": "other", "mode": None}),
        ],
    ),
    "the roll begins": (
        {"daemon_sets": [daemon_set(Mode.NATIVE, 2, noticed=1)]},
        [
            ("manifest.applied", {"kind": "DaemonSet", "name": "calico-node", "mode": "NATIVE"}),
            ("roll.started", {"generation": 2}),
        ],
    ),
    "the roll is over before we look": (
        {"daemon_sets": [daemon_set(Mode.NATIVE, 2)]},
        [
            ("manifest.applied", {"kind": "DaemonSet", "name": "calico-node", "mode": "NATIVE"}),
            ("roll.started", {"generation": 2}),
            ("roll.finished", {"generation": 2}),
        ],
    ),
    "only the status moves": ({"daemon_sets": [daemon_set(Mode.OVERLAY, available=1)]}, []),
    "a pod is replaced": (
        {"pods": [calico_pod("n1", 3, ready=False), calico_pod("n2", 2)]},
        [
            ("pod.deleted", {"node": "n1", "pod": "calico-node-1"}),
            ("pod.created", {"node": "n1", "pod": "calico-node-3"}),
        ],
    ),
    "a pod is replaced and ready": (
        {"pods": [calico_pod("n1", 3), calico_pod("n2", 2)]},
        [
            ("pod.deleted", {"node": "n1", "pod": "calico-node-1"}),
            ("pod.created", {"node": "n1", "pod": "calico-node-3"}),
            ("pod.ready", {"node": "n1", "pod": "calico-node-3"}),
        ],
    ),
    "the DaemonSet goes": ({"daemon_sets": []}, [("object.deleted", {"kind": "DaemonSet", "name": "calico-node"})]),
}


@pytest.mark.parametrize(("changes", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_seen(changes: dict[str, Any], expected: list[Sighting]) -> None:
    before = world()
    assert list(compare(before, world(before, **changes))) == expected


def test_a_roll_is_followed_to_its_end() -> None:
    steps = [
        daemon_set(Mode.NATIVE, 2, noticed=1),
        daemon_set(Mode.NATIVE, 2, updated=0, available=2),
        daemon_set(Mode.NATIVE, 2, updated=1, available=1),
        daemon_set(Mode.NATIVE, 2, updated=2, available=1),
        daemon_set(Mode.NATIVE, 2, updated=2, available=2),
        daemon_set(Mode.NATIVE, 2, updated=2, available=1),
        daemon_set(Mode.NATIVE, 2, updated=2, available=2),
    ]
    seen, names = world(), []
    for step in steps:
        now = world(seen, daemon_sets=[step])
        names.append([name for name, _ in compare(seen, now)])
        seen = now
    assert names == [["manifest.applied", "roll.started"], [], [], [], ["roll.finished"], [], []]


def test_a_roll_in_progress_at_the_start_of_a_watch_is_seen_to_end() -> None:
    begun = world(daemon_sets=[daemon_set(Mode.NATIVE, 7, updated=1, available=1)])
    assert begun.rolling == 7
    done = world(begun, daemon_sets=[daemon_set(Mode.NATIVE, 7)])
    assert list(compare(begun, done)) == [("roll.finished", {"generation": 7})]


def test_a_second_change_supersedes_a_roll() -> None:
    first = world(world(), daemon_sets=[daemon_set(Mode.NATIVE, 2, updated=1, available=1)])
    second = world(first, daemon_sets=[daemon_set(Mode.OVERLAY, 3, updated=1, available=1)])
    assert (first.rolling, second.rolling) == (2, 3)
    assert [name for name, _ in compare(first, second)] == ["manifest.applied", "roll.started"]


def written_by(reason: str, *writes: tuple[str, str]) -> JsonObject:
    """A Node whose NetworkUnavailable belongs to these (manager, time of its entry)."""
    node = node_object("n1", reason=reason)
    ours: JsonObject = {"f:status": {"f:conditions": {'k:{"type":"NetworkUnavailable"}': {}}}}
    kubelets: JsonObject = {"f:status": {"f:conditions": {'k:{"type":"Ready"}': {}}}}
    node["metadata"]["managedFields"] = [
        {"manager": "kubelet", "time": "2026-01-02T00:00:00Z", "fieldsV1": kubelets},
        *({"manager": manager, "time": f"2026-01-01T00:00:{second}Z", "fieldsV1": ours} for manager, second in writes),
    ]
    return node


CALICO, CONTROLLER = "calico-node", "aws-custom-route-controller"


@pytest.mark.parametrize(
    ("was", "now", "actor"),
    [
        ([(CALICO, "01")], [(CALICO, "01"), (CONTROLLER, "07")], CONTROLLER),
        ([], [(CONTROLLER, "07")], CONTROLLER),
        # calico-node's write was dropped before the controller's came: it owns the field, but did not write the content.
        ([(CALICO, "05")], [(CALICO, "05"), (CONTROLLER, "07")], CONTROLLER),
        # Both moved between two looks: either may have written the content.
        ([(CALICO, "01")], [(CALICO, "08"), (CONTROLLER, "07")], "unknown"),
        # The content changed within the second in which the entry had moved before.
        ([(CONTROLLER, "07")], [(CONTROLLER, "07")], "unknown"),
    ],
)
def test_the_writer_of_a_condition_is_whose_entry_moved_with_the_content(
    was: list[tuple[str, str]], now: list[tuple[str, str]], actor: str
) -> None:
    before = world(nodes=[written_by("NoRouteCreated", *was)])
    ((_, facts),) = compare(before, world(before, nodes=[written_by("RouteCreated", *now)]))
    assert facts["actor"] == actor


def test_a_dropped_write_that_changed_the_owner_alone_is_no_event() -> None:
    before = world(nodes=[written_by("RouteCreated", (CONTROLLER, "07"))])
    assert compare(before, world(before, nodes=[written_by("RouteCreated", (CALICO, "09"))])) == ()


def test_modes() -> None:
    assert (world().mode, world().modes) == (Mode.OVERLAY, frozenset({Mode.OVERLAY}))
    switching = world(daemon_sets=[daemon_set(Mode.NATIVE, 2)])
    assert (switching.mode, switching.modes) == (Mode.OVERLAY, frozenset(Mode))
    assert world(daemon_sets=[daemon_set(Mode.NATIVE, 2)], pools=[pool(Mode.NATIVE)]).modes == {Mode.NATIVE}
    assert not is_rolled(daemon_set(Mode.NATIVE, 2, noticed=1))


def test_which_overlay() -> None:
    vxlan = pool(Mode.NATIVE)
    vxlan["spec"]["vxlanMode"] = "Always"
    assert [read_overlay(world()), read_overlay(world(pools=[vxlan]))] == [Overlay.IPIP, Overlay.VXLAN]
    felix = daemon_set(Mode.OVERLAY)
    felix["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "FELIX_VXLANENABLED", "value": "true"}]
    assert read_overlay(world(pools=[pool(Mode.NATIVE)], daemon_sets=[felix])) is Overlay.VXLAN


def endpoint(name: str, address: str = "100.96.0.1", address6: str = "", *, is_host: bool = False) -> Endpoint:
    return Endpoint(name=name, node="n", zone="a", address=address, address6=address6, is_host=is_host)


def test_families_that_every_pod_has_are_probed_and_others_have_their_reason() -> None:
    single, dual = endpoint("mesh"), endpoint("control", address6="fd00::1")
    assert read_families([single]) == (("IPv4",), {})
    assert read_families([dual, endpoint("host", is_host=True)]) == (("IPv4", "IPv6"), {})
    assert read_families([single, dual]) == (
        ("IPv4", "IPv6"),
        {"IPv6": "1 of 2 prober pods have no such address, such as mesh"},
    )
    with pytest.raises(UsageError, match=r"1 of 2 prober pods have no IPv4 address \(first: six\)"):
        read_families([dual, endpoint("six", "", "fd00::2")])


def test_the_addresses_of_a_pod() -> None:
    both = [{"ip": "fd00::1"}, {"ip": "100.96.0.1"}]
    assert read_pod_addresses({"status": {"podIP": "fd00::1", "podIPs": both}}) == ("fd00::1", "100.96.0.1")
    assert [pick_address(("fd00::1", "100.96.0.1"), family) for family in IpFamily] == ["100.96.0.1", "fd00::1"]
    assert read_pod_addresses({"status": {"podIP": "100.96.0.1"}}) == ("100.96.0.1",)
    assert read_pod_addresses({"status": {"phase": "Pending"}}) == read_pod_addresses({}) == ()


def test_a_node_is_read_by_its_addresses_and_zone() -> None:
    node = {
        "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "eu-west-1a"}},
        "spec": {"podCIDR": "100.96.1.0/24", "podCIDRs": ["100.96.1.0/24", "2001:db8:1::/80"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "n"},
                {"type": "InternalIP", "address": "2001:db8::1"},
                {"type": "InternalIP", "address": "10.250.0.7"},
            ]
        },
    }
    facts = read_node(node, Overlay.IPIP)
    assert facts.tunnel_address == "100.96.1.1"
    assert (facts.name, facts.zone, facts.address, facts.pod_cidr) == ("n", "eu-west-1a", "10.250.0.7", "100.96.1.0/24")
    assert (facts.address6, facts.pod_cidr6) == ("2001:db8::1", "2001:db8:1::/80")
    assert read_node({"metadata": {"name": "m"}}, Overlay.IPIP).zone == "none"
