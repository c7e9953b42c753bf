"""Our pods in a real API server; commands in them against a server that speaks exec's websocket; a watch of real objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.pod_host import KubePodHost
from clusters.kubernetes.prober_manifests import ProberSpec, render_owned, render_probers
from clusters.kubernetes.prober_pods import ASK, ProberPods
from clusters.programs.api_server import ApiServer
from gardener.conditions import route_condition
from hitless.errors import ApiUnavailableError, NotFoundError, UsageError, WorldError
from hitless.ports import Participant
from hitless.words import JsonObject, Kind, Nanoseconds, Overlay
from switches.observer import ObserverOptions, SwitchObserver
from tests.clocks import HastyClock, JumpingClock
from tests.kind.api_world import register_node, wait_told
from tests.kind.exec_server import SUCCESS, ExecServer, failure
from tests.kind.scripted_api import write_kubeconfig
from tests.lab.conformance.kube_api import ACTOR
from tests.recorders import ListRecorder
from tests.unit.test_kind_observation import daemon_set as plain_daemon_set

SPEC = ProberSpec(image="hitless/prober:1", namespace="hitless-here")
OTHER = ProberSpec(image="hitless/prober:1", namespace="hitless-there")


@pytest.fixture
def host(api_server: ApiServer) -> KubePodHost:
    return KubePodHost(connect(api_server.kubeconfig))


def test_a_real_server_takes_every_object_of_the_probers_and_lets_it_go(host: KubePodHost) -> None:
    host.install((*render_probers(SPEC), *render_probers(SPEC)))
    for document in render_probers(SPEC):
        stored = host.get(document)
        assert (stored["kind"], stored["metadata"]["name"]) == (document["kind"], document["metadata"]["name"])
        assert _is_within(document.get("spec", {}), stored.get("spec", {})), stored
    assert host.pods(SPEC.namespace) == ()
    host.uninstall((*render_owned(SPEC), *render_owned(SPEC)))
    namespace, priority_class = render_owned(SPEC)
    assert "deletionTimestamp" in host.get(namespace)["metadata"]  # its controller does not run here
    with pytest.raises(NotFoundError):
        host.get(priority_class)


def _is_within(part: Any, whole: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether the server kept everything that was asked for, and added defaults at most."""
    if isinstance(part, dict):
        return all(key in whole and _is_within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_is_within, part, whole))
    return bool(part == whole)


def test_a_deployment_whose_pods_never_come_says_so(
    host: KubePodHost, monkeypatch: pytest.MonkeyPatch, kube_api: KindKube, node: str
) -> None:
    monkeypatch.setattr("clusters.kubernetes.prober_pods._RUNNING_S", 0.0)
    monkeypatch.setattr("clusters.kubernetes.prober_pods._GONE_S", 0.0)
    from clusters.kubernetes.watched import read_node  # noqa: PLC0415 - used here alone

    pods = ProberPods(host, OTHER, clock=HastyClock())
    facts = read_node(kube_api.get(Kind.NODE, node), Overlay.IPIP)
    with pytest.raises(WorldError, match=r"the namespace \S+ of the probers is not gone after 0 s") as raised:
        pods.deploy([facts])
    assert re.search(r"3 of 3 probers do not run, such as control on node-a1 \(no pod\)", str(raised.value.__context__))
    with pytest.raises(UsageError, match="found one of a run that is in progress or was killed"):
        ProberPods(host, OTHER).deploy([facts])


