"""What the in-memory Kubernetes API promises beyond the conformance suite of its port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.lab.kube import MemoryKube, copy_json, merge_condition
from gardener.manifests.admission import BINDING_NAME, CALICO_NODE_USER, POLICY_NAME, admit
from hitless.errors import ApiUnavailableError, BugError, UsageError
from hitless.words import JsonObject, Kind, Nanoseconds
from tests.clocks import JumpingClock
from tests.lab.conformance.kube_api import ACTOR, KubeApiConformance, config_map, daemon_set, entries

POLICY = {"kind": "MutatingAdmissionPolicy", "metadata": {"name": POLICY_NAME}, "spec": {}}
BINDING = {
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": BINDING_NAME},
    "spec": {"policyName": POLICY_NAME},
}
NETWORK_DOWN = {"type": "NetworkUnavailable", "status": "True", "reason": "CalicoIsDown"}


def make_kube(clock: JumpingClock | None = None, admission_live_ns: int = 0) -> MemoryKube:
    kube = MemoryKube(admit=admit, clock=clock or JumpingClock(), admission_live_ns=Nanoseconds(admission_live_ns))
    kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a1"}, "spec": {}}, actor=ACTOR)
    return kube


class TestMemoryKubeConforms(KubeApiConformance):
    @pytest.fixture
    def kube_api(self) -> MemoryKube:
        return make_kube()

    @pytest.fixture
    def node(self) -> str:
        return "node-a1"


def test_while_it_is_unavailable_every_call_except_take_changes_fails() -> None:
    kube = make_kube()
    watch = kube.watch(Kind.NODE)
    kube.set_away(True)
    for call in (
        lambda: kube.get(Kind.NODE, "node-a1"),
        lambda: kube.list(Kind.NODE),
        lambda: kube.apply(config_map(), actor=ACTOR),
        lambda: kube.delete(Kind.NODE, "node-a1"),
        lambda: kube.replace_status({"kind": "Node", "metadata": {"name": "node-a1"}}, actor=ACTOR),
        lambda: kube.merge_condition("node-a1", NETWORK_DOWN, actor=ACTOR),
        watch.take,
    ):
        with pytest.raises(ApiUnavailableError):
            call()
    assert kube.take_changes() == {Kind.NODE}


def test_when_it_comes_back_clients_list_again() -> None:
    kube = make_kube()
    kube.take_changes()
    kube.set_away(True)
    assert kube.take_changes() == frozenset()
    kube.set_away(False)
    assert kube.take_changes() == {Kind.NODE}


def test_changes_are_reported_once() -> None:
    kube = make_kube()
    assert kube.take_changes() == {Kind.NODE}
    assert kube.take_changes() == frozenset()
    kube.delete(Kind.NODE, "node-a1")
    assert kube.take_changes() == {Kind.NODE}


def test_a_watch_begins_with_the_present_objects_and_continues_with_changes() -> None:
    kube = make_kube()
    watch = kube.watch(Kind.NODE)
    assert [(kind, list(found)) for kind, found in watch.take().items()] == [(Kind.NODE, ["node-a1"])]
    assert watch.take() == {}
    kube.apply(config_map(), actor=ACTOR)
    assert watch.take() == {}
    kube.delete(Kind.NODE, "node-a1")
    assert watch.take() == {Kind.NODE: {"node-a1": None}}


def test_an_object_that_is_made_again_starts_anew() -> None:
    kube = make_kube()
    kube.apply(daemon_set(), actor=ACTOR)
    kube.apply(daemon_set("example.org/none:2"), actor=ACTOR)
    kube.delete(Kind.DAEMON_SET, "hitless-conformance")
    assert kube.apply(daemon_set(), actor=ACTOR)["metadata"]["generation"] == 1


def test_an_apply_cannot_write_a_status() -> None:
    kube = make_kube()
    assert "status" not in kube.apply({**daemon_set(), "status": {"numberReady": 7}}, actor=ACTOR)


@pytest.mark.parametrize(
    ("present", "kept"),
    [((), True), ((POLICY,), True), ((BINDING,), True), ((POLICY, BINDING), False)],
    ids=["none", "policy alone", "binding alone", "both"],
)
def test_the_policy_works_only_with_its_binding(present: tuple[JsonObject, ...], *, kept: bool) -> None:
    kube = make_kube()
    for document in present:
        kube.apply(document, actor=ACTOR)
    merged = kube.merge_condition("node-a1", NETWORK_DOWN, actor=CALICO_NODE_USER)
    assert entries({"status": {"conditions": []}, **merged}, "NetworkUnavailable") == (
        [{"status": "True", "reason": "CalicoIsDown"}] if kept else []
    )


def test_the_policy_looks_at_the_user() -> None:
    kube = make_kube()
    kube.apply(POLICY, actor=ACTOR)
    kube.apply(BINDING, actor=ACTOR)
    merged = kube.merge_condition("node-a1", NETWORK_DOWN, actor=ACTOR)
    assert entries(merged, "NetworkUnavailable") == [{"status": "True", "reason": "CalicoIsDown"}]


def test_the_policy_guards_a_put_of_the_status_too() -> None:
    kube = make_kube()
    kube.apply(POLICY, actor=ACTOR)
    kube.apply(BINDING, actor=ACTOR)
    node = kube.get(Kind.NODE, "node-a1")
    ready = {"type": "Ready", "status": "True"}
    kube.replace_status({**node, "status": {"conditions": [NETWORK_DOWN, ready]}}, actor=CALICO_NODE_USER)
    assert kube.get(Kind.NODE, "node-a1")["status"] == {"conditions": [ready]}


def test_the_policy_is_live_a_while_after_it_was_applied_and_gone_at_once() -> None:
    clock = JumpingClock()
    kube = make_kube(clock, admission_live_ns=100)
    kube.apply(POLICY, actor=ACTOR)
    clock.wait_until(Nanoseconds(60))
    kube.apply(BINDING, actor=ACTOR)
    clock.wait_until(Nanoseconds(159))
    early = kube.merge_condition("node-a1", {**NETWORK_DOWN, "reason": "Early"}, actor=CALICO_NODE_USER)
    clock.wait_until(Nanoseconds(160))
    late = kube.merge_condition("node-a1", {**NETWORK_DOWN, "reason": "Late"}, actor=CALICO_NODE_USER)
    kube.delete(Kind.ADMISSION_POLICY, POLICY_NAME)
    after = kube.merge_condition("node-a1", {**NETWORK_DOWN, "reason": "After"}, actor=CALICO_NODE_USER)
    reasons = [entries(node, "NetworkUnavailable")[0]["reason"] for node in (early, late, after)]
    assert reasons == ["Early", "Early", "After"]


def test_of_duplicate_conditions_the_first_takes_the_patch() -> None:
    present = [{"type": "A", "status": "1"}, {"type": "B", "status": "2"}, {"type": "A", "status": "3"}]
    assert merge_condition(present, {"type": "A", "status": "4"}) == [
        {"type": "A", "status": "4"},
        {"type": "B", "status": "2"},
        {"type": "A", "status": "3"},
    ]
    assert merge_condition(present, {"type": "A", "$patch": "delete"}) == [{"type": "B", "status": "2"}]


def test_null_removes_a_field_of_a_condition() -> None:
    assert merge_condition([{"type": "A", "status": "1", "message": "m"}], {"type": "A", "message": None}) == [
        {"type": "A", "status": "1"}
    ]


def test_a_condition_without_its_merge_key_is_our_bug() -> None:
    with pytest.raises(BugError):
        merge_condition([], {"status": "True"})


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="found 'Teapot'; expected Node, Pod"):
        make_kube().apply({"kind": "Teapot", "metadata": {"name": "x"}}, actor=ACTOR)


CONDITIONS = st.fixed_dictionaries(
    {"type": st.sampled_from("ABC")}, optional={"status": st.sampled_from(["True", "False"]), "reason": st.text(max_size=3)}
)


@given(st.lists(CONDITIONS, max_size=6), CONDITIONS)
def test_a_merge_touches_nothing_but_its_own_entry_and_is_idempotent(present: list[JsonObject], patch: JsonObject) -> None:
    before = copy_json(present)
    merged = merge_condition(present, patch)
    assert present == before
    assert [entry for entry in merged if entry["type"] != patch["type"]] == [
        entry for entry in present if entry["type"] != patch["type"]
    ]
    assert merge_condition(merged, patch) == merged
    assert sum(entry["type"] == patch["type"] for entry in merged) == max(
        1, sum(entry["type"] == patch["type"] for entry in present)
    )
