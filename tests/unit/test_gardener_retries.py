"""The switch where an API fails or another writer is in the way, and the back-off."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.extension import DoublingBackoff
from gardener.timings import TIMINGS
from hitless.errors import ConflictError
from hitless.words import SECOND, JsonObject, Profile
from tests.clocks import ms
from tests.unit.fakes_gardener import Bench
from tests.unit.test_gardener_switch import IDEAL, NAMES, NATIVE_OBJECTS, touched


def test_back_off_doubles_up_to_its_cap() -> None:
    bench = Bench(behaviour=CloudBehaviour(quota={"b": 0}), mode=IDEAL)
    bench.request()
    bench.run(ms(1500))
    waits = [facts["retry_ns"] for facts in bench.facts("gate.held")]
    assert waits[:7] == [ms(wait) for wait in (5, 10, 20, 40, 80, 100, 100)]
    held = bench.times("gate.held")
    assert [later - earlier for earlier, later in pairwise(held)] == waits[:-1]


def test_back_off_never_overflows() -> None:
    backoff = DoublingBackoff(TIMINGS[Profile.GARDENER])
    waits = [backoff.fail() for _ in range(200)]
    assert (waits[17], waits[18], waits[199]) == (ms(5) << 17, 1000 * SECOND, 1000 * SECOND)
    backoff.forget()
    assert backoff.fail() == ms(5)


@pytest.mark.parametrize("is_gated", [True, False])
def test_while_the_kubernetes_api_is_away_everything_is_retried(is_gated: bool) -> None:  # noqa: FBT001 - parametrised
    bench = Bench(is_gated=is_gated)
    bench.request()
    bench.loop.at(ms(0), lambda: bench.kube.set_away(True))
    bench.loop.at(ms(700), lambda: bench.kube.set_away(False))
    assert bench.run()
    failures = bench.facts("reconcile.failed")
    assert "gardener-extension-provider-aws" in {facts["actor"] for facts in failures}
    if is_gated:
        held = bench.facts("gate.held")[0]
        assert held["missing"] == []
        assert held["error"] == (
            "Error reconciling Network: failed to check node route status: failed to list nodes: "
            "the Kubernetes API does not answer"
        )
    else:
        assert "gardener-resource-manager" in {facts["actor"] for facts in failures}
    assert touched(bench) == NATIVE_OBJECTS
    assert len(bench.names("condition.removed")) == 4


def test_an_api_that_is_away_while_objects_are_applied_is_retried_where_it_stopped() -> None:
    bench = Bench(is_gated=False)
    bench.request()
    bench.loop.at(ms(55), lambda: bench.kube.set_away(True))
    bench.loop.at(ms(300), lambda: bench.kube.set_away(False))
    assert bench.run()
    assert touched(bench) == NATIVE_OBJECTS
    waits = [facts["retry_ns"] for facts in bench.facts("reconcile.failed") if facts["actor"] == "gardener-resource-manager"]
    assert waits[:6] == [ms(wait) for wait in (5, 10, 20, 40, 80, 100)]


def test_the_clean_up_writes_again_after_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    replace_status = bench.kube.replace_status
    refused: list[str] = []

    def refuse_twice(document: JsonObject, *, actor: str) -> JsonObject:
        if len(refused) < 2:
            refused.append(document["metadata"]["name"])
            raise ConflictError("the object has been modified")
        return replace_status(document, actor=actor)

    monkeypatch.setattr(bench.kube, "replace_status", refuse_twice)
    bench.request()
    assert bench.run()
    assert refused == ["node-a1", "node-a1"]
    assert [facts["node"] for facts in bench.facts("condition.removed")] == NAMES
    assert bench.names("reconcile.failed") == []


def test_a_persistent_conflict_fails_the_reconcile_until_the_other_writer_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def refuse(document: JsonObject, *, actor: str) -> JsonObject:
        raise ConflictError(f"{document['metadata']['name']} {actor}")

    monkeypatch.setattr(bench.kube, "replace_status", refuse)
    bench.request()
    assert bench.run()
    assert bench.names("condition.removed") == []
    assert [facts["retry_ns"] for facts in bench.facts("reconcile.failed")][:3] == [ms(5), ms(10), ms(20)]
    assert max(bench.times("reconcile.failed")) < min(bench.times("gate.opened"))
    assert len(bench.names("controller.scaled")) == 1
