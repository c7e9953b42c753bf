"""The Kubernetes API of a real server: the port's conformance suite, and behaviour that only a server over a network shows."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from kubernetes import watch

from clusters.kubernetes.api_calls import DeniedError, GoneError, connect
from clusters.kubernetes.installer import RESOURCES
from clusters.kubernetes.kube import KindKube
from clusters.programs.api_server import ApiServer
from gardener.conditions import route_condition
from hitless.documents import read_document
from hitless.errors import ApiError, ApiUnavailableError, BugError, NotFoundError, UsageError
from hitless.words import JsonObject, Kind
from tests.kind.api_world import is_served, register_node, running_server, validate, wait_told, wait_until, watched_api
from tests.lab.conformance.kube_api import ACTOR, KubeApiConformance, config_map, daemon_set


class TestKindKubeConforms(KubeApiConformance):
    """Fixtures: conftest.py."""


@pytest.fixture
def other(api_server: ApiServer) -> Iterator[KindKube]:
    """Another client's connection."""
    kube = KindKube(connect(api_server.kubeconfig))
    yield kube
    kube.stop()


def test_what_others_do_is_told(kube_api: KindKube, other: KindKube) -> None:
    other.apply(config_map("hitless-others", step="1"), actor=ACTOR)
    wait_told(kube_api, Kind.CONFIG_MAP)
    other.apply(config_map("hitless-others", step="2"), actor=ACTOR)
    wait_told(kube_api, Kind.CONFIG_MAP)
    other.delete(Kind.CONFIG_MAP, "hitless-others")
    wait_told(kube_api, Kind.CONFIG_MAP)


def test_own_writes_are_told_at_once_and_not_again_by_the_watch(kube_api: KindKube) -> None:
    kube_api.apply(daemon_set(), actor=ACTOR)
    version = int(kube_api.apply(daemon_set("example.org/none:2"), actor=ACTOR)["metadata"]["resourceVersion"])
    assert kube_api.take_changes() == {Kind.DAEMON_SET}
    wait_until(lambda: kube_api.watchers[Kind.DAEMON_SET].changed >= version, "the watch did not see the write")
    assert kube_api.take_changes() == frozenset()
    kube_api.delete(Kind.DAEMON_SET, "hitless-conformance")
    assert kube_api.take_changes() == {Kind.DAEMON_SET}


def test_take_changes_needs_a_watch(other: KindKube) -> None:
    with pytest.raises(BugError):
        other.take_changes()


def test_an_object_of_another_namespace_is_refused(kube_api: KindKube) -> None:
    document = config_map()
    document["metadata"]["namespace"] = "default"
    with pytest.raises(UsageError) as refused:
        kube_api.apply(document, actor=ACTOR)
    assert refused.value.place == "metadata.namespace"


def test_an_object_that_was_read_can_be_applied(kube_api: KindKube) -> None:
    kube_api.apply(config_map(step="1"), actor=ACTOR)
    read = kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")
    read["data"]["step"] = "2"
    assert kube_api.apply(read, actor=ACTOR)["data"] == {"step": "2"}


def test_a_status_is_written_under_the_actors_name(kube_api: KindKube, node: str) -> None:
    user = "system:serviceaccount:kube-system:aws-custom-route-controller"
    written = kube_api.merge_condition(node, route_condition(is_created=True), actor=user)
    managers = {entry["manager"] for entry in written["metadata"]["managedFields"]}
    assert "aws-custom-route-controller" in managers


@pytest.mark.parametrize("part", ["aws-custom-route-controller", "gardener-resource-manager", "calico-node"])
def test_a_part_may_not_do_what_is_not_its_own(kube_api: KindKube, part: str) -> None:
    with pytest.raises(DeniedError, match=f"as system:serviceaccount:kube-system:{part}: HTTP 403: .*forbidden"):
        kube_api.apply(daemon_set(), actor=part)


