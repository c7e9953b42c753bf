"""The lab's prober with real agents: on loopback, and across a veth between two namespaces."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from clusters import agent_groups
from clusters.agent_groups import PROCESS
from clusters.lab.prober import LabProber
from hitless.errors import WorldError
from hitless.facts import Endpoint, Flow, ProbeSpec
from hitless.ports import Prober
from hitless.words import MILLISECOND, SECOND, FlowId, FlowRole, Nanoseconds
from tests.lab.conformance.prober import ProberConformance
from tests.lab.processes import wait_ended

WAIT_S = 20.0


def make_mesh(addresses: list[str]) -> tuple[list[Endpoint], list[Flow]]:
    endpoints = [Endpoint(name=f"p{n}", node=f"n{n}", zone="a", address=address) for n, address in enumerate(addresses)]
    pairs = enumerate(permutations(endpoints, 2), start=1)
    flows = [
        Flow(id=FlowId(number), source=source.name, destination=destination.name, role=FlowRole.MESH)
        for number, (source, destination) in pairs
    ]
    return endpoints, flows


def make_spec(interval_ms: float = 2.0, duration_s: float = 30.0) -> ProbeSpec:
    return ProbeSpec(
        interval_ns=Nanoseconds(round(interval_ms * MILLISECOND)),
        drain_ns=SECOND,
        duration_ns_max=Nanoseconds(round(duration_s * SECOND)),
    )


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[LabProber]:
    """Three pods on loopback, probing every 2 ms, live."""
    endpoints, flows = make_mesh(["127.4.0.1", "127.4.0.2", "127.4.0.3"])
    prober = LabProber(endpoints, lambda _name: None)
    prober.start(flows, make_spec(), tmp_path / "run", time.monotonic_ns())
    prober._senders[PROCESS].wait_state("live", WAIT_S)
    yield prober
    prober.stop()


@pytest.fixture
def split_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabProber]:
    """The same with a process for each agent, as for a load that one process cannot carry."""
    monkeypatch.setattr(agent_groups, "SHARED_HZ_MAX", 0)
    endpoints, flows = make_mesh(["127.4.0.1", "127.4.0.2", "127.4.0.3"])
    prober = LabProber(endpoints, lambda _name: None)
    prober.start(flows, make_spec(), tmp_path / "run", time.monotonic_ns())
    prober._senders["sender"].wait_state("live", WAIT_S)
    yield prober
    prober.stop()


class TestLabProberConforms(ProberConformance):
    @pytest.fixture
    def prober(self) -> Iterator[Prober]:
        made = LabProber(make_mesh(["127.4.0.1", "127.4.0.2", "127.4.0.3"])[0], lambda _name: None)
        yield made
        made.stop()

    @pytest.fixture
    def flows(self) -> Sequence[Flow]:
        return make_mesh(["127.4.0.1", "127.4.0.2", "127.4.0.3"])[1]


@pytest.mark.parametrize("processes", ["mesh", "split_mesh"])
def test_every_probe_of_a_healthy_mesh_is_answered(processes: str, request: pytest.FixtureRequest) -> None:
    mesh: LabProber = request.getfixturevalue(processes)
    assert mesh.is_live()
    mesh.stop()
    mesh.stop()
    records = mesh.collect()
    sender, reflector = records.sender, records.reflector
    ticks = int(sender["seq"].max()) + 1
    assert sender["flow"].tolist() == np.repeat(np.arange(1, 7), ticks).tolist()
    assert sender["seq"].tolist() == np.tile(np.arange(ticks), 6).tolist()
    assert set(sender["copies"].tolist()) == {1}
    assert (sender["corrupted"].sum(), sender["send_errno"].sum()) == (0, 0)
    assert (set(sender["forward_ttl"].tolist()), set(sender["return_ttl"].tolist())) == ({255}, {255})
    assert np.array_equal(reflector[["flow", "seq"]], sender[["flow", "seq"]])
    assert np.array_equal(reflector["reflector_seq"], sender["seq"])
    assert [report.finished for report in records.reports] == [True, True]
    counted = {report.agent: report.counters for report in records.reports}
    assert counted["sender"]["sent"] == counted["sender"]["answered"] == counted["reflector"]["answered"] == len(sender)
    assert not any(counted[agent][name] for agent in counted for name in ("malformed", "foreign", "stale", "receive_overflows"))


def test_times_are_in_the_order_of_nature(mesh: LabProber) -> None:
    mesh.stop()
    records = mesh.collect()
    sender, reflector = records.sender, records.reflector
    # Both ends live on one kernel: only the width of the clock pairs (and a step of the wall clock) can disturb the order.
    slack_ns = 50_000 + sum(int(rows["width"].max()) for rows in records.clocks.values())
    assert (sender["send_began_ns"] <= sender["send_ended_ns"]).all()
    assert (sender["send_began_ns"] - slack_ns <= sender["reflector_received"]).all()
    assert (sender["reflector_received"] - slack_ns <= sender["reflector_sent"]).all()
    assert (sender["reflector_sent"] - slack_ns <= sender["received"]).all()
    # The reflector's log and what its answers say are the same instants, read through two agents' pairs.
    assert (abs(reflector["received"] - sender["reflector_received"]) <= slack_ns).all()
    assert (abs(reflector["sent"] - sender["reflector_sent"]) <= slack_ns).all()


def test_what_a_killed_process_wrote_can_be_read(mesh: LabProber) -> None:
    process = mesh._senders[PROCESS].process
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
    with pytest.raises(WorldError, match="the agents process died with code -9"):
        mesh.is_live()
    mesh.stop()
    records = mesh.collect()
    assert {report.agent: report.finished for report in records.reports} == {"reflector": False, "sender": False}
    assert len(records.sender) > 0
    assert (records.sender["copies"] > 0).sum() >= 5 * 6  # it was live
    assert len(records.reflector) >= (records.sender["copies"] > 0).sum()


def test_what_a_killed_reflector_wrote_can_be_read(split_mesh: LabProber) -> None:
    mesh = split_mesh
    process = mesh._reflectors["reflector"].process
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
    with pytest.raises(WorldError, match="the reflector process died with code -9"):
        mesh.is_live()
    mesh.stop()
    records = mesh.collect()
    assert {report.agent: report.finished for report in records.reports} == {"reflector": False, "sender": True}
    assert len(records.reflector) >= 5 * 6


def test_agents_ignore_ctrl_c(mesh: LabProber) -> None:
    mesh._senders[PROCESS].process.send_signal(signal.SIGINT)
    mesh.stop()
    assert [report.finished for report in mesh.collect().reports] == [True, True]


def test_agents_end_with_their_harness(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_prober import LabProber, make_mesh, make_spec
endpoints, flows = make_mesh(["127.4.1.1", "127.4.1.2"])
prober = LabProber(endpoints, lambda name: None)
prober.start(flows, make_spec(), Path({str(tmp_path)!r}), time.monotonic_ns())
print(*(process.process.pid for process in prober._senders.values()), flush=True)
sys.stdin.read()
"""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    ) as harness:
        assert harness.stdout is not None
        agents = [int(word) for word in harness.stdout.readline().split()]
        harness.kill()
    assert len(agents) == 1
    for agent in agents:
        wait_ended(agent, WAIT_S)


