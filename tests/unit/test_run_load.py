"""The main path with application load: when it begins and ends, and what becomes of a run whose load fails."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from hitless.errors import WorldError
from hitless.history import History
from hitless.load import LoadRecords, LoadSpec
from hitless.ports import Cluster
from hitless.run import run
from hitless.store import RunStore, read_history, write_spec
from tests.clocks import JumpingClock
from tests.unit.load_rows import load, request, spec
from tests.unit.run_fakes import FakeCluster, make_plan


class FakeLoad:
    """Records its calls among the cluster's, and fails on request."""

    def __init__(self, calls: list[str], fails_at: str = "", error: BaseException | None = None) -> None:
        self._calls, self._fails_at, self._error = calls, fails_at, error

    def _call(self, name: str) -> None:
        self._calls.append(name)
        if name == self._fails_at:
            raise self._error or WorldError(f"{name} failed")

    def start(self, asked: LoadSpec, directory: Path, epoch_ns: int) -> None:
        assert epoch_ns == JumpingClock.epoch_ns
        directory.mkdir()
        write_spec(directory, asked)
        self._call("load start")

    def is_live(self) -> bool:
        self._call("load is_live")
        return True

    def stop(self) -> None:
        self._call("load stop")

    def collect(self) -> LoadRecords:
        self._call("load collect")
        return load(request(1))


def execute(tmp_path: Path, fails_at: str = "", error: BaseException | None = None) -> tuple[list[str], History]:
    cluster, clock = FakeCluster(), JumpingClock()
    cluster.load = FakeLoad(cluster.calls, fails_at, error)
    plan = make_plan(make_load=lambda _: spec())
    history = run(plan, cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    return cluster.calls, history


def test_the_load_begins_before_the_probes_and_ends_before_them(tmp_path: Path) -> None:
    calls, history = execute(tmp_path)
    begin = ["up", "counters", "load start", "load is_live", "start", "is_live", "request"]
    assert calls == [*begin, "load stop", "load collect", "stop", "collect", "counters", "inspect", "down"]
    assert [event.name for event in history.events][:3] == ["run.started", "load.live", "run.live"]
    live = history.first_event("load.live")
    assert live is not None
    assert live.facts == {"clients": ["node-a1-mesh", "node-b1-mesh"]}
    assert history.load is not None
    assert history.load.rows.tolist() == load(request(1)).rows.tolist()
    assert history.errors == ()
    assert not (tmp_path / "run" / "load").exists()


@pytest.mark.parametrize("place", ["load start", "load is_live", "load stop", "load collect"])
def test_a_load_that_fails_is_written_down_and_the_rest_is_still_done(tmp_path: Path, place: str) -> None:
    calls, history = execute(tmp_path, place)
    assert any(f"{place} failed" in error for error in history.errors)
    assert calls[-1] == "down"
    assert {"load stop", "load collect", "stop", "collect"} <= set(calls)
    assert ("request" in calls) is (place in {"load stop", "load collect"})


def test_an_interrupt_while_the_load_starts_comes_through(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, "load is_live", KeyboardInterrupt())
    assert read_history(tmp_path / "run").load is not None


def test_a_cluster_without_load_is_refused_for_a_scenario_with_load(tmp_path: Path) -> None:
    cluster, clock = FakeCluster(), JumpingClock()
    plan = make_plan(make_load=lambda _: spec())
    history = run(plan, cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert (
        history.errors[0]
        == "probing: this cluster cannot generate application load; use --backend lab for scenarios with `load`"
    )
    assert "request" not in cluster.calls
    assert history.load is None
