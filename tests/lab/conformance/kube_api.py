"""What every KubeApi must do: the conformance suite of the port.

A test module takes the suite in by subclassing `KubeApiConformance` and giving two fixtures: `kube_api`, an implementation that
holds no objects of its own with the names used here, and `node`, the name of a Node that the test may write conditions to.
Objects are created under names of the suite, so a real API server serves as well.
"""

from __future__ import annotations

import pytest

from hitless.errors import ConflictError, NotFoundError, UsageError
from hitless.ports import KubeApi
from hitless.words import JsonObject, Kind

ACTOR = "system:serviceaccount:kube-system:hitless-conformance"
OTHER_ACTOR = "hitless-conformance-other"
CONDITION = "HitlessConformance"


def config_map(name: str = "hitless-conformance", **data: str) -> JsonObject:
    metadata = {"name": name, "namespace": "kube-system", "labels": {"app": "hitless"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def daemon_set(image: str = "example.org/none:1", **labels: str) -> JsonObject:
    template = {
        "metadata": {"labels": {"app": "hitless-conformance"}},
        "spec": {"nodeSelector": {"hitless": "nowhere"}, "containers": [{"name": "none", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "hitless-conformance", "namespace": "kube-system", "labels": labels},
        "spec": {"selector": {"matchLabels": {"app": "hitless-conformance"}}, "template": template},
    }


def entries(node: JsonObject, condition_type: str = CONDITION) -> list[JsonObject]:
    # An API server leaves an empty list out.
    found = [entry for entry in node["status"].get("conditions", []) if entry["type"] == condition_type]
    return [{key: entry[key] for key in ("status", "reason", "message") if key in entry} for entry in found]


class KubeApiConformance:
    """Subclass it with fixtures `kube_api` and `node`."""

    @pytest.fixture(autouse=True)
    def _leave_nothing_behind(self, kube_api: KubeApi) -> None:
        kube_api.delete(Kind.CONFIG_MAP, "hitless-conformance")
        kube_api.delete(Kind.DAEMON_SET, "hitless-conformance")
        kube_api.take_changes()

    def test_an_applied_object_can_be_read(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(backend="bird"), actor=ACTOR)
        read = kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")
        assert read["kind"] == "ConfigMap"
        assert read["apiVersion"] == "v1"
        assert read["data"] == {"backend": "bird"}
        assert read["metadata"]["labels"] == {"app": "hitless"}
        assert read["metadata"]["namespace"] == "kube-system"

    def test_apply_replaces_what_it_applied_before(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(backend="bird", mtu="0"), actor=ACTOR)
        assert kube_api.apply(config_map(backend="none"), actor=ACTOR)["data"] == {"backend": "none"}

    def test_apply_replaces_what_another_actor_applied(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(backend="bird", mtu="0"), actor=ACTOR)
        assert kube_api.apply(config_map(backend="none"), actor=OTHER_ACTOR)["data"] == {"backend": "none"}

    def test_every_write_gives_another_resource_version(self, kube_api: KubeApi) -> None:
        first = kube_api.apply(config_map(backend="bird"), actor=ACTOR)
        second = kube_api.apply(config_map(backend="none"), actor=ACTOR)
        assert first["metadata"]["resourceVersion"] != second["metadata"]["resourceVersion"]

    def test_an_apply_that_changes_nothing_changes_nothing(self, kube_api: KubeApi) -> None:
        first = kube_api.apply(config_map(backend="bird"), actor=ACTOR)
        kube_api.take_changes()
        second = kube_api.apply(config_map(backend="bird"), actor=ACTOR)
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert Kind.CONFIG_MAP not in kube_api.take_changes()

    def test_generation_rises_with_the_spec_alone(self, kube_api: KubeApi) -> None:
        generations = [
            kube_api.apply(document, actor=ACTOR)["metadata"]["generation"]
            for document in (daemon_set(), daemon_set(team="network"), daemon_set("example.org/none:2", team="network"))
        ]
        assert generations == [generations[0], generations[0], generations[0] + 1]

    def test_apply_keeps_the_status(self, kube_api: KubeApi) -> None:
        created = kube_api.apply(daemon_set(), actor=ACTOR)
        counts = {
            "desiredNumberScheduled": 0,
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
            "observedGeneration": created["metadata"]["generation"],
        }
        current = kube_api.get(Kind.DAEMON_SET, "hitless-conformance")
        kube_api.replace_status({**current, "status": counts}, actor=ACTOR)
        applied = kube_api.apply(daemon_set("example.org/none:2"), actor=ACTOR)
        assert applied["status"]["observedGeneration"] >= counts["observedGeneration"]

    def test_a_status_for_an_old_version_conflicts(self, kube_api: KubeApi) -> None:
        old = kube_api.apply(daemon_set(), actor=ACTOR)
        kube_api.apply(daemon_set("example.org/none:2"), actor=ACTOR)
        with pytest.raises(ConflictError):
            kube_api.replace_status(old, actor=ACTOR)

    def test_an_apply_for_an_old_version_conflicts(self, kube_api: KubeApi) -> None:
        old = kube_api.apply(config_map(step="1"), actor=ACTOR)
        kube_api.apply(config_map(step="2"), actor=ACTOR)
        with pytest.raises(ConflictError):
            kube_api.apply({**old, "data": {"step": "3"}}, actor=ACTOR)

    def test_what_is_not_there_is_not_found(self, kube_api: KubeApi) -> None:
        with pytest.raises(NotFoundError):
            kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")
        with pytest.raises(NotFoundError):
            kube_api.replace_status(daemon_set(), actor=ACTOR)
        with pytest.raises(NotFoundError):
            kube_api.merge_condition("hitless-no-such-node", {"type": CONDITION, "status": "True"}, actor=ACTOR)

    def test_deleting_twice_is_no_error(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(), actor=ACTOR)
        kube_api.delete(Kind.CONFIG_MAP, "hitless-conformance")
        kube_api.delete(Kind.CONFIG_MAP, "hitless-conformance")
        assert "hitless-conformance" not in [item["metadata"]["name"] for item in kube_api.list(Kind.CONFIG_MAP)]

    def test_a_list_is_in_order_of_names(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(), actor=ACTOR)
        names = [item["metadata"]["name"] for item in kube_api.list(Kind.CONFIG_MAP)]
        assert names == sorted(names)
        assert "hitless-conformance" in names

    def test_what_is_returned_is_a_copy(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(backend="bird"), actor=ACTOR)["data"]["backend"] = "none"
        kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")["data"]["backend"] = "none"
        for item in kube_api.list(Kind.CONFIG_MAP):
            item.clear()
        assert kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")["data"] == {"backend": "bird"}

    def test_what_is_given_is_copied(self, kube_api: KubeApi) -> None:
        document = config_map(backend="bird")
        kube_api.apply(document, actor=ACTOR)
        document["data"]["backend"] = "none"
        assert kube_api.get(Kind.CONFIG_MAP, "hitless-conformance")["data"] == {"backend": "bird"}

    def test_conditions_merge_by_type_and_field(self, kube_api: KubeApi, node: str) -> None:
        before = len(kube_api.get(Kind.NODE, node).get("status", {}).get("conditions", []))
        kube_api.merge_condition(node, {"type": CONDITION, "status": "True", "reason": "First", "message": "m"}, actor=ACTOR)
        merged = kube_api.merge_condition(node, {"type": CONDITION, "status": "False", "reason": "Second"}, actor=ACTOR)
        assert entries(merged) == [{"status": "False", "reason": "Second", "message": "m"}]
        assert len(merged["status"]["conditions"]) == before + 1
        assert entries(kube_api.get(Kind.NODE, node)) == entries(merged)
        kube_api.merge_condition(node, {"type": CONDITION, "$patch": "delete"}, actor=ACTOR)
        assert entries(kube_api.get(Kind.NODE, node)) == []

    def test_a_change_tells_its_kind(self, kube_api: KubeApi) -> None:
        kube_api.apply(config_map(), actor=ACTOR)
        assert Kind.CONFIG_MAP in kube_api.take_changes()

    @pytest.mark.parametrize(
        ("document", "place"),
        [
            ({"apiVersion": "v1", "kind": "Teapot", "metadata": {"name": "x"}}, "kind"),
            ({"apiVersion": "v1", "metadata": {"name": "x"}}, "kind"),
            ({"apiVersion": "v1", "kind": "Node", "metadata": {}}, "metadata.name"),
            ({"apiVersion": "v1", "kind": "Node"}, "metadata.name"),
        ],
    )
    def test_an_object_without_kind_or_name_is_refused(self, kube_api: KubeApi, document: JsonObject, place: str) -> None:
        with pytest.raises(UsageError) as refused:
            kube_api.apply(document, actor=ACTOR)
        assert refused.value.place == place