def test_agents_stop_by_themselves(tmp_path: Path) -> None:
    endpoints, flows = make_mesh(["127.4.2.1", "127.4.2.2"])
    prober = LabProber(endpoints, lambda _name: None)
    prober.start(flows, make_spec(5.0, duration_s=0.3), tmp_path, time.monotonic_ns())
    prober._senders[PROCESS].wait_state("stopped", WAIT_S)
    prober._senders[PROCESS].process.wait(WAIT_S)
    assert prober.is_live()
    prober.stop()
    assert 50 <= int(prober.collect().sender["seq"].max()) + 1 <= 61


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    endpoints, flows = make_mesh(["127.4.3.1", "203.0.113.1"])
    prober = LabProber(endpoints, lambda _name: None)
    with pytest.raises(WorldError, match=r"the agents process died with code 20: cannot open UDP 203\.0\.113\.1:8620"):
        prober.start(flows, make_spec(), tmp_path, time.monotonic_ns())
    assert (prober._senders, prober._reflectors) == ({}, {})


def test_large_probes_come_back_whole(tmp_path: Path) -> None:
    endpoints, flows = make_mesh(["127.4.4.1", "127.4.4.2"])
    prober = LabProber(endpoints, lambda _name: None)
    large = [replace(flow, octets=1400) for flow in flows]
    prober.start(large, make_spec(), tmp_path, time.monotonic_ns())
    prober._senders[PROCESS].wait_state("live", WAIT_S)
    prober.stop()
    sender = prober.collect().sender
    assert (set(sender["copies"].tolist()), sender["corrupted"].sum()) == ({1}, 0)


