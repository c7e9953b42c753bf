"""Agents as a pod runs them: one process per pod, both roles in one loop, stopped by SIGTERM or by the end of stdin."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hitless.records import read_agents, read_record
from probes.clocks import read_clock_id
from probes.inner_loop import INNER_LOOP

ROOT = Path(__file__).parents[2]
ADDRESSES = {"a": "127.5.0.1", "b": "127.5.0.2"}
WAIT_S = 20.0


def start_agent(directory: Path, name: str, **changes: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - JSON
    """Start the agent of one pod and return when it listens."""
    flows = [
        {
            "id": 1,
            "ssid": 1,
            "source": "a",
            "source_address": ADDRESSES["a"],
            "destination": "b",
            "destination_address": ADDRESSES["b"],
        },
        {
            "id": 2,
            "ssid": 2,
            "source": "b",
            "source_address": ADDRESSES["b"],
            "destination": "a",
            "destination_address": ADDRESSES["a"],
        },
    ]
    document = {
        "agent": name,
        "directory": str(directory),
        "epoch_ns": time.monotonic_ns(),
        "interval_ns": 2_000_000,
        "drain_ns": 300_000_000,
        "duration_ns_max": 20_000_000_000,
        "endpoints": [{"name": name, "address": ADDRESSES[name]}],
        "flows": flows,
    } | changes
    path = directory / f"{name}.settings.json"
    path.write_text(json.dumps(document))
    agent = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "probes.agent", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert says(agent) == "listening"
    return agent


def says(agent: subprocess.Popen[bytes]) -> str:
    assert agent.stdout is not None
    return str(json.loads(agent.stdout.readline())["state"])


def finish(agent: subprocess.Popen[bytes]) -> None:
    assert says(agent) == "stopped"
    assert agent.wait(WAIT_S) == 0
    for stream in (agent.stdin, agent.stdout):
        assert stream is not None
        stream.close()


@pytest.mark.parametrize("is_asked", [True, False], ids=["SIGTERM", "end of stdin"])
def test_two_agents_probe_each_other(tmp_path: Path, is_asked: bool) -> None:  # noqa: FBT001 - a column
    agents = [start_agent(tmp_path, name) for name in ADDRESSES]
    assert [says(agent) for agent in agents] == ["live", "live"]
    for agent in agents:
        if is_asked:
            agent.terminate()
        else:
            assert agent.stdin is not None
            agent.stdin.close()
    for agent in agents:
        finish(agent)
    records = read_agents(tmp_path, tuple(ADDRESSES))
    assert [report.inner_loop for report in records.reports] == [INNER_LOOP] * 2
    answered = records.sender[records.sender["copies"] > 0]
    assert {1, 2} == set(answered["flow"].tolist())
    assert set(answered["copies"].tolist()) == {1}
    assert [report.counters["foreign"] + report.counters["malformed"] for report in records.reports] == [0, 0]
    # The second agent starts later and the first may end sooner: in between every probe is answered.
    for flow in (1, 2):
        copies = records.sender[records.sender["flow"] == flow]["copies"]
        seen = copies.nonzero()[0]
        assert copies[seen[0] : seen[-1] + 1].all()


def test_draining_waits_for_answers_without_spinning(tmp_path: Path) -> None:
    agent = start_agent(tmp_path, "a")
    assert agent.stdout is not None
    assert select.select([agent.stdout], [], [], 0.05)[0] == []  # nothing is at the other end: never live
    agent.terminate()
    began = time.monotonic()
    finish(agent)
    waited_s = time.monotonic() - began
    (report,) = read_agents(tmp_path, ("a",)).reports
    assert waited_s >= 0.25
    assert report.counters["answered"] == 0
    assert report.counters["wakeups"] <= 100 + report.counters["sent"]


def test_the_end_of_the_run_ends_the_agent(tmp_path: Path) -> None:
    agent = start_agent(tmp_path, "a", duration_ns_max=50_000_000, drain_ns=0)
    finish(agent)
    assert 0 < len(read_agents(tmp_path, ("a",)).sender) <= 26


def order(agent: subprocess.Popen[bytes], **document: Any) -> None:  # noqa: ANN401 - JSON
    assert agent.stdin is not None
    agent.stdin.write(json.dumps(document).encode() + b"\n")
    agent.stdin.flush()


def test_agents_that_wait_and_linger_lose_no_probe_in_any_order(tmp_path: Path) -> None:
    """Otherwise the first to start would send to no peer, and the first to stop would end its reflector."""
    epoch_ns = time.monotonic_ns()
    # An agent that did not end with its order would linger for longer than `finish` waits.
    told = {"waits": True, "linger_ns": 600_000_000_000, "epoch_ns": epoch_ns}
    first, second = (start_agent(tmp_path, name, **told) for name in ADDRESSES)
    start_ns = time.monotonic_ns() - epoch_ns + 100_000_000
    for agent in (first, second):
        order(agent, order="send", at_ns=start_ns)
    assert [says(first), says(second)] == ["live", "live"]
    first.terminate()
    assert says(first) == "drained"
    stop_ns = time.monotonic_ns() - epoch_ns + 200_000_000  # the other one keeps probing for a while
    order(second, order="stop", at_ns=stop_ns)
    assert says(second) == "drained"
    first.terminate()  # for the second time
    order(second, order="end")
    for agent in (first, second):
        finish(agent)
    sender = read_agents(tmp_path, tuple(ADDRESSES)).sender
    before = {flow: sender[sender["flow"] == flow]["send_began_ns"] for flow in (1, 2)}
    assert set(sender["copies"].tolist()) == {1}
    assert min(times.min() for times in before.values()) >= start_ns
    assert start_ns < before[1].max() < stop_ns - 150_000_000
    assert stop_ns - 20_000_000 < before[2].max() <= stop_ns + 2_000_000


def test_lingering_has_an_end(tmp_path: Path) -> None:
    agent = start_agent(tmp_path, "a", drain_ns=0, linger_ns=300_000_000)
    began = time.monotonic()
    order(agent, order="stop", at_ns=0)
    assert says(agent) == "drained"
    finish(agent)
    assert time.monotonic() - began >= 0.25


def test_a_record_says_which_clock_it_was_read_from(tmp_path: Path) -> None:
    for name in ADDRESSES:
        finish(start_agent(tmp_path, name, duration_ns_max=10_000_000, drain_ns=0))
    clocks = {read_record(tmp_path / f"{name}.clock")[0]["clock"] for name in ADDRESSES}
    assert clocks == {read_clock_id()}