def test_an_object_that_fits_no_schema_is_an_error_that_no_retry_cures(kube_api: KindKube) -> None:
    broken = daemon_set()
    broken["spec"]["template"]["spec"]["containers"] = {"name": "none"}
    with pytest.raises(ApiError) as refused:
        kube_api.apply(broken, actor=ACTOR)
    assert not isinstance(refused.value, ApiUnavailableError)
    with pytest.raises(ApiError, match=r"spec\.oops"):
        validate(kube_api, [{**daemon_set(), "spec": {**daemon_set()["spec"], "oops": True}}])


def test_a_kind_that_the_server_does_not_know_is_not_found(kube_api: KindKube) -> None:
    with pytest.raises(NotFoundError):
        kube_api.installer.install([{"apiVersion": "example.org/v1", "kind": "Teapot", "metadata": {"name": "x"}}])
    with pytest.raises(NotFoundError):
        kube_api.installer.install([{"apiVersion": "v1", "kind": "Teapot", "metadata": {"name": "x"}}])


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ApiServer]:
    """A server that the test may break."""
    with running_server(tmp_path) as server:
        yield server


def test_a_server_that_dies_and_comes_back_is_watched_on(own_server: ApiServer) -> None:
    with watched_api(own_server.kubeconfig) as kube:
        register_node(kube, "node-a1")
        wait_told(kube, Kind.NODE)
        own_server.kill_server()
        wait_until(lambda: all(watcher.failures for watcher in kube.watchers.values()), "no watch broke")
        with pytest.raises(ApiUnavailableError):
            kube.list(Kind.NODE)
        assert kube.take_changes() == frozenset()
        own_server.start_server()
        told: set[Kind] = set()

        def is_told() -> bool:
            told.update(kube.take_changes())
            return told == set(Kind)

        wait_until(is_told, "not every kind was listed again")
        kube.merge_condition("node-a1", route_condition(is_created=True), actor=ACTOR)
        assert kube.take_changes() == {Kind.NODE}
        other = KindKube(connect(own_server.kubeconfig))
        other.apply(config_map("hitless-others"), actor=ACTOR)
        wait_told(kube, Kind.CONFIG_MAP)
        other.stop()


def test_a_version_that_the_server_has_forgotten_is_gone(own_server: ApiServer) -> None:
    calls = connect(own_server.kubeconfig)
    KindKube(calls).installer.install([config_map("hitless-old", step=str(step)) for step in range(3)])
    path = RESOURCES[Kind.CONFIG_MAP].path()
    version = int(calls.call("GET", path, about="list")["metadata"]["resourceVersion"])
    own_server.kill_server()
    own_server.start_server()
    with pytest.raises(GoneError, match="too old resource version"):
        next(calls.watch(path, about="ConfigMaps", version=version - 2, stream=watch.Watch()))
    calls.close()


def change_kubeconfig(server: ApiServer, tmp_path: Path, section: str, changes: JsonObject) -> Path:
    document = read_document(server.kubeconfig)
    document[section][0][section.removesuffix("s")] |= changes
    path = tmp_path / "changed"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_server_with_another_certificate_is_not_trusted(api_server: ApiServer, tmp_path: Path) -> None:
    public = {"certificate-authority-data": b64encode(Path(certifi.where()).read_bytes()).decode()}
    kube = KindKube(connect(change_kubeconfig(api_server, tmp_path, "clusters", public)))
    with pytest.raises(DeniedError, match="certificate"):
        kube.list(Kind.NODE)
    kube.stop()


def test_a_token_that_is_wrong_is_denied(api_server: ApiServer, tmp_path: Path) -> None:
    kube = KindKube(connect(change_kubeconfig(api_server, tmp_path, "users", {"token": "wrong"})))
    with pytest.raises(DeniedError, match="HTTP 401"):
        kube.list(Kind.NODE)
    kube.stop()


def test_a_kind_that_is_served_later_is_watched_from_then_on(own_server: ApiServer) -> None:
    other = KindKube(connect(own_server.kubeconfig))
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ippools.crd.projectcalico.org"},
    }
    kept = other.installer.get(crd)
    other.installer.uninstall([crd])
    wait_until(lambda: not is_served(other, Kind.IP_POOL), "the CRD is still there")
    with watched_api(own_server.kubeconfig) as kube:
        other.installer.install([kept])
        wait_told(kube, Kind.IP_POOL)
    other.stop()
