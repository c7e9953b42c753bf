"""Labs that outlive their command: started, found, entered, stopped; and what is left of a killed one."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.lab.holder import (
    Holder,
    clean_holders,
    execute_inside,
    find_holder,
    list_holders,
    start_holder,
    stop_holder,
)
from clusters.lab.spec import LabSpec
from hitless.errors import UsageError, WorldError

SPEC = LabSpec(zones=1, nodes_per_zone=2)
PATIENCE_S = 20.0


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    started = start_holder(SPEC, "test")
    yield started
    for left in list_holders():
        stop_holder(left)


def kill(holder: Holder) -> None:
    assert holder.process is not None
    descriptor = os.pidfd_open(holder.process)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], PATIENCE_S)[0]
    os.close(descriptor)
    # The two processes above it hold the lock too, until they have noticed.
    for _ in range(2000):
        if not any(one.is_alive for one in list_holders()):
            return
        select.select([], [], [], 0.005)
    raise AssertionError("still locked")


def test_a_started_lab_is_found_by_name(holder: Holder) -> None:
    assert find_holder("test") == holder
    assert (holder.name, holder.is_alive, holder.spec) == ("test", True, SPEC)
    assert list_holders() == (holder,)
    assert clean_holders() == ()


def test_a_program_runs_inside_a_namespace(holder: Holder, tmp_path: Path) -> None:
    target = tmp_path / "seen"
    script = f"ls /sys/class/net /proc/self/net >/dev/null; cat /proc/net/fib_trie > {target}; test $HITLESS_SANDBOX && exit 9"
    assert execute_inside(holder, "node-a2-mesh", ["sh", "-c", script]) == 9
    assert "100.96.1.2" in target.read_text()
    assert execute_inside(holder, "vpc", ["sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM


def test_a_program_that_cannot_run_is_named(holder: Holder, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute_inside(holder, "vpc", ["no-such-program"]) == 127
    assert "no-such-program" in capfd.readouterr().err
    with pytest.raises(UsageError, match=r"node-z9.*vpc, node-a1"):
        execute_inside(holder, "node-z9", ["true"])
    with pytest.raises(UsageError, match="a program"):
        execute_inside(holder, "vpc", [])


def test_a_name_is_given_once(holder: Holder) -> None:
    with pytest.raises(UsageError, match="a lab named test is already up"):
        start_holder(SPEC, holder.name)
    other = start_holder(SPEC, "other")
    assert [one.name for one in list_holders()] == ["other", "test"]
    stop_holder(other)
    assert list_holders() == (holder,)


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 41, "höhe"])
def test_a_strange_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        start_holder(SPEC, name)


def test_a_stopped_lab_is_gone(holder: Holder) -> None:
    stop_holder(holder)
    assert list_holders() == ()
    with pytest.raises(WorldError, match="gone"):
        stop_holder(holder)


def test_a_killed_lab_is_recognised_and_cleaned(holder: Holder) -> None:
    kill(holder)
    with pytest.raises(UsageError, match="no lab named"):
        find_holder("test")
    with pytest.raises(WorldError, match="gone"):
        execute_inside(holder, "vpc", ["true"])
    assert [one.name for one in clean_holders()] == ["test"]
    assert list_holders() == ()


def test_a_name_of_a_dead_owner_may_be_taken_again(holder: Holder) -> None:
    kill(holder)
    again = start_holder(SPEC, "test")
    assert again.process != holder.process
    assert execute_inside(again, "vpc", ["true"]) == 0
