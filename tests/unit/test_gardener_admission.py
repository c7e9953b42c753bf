"""The effect of the admission policy on conditions, and when it is there."""

from __future__ import annotations

import copy

import pytest

from gardener.conditions import calico_is_down, network_unavailable
from gardener.doubles.route_controller import USER
from gardener.gate import is_admission_policy_available
from gardener.manifests.admission import CALICO_NODE_USER, admit, is_policy_deployed, policy_manifests
from gardener.releases import LATEST
from tests.unit.fakes_gardener import (
    CALICO_IS_UP,
    ROUTE_CREATED,
    make_node,
    make_shoot,
)


def test_calico_nodes_write_is_dropped_and_the_old_condition_moves_to_the_end() -> None:
    ready, pressure = {"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"}
    old = {"status": {"conditions": [ROUTE_CREATED, ready]}}
    new = {"status": {"conditions": [calico_is_down(), {**ready, "status": "True"}, pressure]}}
    before = copy.deepcopy(new)
    admitted = admit(old, new, CALICO_NODE_USER)
    assert admitted["status"]["conditions"] == [{**ready, "status": "True"}, pressure, ROUTE_CREATED]
    assert new == before


def test_where_there_was_none_none_is_added() -> None:
    admitted = admit(make_node("x"), make_node("x", CALICO_IS_UP), CALICO_NODE_USER)
    assert network_unavailable(admitted) == ()
    assert network_unavailable(admit({}, make_node("x", CALICO_IS_UP), CALICO_NODE_USER)) == ()


@pytest.mark.parametrize("user", [USER, "system:node:x", "system:serviceaccount:default:calico-node"])
def test_every_other_user_passes(user: str) -> None:
    new = make_node("x", CALICO_IS_UP)
    assert admit(make_node("x", ROUTE_CREATED), new, user) is new


def test_a_write_without_the_condition_passes() -> None:
    new = make_node("x")
    assert admit(make_node("x", ROUTE_CREATED), new, CALICO_NODE_USER) is new


OFF = {"overlay": {"enabled": False}}


@pytest.mark.parametrize(
    ("version", "serves", "feature_gate", "api_version", "is_available"),
    [
        ("1.36.0", (), None, "v1", True),
        ("1.35.2", ("v1beta1",), True, "v1beta1", True),
        ("1.34.0", ("v1beta1",), True, "v1beta1", True),
        ("1.34.0", ("v1alpha1",), True, None, True),
        ("1.33.9", ("v1alpha1",), True, "v1alpha1", True),
        ("1.33.9", ("v1beta1",), True, None, True),
        ("1.34.0", ("v1beta1",), False, None, False),
        ("1.34.0", (), True, None, False),
    ],
)
def test_when_the_policy_is_deployed_and_when_the_gate_believes_it_is(
    version: str,
    serves: tuple[str, ...],
    feature_gate: bool | None,  # noqa: FBT001 - parametrised
    api_version: str | None,
    is_available: bool,  # noqa: FBT001 - parametrised
) -> None:
    shoot = make_shoot(version=version, serves=serves, feature_gate=feature_gate, network=OFF)
    versions = {document["apiVersion"] for document in policy_manifests(shoot)}
    assert versions == (set() if api_version is None else {f"admissionregistration.k8s.io/{api_version}"})
    assert is_available == is_admission_policy_available(shoot, LATEST)


def test_while_the_overlay_is_on_no_policy_is_deployed() -> None:
    assert not is_policy_deployed(make_shoot(network={"overlay": {"enabled": True}}))
    assert not is_policy_deployed(make_shoot(network=None))