def test_the_agent_alone_needs_nothing_but_numpy(tmp_path: Path) -> None:
    script = (
        "import sys, probes.agent; print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(np.__file__).parents[1])])},
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(found.stdout.replace("'", '"')) == ["__main__", "hitless", "numpy", "probes"]


class Pair:
    """Two namespaces with a veth between them, held by two processes that sleep."""

    def __init__(self) -> None:
        self.addresses = ["10.99.0.1", "10.99.0.2"]
        self._holders = [subprocess.Popen(["unshare", "--net", "sleep", "120"]) for _ in self.addresses]  # noqa: S607 - on any Linux
        home = Path("/proc/self/ns/net").readlink()
        for holder in self._holders:
            while Path(f"/proc/{holder.pid}/ns/net").readlink() == home:
                os.sched_yield()  # until unshare has got there
        first, second = (str(holder.pid) for holder in self._holders)
        self._run(["ip", "link", "add", "v", "netns", first, "type", "veth", "peer", "name", "v", "netns", second])
        for index, address in enumerate(self.addresses):
            self.ip(index, "address", "add", f"{address}/24", "dev", "v")
            self.ip(index, "link", "set", "v", "up")

    def path(self, name: str) -> str:
        return f"/proc/{self._holders[int(name[1:])].pid}/ns/net"

    def ip(self, index: int, *words: str) -> None:
        self._run(["nsenter", f"--net={self.path(f'p{index}')}", "ip", *words])

    def close(self) -> None:
        for holder in self._holders:
            holder.kill()
            holder.wait()

    @staticmethod
    def _run(command: list[str]) -> None:
        subprocess.run(command, check=True)  # noqa: S603 - the test's own words


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("missing: root, for network namespaces")
    made = Pair()
    yield made
    made.close()


def test_across_namespaces_nothing_is_lost_and_a_refused_probe_has_its_errno(pair: Pair, tmp_path: Path) -> None:
    endpoints, flows = make_mesh(pair.addresses)
    prober = LabProber(endpoints, pair.path)
    epoch_ns = time.monotonic_ns()
    prober.start(flows, make_spec(), tmp_path, epoch_ns)
    prober._senders[PROCESS].wait_state("live", WAIT_S)
    began_ns = time.monotonic_ns() - epoch_ns
    pair.ip(0, "link", "set", "v", "down")
    ended_ns = time.monotonic_ns() - epoch_ns
    watched = time.monotonic_ns() + 100 * MILLISECOND
    while time.monotonic_ns() < watched:
        select.select([prober._senders[PROCESS]._stdout], [], [], 0.02)
    prober.stop()
    sender = prober.collect().sender
    healthy = sender[sender["send_ended_ns"] < began_ns]
    assert set(healthy["copies"].tolist()) == {1}
    assert set(healthy["return_ttl"].tolist()) == {255}
    refused = sender[(sender["flow"] == 1) & (sender["send_began_ns"] > ended_ns)]
    assert len(refused) > 10
    assert set(refused["send_errno"].tolist()) == {errno.ENETUNREACH}
    assert set(refused["copies"].tolist()) == {0}
