"""The admission policy as provider-aws deploys it, in a real API server: calico-node's write is dropped, others' are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.kubernetes.api_calls import DeniedError, connect
from clusters.kubernetes.installer import NAMESPACE
from clusters.kubernetes.kube import KindKube
from clusters.programs.api_server import ApiServer
from gardener.conditions import calico_is_down, calico_is_up, network_unavailable, route_condition
from gardener.doubles.route_controller import USER as ROUTE_CONTROLLER
from gardener.manifests.admission import BINDING_NAME, CALICO_NODE_USER, POLICY_NAME, admit, policy_manifests
from gardener.shoot import Shoot
from hitless.documents import read_document
from hitless.words import JsonObject, Kind, Mode
from tests.kind.api_world import register_node, running_server, wait_until
from tests.unit.fakes_gardener import shipped_shoot

PROVIDER = "gardener-extension-provider-aws"
LIVE_S_MAX = 10.0
"""Until the policy takes effect or loses it; around 1 s is usual, and the machine may be busy."""


def reasons(node: JsonObject) -> list[str]:
    return [entry["reason"] for entry in network_unavailable(node)]


def write_down(kube: KindKube, node: str) -> list[str]:
    """Write as calico-node does when it shuts down; return what the node says afterwards."""
    return reasons(kube.merge_condition(node, calico_is_down(), actor=CALICO_NODE_USER))


def install_policy(kube: KindKube, node: str, shoot: Shoot) -> float:
    """Apply the policy as provider-aws would and wait until it is live; return how long that took, seconds."""
    for document in policy_manifests(shoot):
        kube.apply(document, actor=PROVIDER)
    began = time.monotonic()

    def is_live() -> bool:
        kube.merge_condition(node, route_condition(is_created=True), actor=ROUTE_CONTROLLER)
        return write_down(kube, node) == ["RouteCreated"]

    wait_until(is_live, "the policy has no effect")
    return time.monotonic() - began


def remove_policy(kube: KindKube, node: str) -> float:
    """Delete binding and policy and wait until they have no effect; return how long that took, seconds."""
    kube.delete(Kind.ADMISSION_POLICY_BINDING, BINDING_NAME)
    kube.delete(Kind.ADMISSION_POLICY, POLICY_NAME)
    began = time.monotonic()
    wait_until(lambda: write_down(kube, node) == ["CalicoIsDown"], "the policy still has an effect")
    return time.monotonic() - began


def make_native() -> Shoot:
    return shipped_shoot("aws-1.36").with_mode(Mode.NATIVE)


@pytest.fixture(scope="module")
def policed(api_server: ApiServer) -> Iterator[str]:
    """The name of a node while the policy is live."""
    kube = KindKube(connect(api_server.kubeconfig))
    node = register_node(kube, "node-policed")
    install_policy(kube, node, make_native())
    yield node
    remove_policy(kube, node)
    kube.delete(Kind.NODE, node)
    kube.stop()


def test_it_takes_effect_and_loses_it_within_seconds(kube_api: KindKube, node: str) -> None:
    assert write_down(kube_api, node) == ["CalicoIsDown"]
    live_s = install_policy(kube_api, node, make_native())
    gone_s = remove_policy(kube_api, node)
    assert max(live_s, gone_s) < LIVE_S_MAX
    assert min(live_s, gone_s) > 0


def test_calicos_write_is_answered_and_dropped_the_route_controllers_is_kept(kube_api: KindKube, policed: str) -> None:
    def write(condition: JsonObject, user: str) -> list[str]:
        return reasons(kube_api.merge_condition(policed, condition, actor=user))

    assert write(route_condition(is_created=False), ROUTE_CONTROLLER) == ["NoRouteCreated"]
    assert write(calico_is_up(), CALICO_NODE_USER) == ["NoRouteCreated"]
    assert write(route_condition(is_created=True), ROUTE_CONTROLLER) == ["RouteCreated"]
    assert write(calico_is_down(), CALICO_NODE_USER) == ["RouteCreated"]


def test_a_node_without_the_condition_gets_none_from_calico(kube_api: KindKube, policed: str) -> None:
    kube_api.merge_condition(policed, {"type": "NetworkUnavailable", "$patch": "delete"}, actor=ROUTE_CONTROLLER)
    assert reasons(kube_api.get(Kind.NODE, policed)) == []
    assert reasons(kube_api.merge_condition(policed, calico_is_up(), actor=CALICO_NODE_USER)) == []


def test_on_a_node_with_no_condition_at_all_calicos_write_is_refused(kube_api: KindKube, policed: str) -> None:
    """The result would be an empty list, which the API omits but the policy's second evaluation requires. No kubelet leaves a
    node in this state, and the condition does not reach the node in either case.
    """
    name = "hitless-bare"
    kube_api.installer.install([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}])
    with pytest.raises(DeniedError, match="no such key: conditions"):
        kube_api.merge_condition(name, calico_is_up(), actor=CALICO_NODE_USER)
    kube_api.delete(Kind.NODE, name)
    assert policed != name


def test_what_the_policy_does_is_what_the_lab_does(kube_api: KindKube, policed: str) -> None:
    """The effect of the CEL expressions, and of the function that stands in for them, on one write of calico-node."""
    kube_api.merge_condition(policed, route_condition(is_created=True), actor=ROUTE_CONTROLLER)
    old = kube_api.get(Kind.NODE, policed)
    others = [{"type": name, "status": "False"} for name in ("Ready", "MemoryPressure", "DiskPressure")]
    wanted = {**old, "status": {"conditions": [others[0], calico_is_down(), *others[1:]]}}
    stored = kube_api.replace_status(wanted, actor=CALICO_NODE_USER)
    assert stored["status"]["conditions"] == admit(old, stored_as_asked(wanted), CALICO_NODE_USER)["status"]["conditions"]
    assert [entry["type"] for entry in stored["status"]["conditions"]] == [
        *("Ready", "MemoryPressure", "DiskPressure", "NetworkUnavailable")
    ]


def stored_as_asked(node: JsonObject) -> JsonObject:
    """As the server stores a condition: with the times that the writer left out."""
    times = {"lastHeartbeatTime": None, "lastTransitionTime": None}
    return {**node, "status": {"conditions": [{**times, **entry} for entry in node["status"]["conditions"]]}}


def test_a_token_of_the_service_account_is_judged_as_the_impersonated_user_is(
    api_server: ApiServer, kube_api: KindKube, policed: str, tmp_path: Path
) -> None:
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/calico-node/token"
    administrator = connect(api_server.kubeconfig)
    token = administrator.call("POST", path, about="token", body=asked)["status"]["token"]
    administrator.close()
    document = read_document(api_server.kubeconfig)
    document["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(document))
    calico = connect(kubeconfig)
    kube_api.merge_condition(policed, route_condition(is_created=True), actor=ROUTE_CONTROLLER)
    answer = calico.call(
        "PATCH",
        f"/api/v1/nodes/{policed}/status",
        about="Node",
        body={"status": {"conditions": [calico_is_down()]}},
        content_type="application/strategic-merge-patch+json",
    )
    calico.close()
    assert reasons(answer) == ["RouteCreated"]


def test_in_v1beta1_it_does_the_same(tmp_path: Path) -> None:
    """Kubernetes 1.34 and 1.35 have the policy in v1beta1; this server has both."""
    flags = ("--runtime-config=admissionregistration.k8s.io/v1beta1=true",)
    shoot = shipped_shoot("aws-1.34-with-admission").with_mode(Mode.NATIVE)
    assert {document["apiVersion"] for document in policy_manifests(shoot)} == {"admissionregistration.k8s.io/v1beta1"}
    with running_server(tmp_path, flags) as server:
        kube = KindKube(connect(server.kubeconfig))
        register_node(kube, "node-a1")
        assert install_policy(kube, "node-a1", shoot) < LIVE_S_MAX
        assert [item["metadata"]["name"] for item in kube.list(Kind.ADMISSION_POLICY)] == [POLICY_NAME]
        kube.stop()
