"""Application load through a lab whose router drops: Locust's own processes, real connections, two drops of known length."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from analysis.load_seconds import load_seconds, tally
from bench.lab.drop_switch import DropSwitch
from clusters.lab.load import LabLoad, has_locust
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.namespaces import THREAD_NETWORK
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, WorldError
from hitless.facts import Endpoint
from hitless.load import ConnectionUse, Load, LoadRecords, LoadSpec, RequestOutcome
from hitless.records import Rows
from hitless.words import MILLISECOND, SECOND, Mode, Nanoseconds
from tests.lab.conformance.load import LoadConformance, wait_live
from tests.lab.processes import wait_ended

WAIT_S = 60.0
INTERVAL_NS = Nanoseconds(100 * MILLISECOND)
TIMEOUT_NS = Nanoseconds(4 * SECOND)
"""No busy machine takes so long to answer."""
SHORT_NS = 1_500 * MILLISECOND
"""Shorter than the time-out: waiting users are answered in the end, because TCP retransmits after 3 s at the latest."""
LONG_NS = 4_500 * MILLISECOND
"""Longer: waiting users give up."""
SERVICE_PORT = 8080

pytestmark = pytest.mark.skipif(not has_locust(), reason="missing capability: locust")


def make_spec(clients: tuple[str, ...], servers: tuple[str, ...], **changes: int) -> LoadSpec:
    numbers = {
        "users": 8,
        "interval_ns": INTERVAL_NS,
        "body_octets": 1_000,
        "timeout_ns": TIMEOUT_NS,
        "duration_ns_max": 120 * SECOND,
    } | changes
    return LoadSpec(clients=clients, servers=servers, **numbers)  # type: ignore[arg-type]  # whole numbers, all of them


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One drop; times on the run clock."""

    began_ns: int
    done_ns: int
    restore_began_ns: int
    restored_ns: int

    def inside(self, rows: Rows) -> Rows:
        """Return the requests that began while nothing could pass."""
        return rows[(rows["began"] > self.done_ns) & (rows["began"] < self.restore_began_ns)]

    def touched(self, rows: Rows) -> Rows:
        """Return the requests that were under way at some time of the drop."""
        return rows[(rows["ended"] > self.began_ns) & (rows["began"] < self.restore_began_ns)]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What came of one load with two drops."""

    records: LoadRecords
    short: Drop
    long: Drop
    status: Mapping[str, str]
    """Process to its /proc/PID/status while it was at work."""
    networks: Mapping[str, tuple[str, frozenset[str]]]
    """Process to the network namespace of its main thread and those of its others."""
    ports: Mapping[str, tuple[frozenset[int], ...]]
    """Process to both ports of each TCP connection in its main thread's network."""


def look_at(
    load: LabLoad,
) -> tuple[dict[str, str], dict[str, tuple[str, frozenset[str]]], dict[str, tuple[frozenset[int], ...]]]:
    status, networks, ports = {}, {}, {}
    for process in load.processes:
        folder = Path(f"/proc/{process.process.pid}")
        status[process.name] = (folder / "status").read_text()
        threads = {path.name: str((path / "ns/net").readlink()) for path in (folder / "task").iterdir()}
        main = threads.pop(folder.name)
        networks[process.name] = (main, frozenset(threads.values()))
        lines = (folder / "net/tcp").read_text().splitlines()[1:]
        ports[process.name] = tuple(frozenset(int(end.split(":")[1], 16) for end in line.split()[1:3]) for line in lines)
    return status, networks, ports