def calico(value: str) -> JsonObject:
    """A DaemonSet calico-node that a real server takes."""
    labels = {"k8s-app": "calico-node"}
    container = {"name": "calico-node", "image": "none:1", "env": [{"name": "FELIX_IPINIPENABLED", "value": value}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "calico-node", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def pool(mode: str) -> JsonObject:
    return {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPPool",
        "metadata": {"name": "default-ipv4-ippool"},
        "spec": {"cidr": "100.96.0.0/11", "ipipMode": mode, "vxlanMode": "Never"},
    }


def test_what_others_do_to_a_real_cluster_is_seen(kube_api: KindKube) -> None:
    # Of its own: the server is shared, and another test's node may have the condition.
    node = register_node(kube_api, "node-watched")
    for document in (calico("true"), pool("Always")):
        kube_api.apply(document, actor=ACTOR)
    kube_api.take_changes()
    seen, clock = ListRecorder(JumpingClock()), JumpingClock()
    observer = SwitchObserver(kube=kube_api, recorder=seen, clock=clock, options=ObserverOptions(idle_s=5e-9))
    observers = (observer,)
    try:
        kube_api.merge_condition(node, route_condition(is_created=True), actor=ACTOR)
        _look(kube_api, observers, Kind.NODE)
        kube_api.apply(calico("false"), actor=ACTOR)
        _look(kube_api, observers, Kind.DAEMON_SET)
        kube_api.apply(pool("Never"), actor=ACTOR)
        _look(kube_api, observers, Kind.IP_POOL)
        assert not observer.is_settled()
        rolled = kube_api.get(Kind.DAEMON_SET, "calico-node")
        rolled["status"] = plain_daemon_set_status(rolled["metadata"]["generation"])
        kube_api.replace_status(rolled, actor=ACTOR)
        _look(kube_api, observers, Kind.DAEMON_SET)
        clock.wait_until(Nanoseconds(10))
        assert observer.is_settled()
    finally:
        kube_api.delete(Kind.NODE, node)
        kube_api.delete(Kind.DAEMON_SET, "calico-node")
        kube_api.delete(Kind.IP_POOL, "default-ipv4-ippool")
    assert [(event.name, event.facts) for event in seen.events] == [
        (
            "condition.written",
            {"node": node, "status": "False", "reason": "RouteCreated", "actor": ACTOR.rsplit(":", 1)[-1]},
        ),
        ("switch.requested", {"mode": "NATIVE"}),
        ("manifest.applied", {"kind": "DaemonSet", "name": "calico-node", "mode": "NATIVE"}),
        ("roll.started", {"generation": 2}),
        ("manifest.applied", {"kind": "IPPool", "name": "default-ipv4-ippool", "mode": "NATIVE"}),
        ("roll.finished", {"generation": 2}),
    ]


def plain_daemon_set_status(generation: int) -> JsonObject:
    status = dict(plain_daemon_set_like(generation)["status"])
    return status | {"currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2}


def plain_daemon_set_like(generation: int) -> JsonObject:
    from hitless.words import Mode  # noqa: PLC0415 - used here alone

    return plain_daemon_set(Mode.NATIVE, generation)


def _look(kube: KindKube, observers: Sequence[Participant], kind: Kind) -> None:
    wait_told(kube, kind)
    assert [one.reconcile(Nanoseconds(0)) for one in observers] == [None] * len(observers)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([(1, b'{"clock": '), (1, b'"x"}\n'), (3, SUCCESS)], b'{"clock": "x"}\n'),
        ([(1, b"\xff\x00" * 100_000), (3, SUCCESS)], b"\xff\x00" * 100_000),
        ([(2, b"a warning"), (3, SUCCESS)], b""),
        (
            [(1, b"x"), (2, b"no supervisor in /records\n"), (3, failure(20))],
            "EXEC Pod p: the command ended with exit code 20: no supervisor",
        ),
        ([(1, b"half an ans")], "the stream broke before the command ended"),
        ([], "EXEC Pod p"),
        (None, "EXEC Pod p: .*not found"),
    ],
    ids=["two pieces", "octets", "stderr apart", "failure", "no status", "broken", "no pod"],
)
def test_a_command_in_a_pod(tmp_path: Path, script: list[tuple[int, bytes]] | None, expected: bytes | str) -> None:
    with ExecServer([script]) as server:
        kubeconfig = write_kubeconfig(tmp_path, server.address)
        host = KubePodHost(connect(kubeconfig))
        if isinstance(expected, bytes):
            assert host.execute("hitless", "p", ASK, b'{"do": "clock"}', 10.0) == expected
        else:
            with pytest.raises(WorldError, match=expected) as raised:
                host.execute("hitless", "p", ASK, b'{"do": "clock"}', 10.0)
            assert isinstance(raised.value, ApiUnavailableError) is (script is not None and (3, failure(20)) not in script)
    assert server.requests[0].startswith("GET /api/v1/namespaces/hitless/pods/p/exec?command=python&command=-s&command=-P&")
    assert server.lines == ([] if script is None else [b'{"do": "clock"}\n'])
