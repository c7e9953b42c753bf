"""The main path where something fails, is interrupted or is killed: the rest is done, and the record says so."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest

from hitless.errors import WorldError
from hitless.plan import PlannedFault
from hitless.ports import Cluster
from hitless.records import encode_header
from hitless.run import run
from hitless.store import RunStore, read_history
from hitless.words import MILLISECOND, Nanoseconds
from tests.clocks import JumpingClock
from tests.unit.run_fakes import HEADER, FakeCluster, execute, make_plan, make_records


@pytest.mark.parametrize("place", ["start", "is_live", "request", "inject a", "cure a", "stop", "collect", "inspect"])
def test_after_an_error_the_rest_is_still_done(tmp_path: Path, place: str) -> None:
    fault = PlannedFault(name="a", options={}, at_ns=Nanoseconds(0), for_ns=None)
    cluster = execute(tmp_path, FakeCluster(place), faults=(fault,), is_until_settled=False)
    assert cluster.calls[-1] == "down"
    assert {"stop", "collect", "inspect"} <= set(cluster.calls)
    history = read_history(tmp_path)
    assert any(f"{place} failed" in error for error in history.errors)


@pytest.mark.parametrize("error", [WorldError("no"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_after_every_end_of_a_live_run_probing_continues_for_the_validation_time(tmp_path: Path, error: BaseException) -> None:
    with nullcontext() if isinstance(error, WorldError) else pytest.raises(type(error)):
        execute(tmp_path, FakeCluster("request", error))
    history = read_history(tmp_path)
    (stopped,) = history.events_named("run.probing_stopped")
    requested_ns = MILLISECOND  # the baseline
    assert stopped.t_ns == requested_ns + HEADER.validation_ns


def test_a_run_that_never_became_live_has_no_validation_time(tmp_path: Path) -> None:
    execute(tmp_path, FakeCluster("start"))
    assert [(event.name, event.t_ns) for event in read_history(tmp_path).events][-1] == ("run.probing_stopped", 0)


def test_flows_that_are_not_answered_in_time_are_said(tmp_path: Path) -> None:
    cluster = FakeCluster()
    cluster.is_live = lambda: False  # type: ignore[method-assign]
    execute(tmp_path, cluster)
    expected = ("probing: nothing was switched: not every flow was answered after 20 s",)
    assert read_history(tmp_path).errors == expected
    assert "request" not in cluster.calls


class InterruptedWait(JumpingClock):
    """Ctrl-C comes in a certain wait."""

    def __init__(self, due_ns: int) -> None:
        super().__init__()
        self._interrupted_ns = due_ns

    def wait_until(self, due_ns: Nanoseconds) -> None:
        super().wait_until(due_ns)
        if due_ns == self._interrupted_ns:
            raise KeyboardInterrupt


def test_ctrl_c_in_the_validation_time_ends_it_and_the_rest_is_done(tmp_path: Path) -> None:
    settled_ns = 2 * MILLISECOND  # the baseline, and an interval after the request
    cluster = FakeCluster()
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, cluster, clock=InterruptedWait(settled_ns + HEADER.validation_ns))
    assert cluster.calls[-5:] == ["stop", "collect", "counters", "inspect", "down"]
    assert read_history(tmp_path).errors == ("validation: interrupted",)


def test_a_cluster_that_cannot_be_taken_down_is_said_and_the_run_is_stored(tmp_path: Path) -> None:
    clock, cluster = JumpingClock(), FakeCluster("down")
    store = RunStore(tmp_path, clock)
    with pytest.raises(WorldError, match="down failed"):
        run(make_plan(), cast("Cluster", cluster), clock, store)
    assert read_history(tmp_path).errors == ()
    with pytest.raises(ValueError, match="closed file"):
        store.events.record("too.late")


@pytest.mark.parametrize("place", ["up", "request"])
def test_a_cluster_that_cannot_be_taken_down_hides_no_earlier_error(tmp_path: Path, place: str) -> None:
    clock, cluster = JumpingClock(), FakeCluster(place, RuntimeError("first"))
    failing = cluster.down

    def fail_down() -> None:
        failing()
        raise WorldError("down failed")

    cluster.down = fail_down  # type: ignore[method-assign]
    store = RunStore(tmp_path, clock)
    with pytest.raises(RuntimeError, match="first") as raised:
        run(make_plan(), cast("Cluster", cluster), clock, store)
    assert raised.value.__notes__ == ["taking the cluster down failed, too: WorldError: down failed"]
    with pytest.raises(ValueError, match="closed file"):
        store.events.record("too.late")


def test_a_bug_at_the_end_leaves_no_step_out(tmp_path: Path) -> None:
    cluster = FakeCluster("stop", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        execute(tmp_path, cluster)
    assert cluster.calls[-5:] == ["stop", "collect", "counters", "inspect", "down"]
    assert read_history(tmp_path).errors == ("stopping of the agents: RuntimeError: a bug",)


def test_a_bug_comes_through_and_is_on_record(tmp_path: Path) -> None:
    cluster = FakeCluster("request", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        execute(tmp_path, cluster)
    assert cluster.calls[-1] == "down"
    assert read_history(tmp_path).errors == ("probing: RuntimeError: a bug",)


@pytest.mark.parametrize("place", ["start", "is_live", "request", "stop"])
def test_an_interrupt_takes_everything_down_and_comes_through(tmp_path: Path, place: str) -> None:
    cluster = FakeCluster(place, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, cluster)
    assert cluster.calls[-1] == "down"
    history = read_history(tmp_path)
    assert history.first_event("run.interrupted") is not None
    assert history.errors


def test_a_cluster_that_does_not_come_up_is_taken_down(tmp_path: Path) -> None:
    cluster = FakeCluster("up")
    with pytest.raises(WorldError):
        execute(tmp_path, cluster)
    assert cluster.calls == ["up", "down"]


def test_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    execute(tmp_path)
    (tmp_path / "final.json").unlink()
    (tmp_path / "agents.json").unlink()
    assert read_history(tmp_path).errors == ("the run ended before its end was stored", "no probe records were stored")


def test_what_killed_agents_left_is_read(tmp_path: Path) -> None:
    execute(tmp_path)
    (tmp_path / "agents.json").unlink()
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "sender.sender").write_bytes(encode_header("sender", {}) + make_records().sender.tobytes())
    history = read_history(tmp_path)
    assert history.records.sender.tolist() == make_records().sender.tolist()
    assert [report.finished for report in history.records.reports] == [False]
    assert history.errors == ("the probe records were not collected; they are read as the agents left them",)


def test_a_last_event_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    execute(tmp_path)
    path = tmp_path / "events.jsonl"
    path.write_text(path.read_text()[:-20])
    assert [event.name for event in read_history(tmp_path).events][-1] == "run.settled"