@pytest.fixture(scope="module")
def observed(sandbox: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:  # noqa: ARG001 - entered first
    """Two pods of users in two zones ask all pods of a native lab, whose router drops twice."""
    lab, clock = LabNetwork(LabSpec(start_mode=Mode.NATIVE)), RunClock()
    pods = [endpoint for endpoint in lab.endpoints if endpoint.name.endswith("-mesh")]
    load = LabLoad(lab.endpoints, lambda name: str(lab.namespace_path(name)))
    try:
        lab.up()
        spec = make_spec((pods[0].name, pods[-1].name), tuple(pod.name for pod in pods))
        load.start(spec, tmp_path_factory.mktemp("load"), clock.epoch_ns)
        wait_live(load, clock)
        status, networks, ports = look_at(load)
        switch = DropSwitch(lab, [pod.address for pod in pods])
        drops = []
        for length_ns in (SHORT_NS, LONG_NS):
            # After a drop TCP sends again within 3 s.
            clock.wait_until(Nanoseconds(clock.now_ns() + 4 * SECOND))
            dropped = switch.drop()
            clock.wait_until(Nanoseconds(clock.now_ns() + length_ns))
            began, done, restore_began, restored = (one - clock.epoch_ns for one in (*dropped, *switch.restore()))
            drops.append(Drop(began_ns=began, done_ns=done, restore_began_ns=restore_began, restored_ns=restored))
        clock.wait_until(Nanoseconds(clock.now_ns() + 4 * SECOND))
        load.stop()
        load.stop()
        assert load.processes == ()
        yield Observed(records=load.collect(), short=drops[0], long=drops[1], status=status, networks=networks, ports=ports)
    finally:
        load.stop()
        lab.down()


def test_nothing_failed_before_the_drop_that_makes_it_fail(observed: Observed) -> None:
    rows = observed.records.rows
    before = rows[rows["ended"] < observed.long.began_ns]
    assert before.size > 100
    assert tally(before).failures == {}
    after = rows[rows["began"] > observed.long.restored_ns]
    assert after.size > 100
    assert tally(after).failures == {}


def test_no_answer_came_while_nothing_could_pass(observed: Observed) -> None:
    for drop in (observed.short, observed.long):
        inside = drop.inside(observed.records.rows)
        answered = inside[inside["outcome"] == RequestOutcome.ANSWERED]
        assert (answered["ended"] > drop.restore_began_ns).all()


def test_a_short_drop_makes_every_user_wait_and_none_fail(observed: Observed) -> None:
    touched = observed.short.touched(observed.records.rows)
    assert {(row["client"], row["user"]) for row in touched} == {(client, user) for client in (0, 1) for user in range(4)}
    found = tally(touched)
    assert found.failures == {}
    assert found.latency_ms_max is not None
    # Users were due within an interval of the drop's beginning, and no answer came before its end.
    assert found.latency_ms_max * MILLISECOND >= SHORT_NS - 5 * INTERVAL_NS


def test_a_long_drop_makes_every_user_fail(observed: Observed) -> None:
    rows, drop = observed.records.rows, observed.long
    failed = rows[~np.isin(rows["outcome"], [RequestOutcome.ANSWERED, RequestOutcome.ABORTED])]
    assert {(row["client"], row["user"]) for row in failed} == {(client, user) for client in (0, 1) for user in range(4)}
    assert (failed["ended"] > drop.began_ns).all()
    assert (failed["began"] < drop.restored_ns).all()
    # A connection that opened just before the drop waits for its answer; one that began within it does not open.
    within = failed[failed["began"] > drop.done_ns]
    kinds = {use: set(tally(within[within["use"] == use]).failures) for use in ConnectionUse}
    assert kinds[ConnectionUse.NEW] == {"connect timed out"}
    assert "timed out" in kinds[ConnectionUse.REUSED]


def test_the_seconds_show_where_it_happened(observed: Observed) -> None:
    drop = observed.long
    seconds = {one.second: one.totals for one in load_seconds(observed.records, drop.began_ns)}
    # A request that was under way when the drop began belongs to the second before.
    assert {second for second, one in seconds.items() if one.failed} <= {-1, 0, 1}
    assert seconds[0].failed > 0
    # Every user waits for 4 s from its first request on, when it was due to ask forty times.
    assert sum(seconds[second].missed for second in range(5)) >= 8 * 30
    short = {one.second: one.totals for one in load_seconds(observed.records, observed.short.began_ns)}
    assert short[0].latency_ms_max is not None
    assert short[0].latency_ms_max * MILLISECOND >= SHORT_NS - 5 * INTERVAL_NS
    assert short[1].missed > 0


def test_connections_are_reused_or_new_as_the_user_is(observed: Observed) -> None:
    rows = observed.records.rows
    for client in (0, 1):
        for user in range(4):
            own = rows[(rows["client"] == client) & (rows["user"] == user)]
            if user % 2:
                assert set(own["use"].tolist()) == {ConnectionUse.NEW}
                assert set(own["nth"].tolist()) == {0}
            else:
                before = own[own["began"] < observed.long.began_ns]
                assert set(own["use"].tolist()) == {ConnectionUse.REUSED}
                # One connection carried everything until the long drop, through the short one.
                assert before["nth"].tolist() == list(range(before.size))
                assert (own["nth"] == 0).sum() >= 2
    nodes = {name.rpartition("-")[0] for name in observed.records.spec.servers}
    assert len(nodes) == 4
    assert all(rows["client"] * 3 != rows["server"])  # the first and the last of four pods: no pod asks its own node


def test_locust_counts_as_many_requests_and_every_process_ended_in_order(observed: Observed) -> None:
    rows = observed.records.rows
    reports = {report.agent: report for report in observed.records.reports}
    assert set(reports) == {"master", "service", "worker-node-a1-mesh", "worker-node-b2-mesh"}
    assert all(report.finished for report in reports.values())
    whole = tally(rows)
    assert (reports["master"].counters["requests"], reports["master"].counters["failures"]) == (
        whole.requests - whole.aborted,
        whole.failed,
    )
    workers = [report.counters for name, report in reports.items() if name.startswith("worker")]
    assert sum(counters["requests"] for counters in workers) == rows.size
    assert whole.aborted == 0
    assert reports["service"].counters["answered"] >= whole.answered
    assert reports["service"].counters["refused"] == reports["service"].counters["rejected"] == 0


def test_workers_talk_to_the_master_beside_the_path_under_test(observed: Observed) -> None:
    """The users' thread is in the pod, the thread that makes Locust's RPC connection stayed where the master is."""
    home = str(Path(THREAD_NETWORK).readlink())
    for name, (main, others) in observed.networks.items():
        if name.startswith("worker"):
            assert main != home
            assert home in others
            assert observed.ports[name]
            assert all(SERVICE_PORT in both for both in observed.ports[name])
        else:
            assert main == home
    assert len({main for name, (main, _) in observed.networks.items() if name.startswith("worker")}) == 2


def test_no_process_keeps_a_privilege(observed: Observed) -> None:
    assert len(observed.status) == 4
    for status in observed.status.values():
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
        assert fields["NoNewPrivs"] == "1"


LOOPBACK = tuple(Endpoint(name=f"p{number}", node=f"n{number}", zone="a", address=f"127.6.0.{number}") for number in (1, 2))


class TestLabLoad(LoadConformance):
    @pytest.fixture
    def load(self) -> Iterator[Load]:
        load = LabLoad(LOOPBACK, lambda _name: None)
        yield load
        load.stop()

    @pytest.fixture
    def spec(self) -> LoadSpec:
        return make_spec(("p1", "p2"), ("p1", "p2"), users=4)


def test_a_killed_worker_is_noticed_and_its_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own configuration does not reach Locust."""
    (tmp_path / ".locust.conf").write_text("users = 1\nrun-time = 1s\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCUST_USERS", "1")
    clock, load = RunClock(), LabLoad(LOOPBACK, lambda _name: None)
    load.start(make_spec(("p1",), ("p1", "p2"), users=4), tmp_path / "run", clock.epoch_ns)
    try:
        wait_live(load, clock)
        worker = load.processes[-1].process
        worker.send_signal(signal.SIGKILL)
        worker.wait(WAIT_S)
        with pytest.raises(WorldError, match="the worker-p1 process died with code -9"):
            load.is_live()
    finally:
        load.stop()
    records = load.collect()
    assert set(records.rows["user"].tolist()) == {0, 1, 2, 3}
    assert set(records.rows["outcome"].tolist()) == {RequestOutcome.ANSWERED}
    assert {report.agent: report.finished for report in records.reports} == {
        "master": True,
        "service": True,
        "worker-p1": False,
    }


def test_a_load_ends_by_itself(tmp_path: Path) -> None:
    clock, load = RunClock(), LabLoad(LOOPBACK, lambda _name: None)
    load.start(make_spec(("p2",), ("p1", "p2"), users=2, duration_ns_max=SECOND), tmp_path, clock.epoch_ns)
    try:
        worker = load.processes[-1]
        worker.wait_state("stopped", WAIT_S)
        assert worker.process.wait(WAIT_S) == 0
    finally:
        load.stop()
    assert all(report.finished for report in load.collect().reports)


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    nowhere = (LOOPBACK[0], Endpoint(name="p2", node="n2", zone="a", address="203.0.113.1"))
    load = LabLoad(nowhere, lambda _name: None)
    with pytest.raises(WorldError, match=r"the service process died with code 20: cannot listen on 203\.0\.113\.1:8080 in p2"):
        load.start(make_spec(("p1",), ("p1", "p2")), tmp_path, time.monotonic_ns())
    assert load.processes == ()


def test_without_locust_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusters.lab.load.find_spec", lambda _name: None)
    with pytest.raises(MissingCapabilityError, match=r"Locust is not installed: pip install 'hitless\[load\]'"):
        LabLoad(LOOPBACK, lambda _name: None).start(make_spec(("p1",), ("p1", "p2")), tmp_path, 0)


def test_nothing_is_left_of_a_load_whose_harness_was_killed(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from clusters.lab.load import LabLoad
from hitless.load import LoadSpec
from hitless.facts import Endpoint
pods = [Endpoint(name=f"p{{n}}", node=f"n{{n}}", zone="a", address=f"127.6.1.{{n}}") for n in (1, 2)]
load = LabLoad(pods, lambda name: None)
spec = LoadSpec(clients=("p1",), servers=("p2",), users=2, interval_ns=100_000_000, body_octets=10, timeout_ns=10**9,
                duration_ns_max=60 * 10**9)
load.start(spec, Path({str(tmp_path)!r}), time.monotonic_ns())
print(*(one.process.pid for one in load.processes), flush=True)
sys.stdin.read()
"""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    ) as harness:
        assert harness.stdout is not None
        processes = [int(word) for word in harness.stdout.readline().split()]
        harness.kill()
    assert len(processes) == 3
    for process in processes:
        wait_ended(process, WAIT_S)
