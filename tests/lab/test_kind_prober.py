"""The prober for Kubernetes with real supervisors and agents: pods are processes, the API's exec is a process, too."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyroute2 import IPRoute

from clusters.kubernetes.prober import KindProber, fetch
from clusters.kubernetes.prober_manifests import PodRole, ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from clusters.kubernetes.watched import read_families
from hitless.errors import ApiUnavailableError, BugError, UsageError, WorldError
from hitless.facts import Flow, NodeFacts, ProbeSpec
from hitless.ports import Prober
from hitless.records import ConnectionEvent, encode_address
from hitless.words import MILLISECOND, SECOND, FlowClass, FlowId, FlowRole, IpFamily, JsonObject, Nanoseconds
from tests.clocks import HastyClock
from tests.lab.conformance.prober import ProberConformance
from tests.lab.pod_cluster import ProcessPods

NODES = tuple(
    NodeFacts(name=f"node-{zone}1", zone=zone, address=f"127.6.{index}.9", pod_cidr=f"127.6.{index}.0/24", gateway="")
    for index, zone in enumerate("ab")
)
ADDRESSES = {
    (role, node.name): f"127.6.{index}.{9 if role is PodRole.HOST else place + 2}"
    for index, node in enumerate(NODES)
    for place, role in enumerate(PodRole)
}
PROBING = ProbeSpec(
    interval_ns=Nanoseconds(5 * MILLISECOND), drain_ns=SECOND, duration_ns_max=Nanoseconds(60 * SECOND), live_answers=3
)
SPEC = ProberSpec(image="hitless/prober:1")


def flow(number: int, source: str, destination: str) -> Flow:
    return Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)


MESH = (
    flow(1, "node-a1-mesh", "node-b1-mesh"),
    flow(2, "node-b1-mesh", "node-a1-mesh"),
    flow(3, "node-a1-mesh", "node-a1-control"),
)
AGENTS = (
    "node-a1-mesh-reflector",
    "node-a1-mesh-sender",
    "node-a1-control-reflector",
    "node-b1-mesh-reflector",
    "node-b1-mesh-sender",
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ProcessPods]:
    made = ProcessPods(tmp_path / "pods", ADDRESSES)
    yield made
    made.close()


@pytest.fixture
def pods(host: ProcessPods) -> ProberPods:
    made = ProberPods(host, SPEC, clock=HastyClock())
    made.deploy(NODES)
    return made


def wait_live(prober: KindProber) -> None:
    deadline_s = time.monotonic() + 30.0
    while not prober.is_live():
        assert time.monotonic() < deadline_s


def run(prober: KindProber, directory: Path, flows: Sequence[Flow] = MESH, probing: ProbeSpec = PROBING) -> None:
    prober.start(flows, probing, directory, time.monotonic_ns() - 5 * SECOND)
    wait_live(prober)
    prober.stop()
    prober.stop()


class TestKindProberConforms(ProberConformance):
    @pytest.fixture
    def prober(self, pods: ProberPods) -> Iterator[Prober]:
        made = KindProber(pods)
        yield made
        made.stop()

    @pytest.fixture
    def flows(self) -> Sequence[Flow]:
        return MESH


def test_what_is_deployed_is_where_it_should_be_and_goes_away(host: ProcessPods, pods: ProberPods) -> None:
    assert [(end.name, end.node, end.zone, end.address) for end in pods.endpoints] == [
        ("node-a1-mesh", "node-a1", "a", "127.6.0.2"),
        ("node-a1-control", "node-a1", "a", "127.6.0.3"),
        ("node-a1-host", "node-a1", "a", "127.6.0.9"),
        ("node-b1-mesh", "node-b1", "b", "127.6.1.2"),
        ("node-b1-control", "node-b1", "b", "127.6.1.3"),
        ("node-b1-host", "node-b1", "b", "127.6.1.9"),
    ]
    pods.remove()
    pods.remove()
    assert (host.objects, host.supervisors) == ({}, {})


def test_every_probe_is_answered_and_all_agents_probe_at_the_same_time(pods: ProberPods, tmp_path: Path) -> None:
    prober: Prober = KindProber(pods)
    assert isinstance(prober, KindProber)
    run(prober, tmp_path / "run")
    records = prober.collect()
    sender = records.sender
    assert set(sender["flow"].tolist()) == {1, 2, 3}
    assert (set(sender["copies"].tolist()), sender["corrupted"].sum(), sender["send_errno"].sum()) == ({1}, 0, 0)
    assert np.array_equal(np.sort(records.reflector[["flow", "seq"]]), sender[["flow", "seq"]])
    first, last = zip(
        *((rows.min(), rows.max()) for rows in (sender["send_began_ns"][sender["flow"] == one] for one in (1, 2))), strict=True
    )
    assert max(first) < min(last)
    assert [
        (report.agent, report.finished, report.offset_bound_ns, report.run_clock_bound_ns) for report in records.reports
    ] == [(agent, True, 0, 0) for agent in AGENTS]
    assert set(records.clocks) == set(AGENTS)


def test_host_probers_bind_to_the_zone_address_and_see_the_node(pods: ProberPods, tmp_path: Path) -> None:
    prober = KindProber(pods)
    run(prober, tmp_path / "run", [flow(1, "node-a1-host", "node-b1-mesh"), flow(2, "node-b1-mesh", "node-a1-host")])
    records = prober.collect()
    assert set(records.sender["copies"].tolist()) == {1}
    sources = {number: set(records.reflector["source"][records.reflector["flow"] == number].tolist()) for number in (1, 2)}
    # 192.0.2.1, the node's own address in its status, is nowhere.
    assert sources == {1: {encode_address("127.6.0.9")}, 2: {encode_address("127.6.1.2")}}
    assert [end.name for end in pods.endpoints if end.is_host] == ["node-a1-host", "node-b1-host"]
    assert [state.node for state in prober.inspect()] == ["node-a1", "node-b1"]
    assert "lo" in prober.inspect()[0].devices


def test_pods_with_both_families_are_probed_in_both(tmp_path: Path) -> None:
    addresses6 = {key: f"fd00:6::{place + 1}" for place, key in enumerate(ADDRESSES)}
    with IPRoute() as route:
        for address in addresses6.values():
            route.addr("add", index=1, address=address, prefixlen=128, family=socket.AF_INET6)  # lo
    nodes = tuple(replace(node, address6=addresses6[PodRole.HOST, node.name]) for node in NODES)
    host = ProcessPods(tmp_path / "pods", ADDRESSES, addresses6=addresses6)
    pods = ProberPods(host, SPEC, clock=HastyClock())
    pods.deploy(nodes)
    assert [end.address6 for end in pods.endpoints] == [addresses6[role, node.name] for node in nodes for role in PodRole]
    assert read_families(pods.endpoints) == (("IPv4", "IPv6"), {})
    to_host = Flow(id=FlowId(4), source="node-a1-mesh", destination="node-b1-host", role=FlowRole.HOST, ip_family=IpFamily.IPV6)
    prober = KindProber(pods)
    run(prober, tmp_path / "run", (*MESH[:2], replace(MESH[0], id=FlowId(3), ip_family=IpFamily.IPV6), to_host))
    records = prober.collect()
    assert set(records.sender["flow"].tolist()) == {1, 2, 3, 4}
    assert (set(records.sender["copies"].tolist()), records.sender["send_errno"].sum()) == ({1}, 0)
    sources = {number: set(records.reflector["source"][records.reflector["flow"] == number].tolist()) for number in (1, 3, 4)}
    own = addresses6[PodRole.MESH, "node-a1"]
    assert sources == {1: {encode_address("127.6.0.2")}, 3: {encode_address(own)}, 4: {encode_address(own)}}
    assert set(records.sender["forward_ttl"].tolist()) == {255}
    pods.remove()


def test_flows_of_every_rate_size_and_protocol_have_agents_of_their_own_and_one_record(
    pods: ProberPods, tmp_path: Path
) -> None:
    slow = replace(flow(4, "node-b1-mesh", "node-a1-host"), interval_ns=Nanoseconds(20 * MILLISECOND), role=FlowRole.HOST)
    flows = (
        *MESH,
        slow,
        replace(slow, id=FlowId(5), flow_class=FlowClass.TCP_CONNECT),
        replace(flow(6, "node-a1-mesh", "node-b1-mesh"), octets=1000),
        replace(flow(7, "node-a1-mesh", "node-b1-mesh"), flow_class=FlowClass.TCP_ESTABLISHED),
    )
    prober = KindProber(pods)
    run(prober, tmp_path / "run", flows)
    records = prober.collect()
    assert {report.agent for report in records.reports if report.finished} == {
        *AGENTS,
        *(f"node-a1-mesh-{agent}" for agent in ("sender-udp-1000-200hz", "sender-tcp-44-200hz")),
        *(f"node-b1-mesh-{agent}" for agent in ("sender-udp-44-50hz", "sender-tcp-44-50hz", "acceptor")),
        *(f"node-a1-host-{agent}" for agent in ("reflector", "acceptor")),
    }
    offered = {one: records.sender[records.sender["flow"] == one] for one in range(1, 8)}
    assert [set(rows["copies"].tolist()) for rows in offered.values()] == [{1}] * 7
    assert np.median(np.diff(offered[4]["send_began_ns"])) > 2 * np.median(np.diff(offered[2]["send_began_ns"]))
    # One connection that stayed; where each probe has one of its own, none is worth a row.
    assert {ConnectionEvent.OPENED, ConnectionEvent.CLOSED} == set(records.connections["what"].tolist())
    assert {7} == set(records.connections["flow"].tolist())


def test_streams_that_break_lose_nothing(host: ProcessPods, pods: ProberPods, tmp_path: Path) -> None:
    host.failures = {"clock": 2, "look": 3, "order": 3, "list": 2, "read": 4}
    prober = KindProber(pods)
    run(prober, tmp_path / "run")
    records = prober.collect()
    assert set(records.sender["copies"].tolist()) == {1}
    assert [report.finished for report in records.reports] == [True] * len(AGENTS)
    assert all(left <= 0 for left in host.failures.values())


def test_a_pod_that_is_killed_is_said_and_the_others_records_come_home(
    host: ProcessPods, pods: ProberPods, tmp_path: Path
) -> None:
    prober = KindProber(pods)
    prober.start(MESH, PROBING, tmp_path / "run", time.monotonic_ns())
    wait_live(prober)
    pod = next(name for name in host.supervisors if name.startswith("prober-mesh-node-b1"))
    host.supervisors[pod].send_signal(signal.SIGKILL)
    host.supervisors[pod].wait(20.0)
    prober._looked_s = 0.0
    with pytest.raises(WorldError, match="the supervisor in"):
        prober.is_live()
    with pytest.raises(WorldError, match="the supervisor in"):
        prober.stop()
    records = prober.collect()
    assert {report.agent: report.finished for report in records.reports}["node-b1-mesh-sender"] is False
    assert (records.sender["flow"] == 1).any()
    assert not (records.sender["flow"] == 2).any()


def test_records_that_the_api_does_not_bring_are_rescued(host: ProcessPods, pods: ProberPods, tmp_path: Path) -> None:
    def rescue(pod: JsonObject, directory: Path) -> None:
        for path in host.folder(pod["metadata"]["name"]).glob("node-*"):
            shutil.copy(path, directory)

    prober = KindProber(pods, rescue=rescue)
    run(prober, tmp_path / "run")
    host.close()
    records = prober.collect()
    assert [report.finished for report in records.reports] == [True] * len(AGENTS)
    assert set(records.sender["copies"].tolist()) == {1}
    with pytest.raises(WorldError, match="cannot read the records of any agent"):
        KindProber.collect(without_rescue(prober))


def without_rescue(prober: KindProber) -> KindProber:
    prober._rescue = None
    return prober


def test_a_start_that_fails_says_why_and_can_be_made_again(pods: ProberPods, tmp_path: Path) -> None:
    prober = KindProber(pods)
    with pytest.raises(BugError, match="never started"):
        prober.collect()
    wrong = ProbeSpec(interval_ns=Nanoseconds(1), drain_ns=SECOND, duration_ns_max=SECOND)
    with pytest.raises(WorldError, match=r"the prober node-a1-mesh: settings: interval_ns: found 1; expected"):
        prober.start(MESH, wrong, tmp_path / "run", time.monotonic_ns())
    run(prober, tmp_path / "run")
    assert set(prober.collect().sender["copies"].tolist()) == {1}


def test_a_namespace_that_is_there_is_not_taken_over(host: ProcessPods) -> None:
    pods = ProberPods(host, SPEC, clock=HastyClock())
    host.objects["Namespace", "hitless"] = {"kind": "Namespace", "metadata": {"name": "hitless"}}
    with pytest.raises(UsageError, match="namespace hitless: found one that hitless did not create"):
        pods.deploy(NODES, replaces=True)
    pods.remove()
    assert list(host.objects) == [("Namespace", "hitless")]


def test_what_a_killed_run_left_is_replaced_only_where_that_was_asked_for(host: ProcessPods, pods: ProberPods) -> None:
    assert pods.endpoints
    other = ProberPods(host, SPEC, clock=HastyClock())
    refusal = (
        r"found one of a run that is in progress or was killed; expected .*hitless clean --kubeconfig FILE --namespace hitless"
    )
    with pytest.raises(UsageError, match=refusal):
        other.deploy(NODES)
    before = {supervisor.pid for supervisor in host.supervisors.values()}
    assert len(other.deploy(NODES, replaces=True)) == 6
    assert before.isdisjoint(supervisor.pid for supervisor in host.supervisors.values())


def test_what_a_killed_run_left_is_removed_once(host: ProcessPods, pods: ProberPods) -> None:
    assert pods.endpoints
    other = ProberPods(host, SPEC, clock=HastyClock())
    assert other.remove_left()
    assert host.objects == {}
    assert not other.remove_left()


def test_pods_that_do_not_start_are_named_and_nothing_is_left(host: ProcessPods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusters.kubernetes.prober_pods._RUNNING_S", 0.0)
    install = host.install

    def hold_back(documents: Sequence[JsonObject]) -> None:
        install(documents)
        for (kind, name), pod in host.objects.items():
            if kind == "Pod" and "control-node-b1" in name:
                state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
                pod["status"] = {"phase": "Pending", "containerStatuses": [{"ready": False, "state": state}]}

    monkeypatch.setattr(host, "install", hold_back)
    with pytest.raises(
        WorldError,
        match=r"after 0 s: 1 of 6 probers do not run, .* control on node-b1 \(ImagePullBackOff: no such image\)",
    ):
        ProberPods(host, SPEC, clock=HastyClock()).deploy(NODES)
    assert (host.objects, host.supervisors) == ({}, {})


def test_a_file_that_ends_early_is_no_record(tmp_path: Path) -> None:
    def ask(request: JsonObject) -> JsonObject:
        return {"files": {"x.clock": 10}} if request["do"] == "list" else {"content": "eJwDAAAAAAE="}

    with pytest.raises(WorldError, match=r"x\.clock is truncated: 0 of 10 octets"):
        fetch(ask, tmp_path)


def test_an_api_that_stays_unavailable_ends_the_wait(pods: ProberPods, host: ProcessPods) -> None:
    host.failures = {"look": 1000}
    with pytest.raises(ApiUnavailableError):
        pods.ask_patiently("node-a1-mesh", {"do": "look"}, patience_s=0.0)


@pytest.fixture
def make_shifted(tmp_path: Path) -> Iterator[Callable[[int], ProcessPods]]:
    """Pods of node-b1 have a CLOCK_MONOTONIC of their own, as on another machine."""
    probe = subprocess.run(["unshare", "--time", "--fork", "--monotonic=1", "true"], check=False, capture_output=True)  # noqa: S607 - on any Linux
    if probe.returncode != 0:
        pytest.skip("missing: time namespaces (unshare --time), for a second CLOCK_MONOTONIC")
    made: list[ProcessPods] = []

    def make(offset_s: int) -> ProcessPods:
        def prefix(_: PodRole, node: str) -> tuple[str, ...]:
            return ("unshare", "--time", "--fork", "--kill-child=TERM", f"--monotonic={offset_s}") if node == "node-b1" else ()

        made.append(ProcessPods(tmp_path / "pods", ADDRESSES, prefix))
        return made[0]

    yield make
    for host in made:
        host.close()


def test_agents_with_another_clock_are_put_on_ours(make_shifted: Callable[[int], ProcessPods], tmp_path: Path) -> None:
    pods = ProberPods(make_shifted(5000), SPEC, clock=HastyClock())
    pods.deploy(NODES)
    prober = KindProber(pods)
    run(prober, tmp_path / "run")
    records = prober.collect()
    by_agent = {report.agent: report for report in records.reports}
    here, there = by_agent["node-a1-mesh-sender"], by_agent["node-b1-mesh-sender"]
    assert (here.offset_bound_ns, here.run_clock_bound_ns) == (0, 0)
    assert there.clock != here.clock
    assert 0 < there.offset_bound_ns < 2 * MILLISECOND
    sender = records.sender
    assert set(sender["copies"].tolist()) == {1}
    slack_ns = records.clock_bound_ns + 100_000
    for earlier, later in (
        ("send_began_ns", "reflector_received"),
        ("reflector_received", "reflector_sent"),
        ("reflector_sent", "received"),
    ):
        assert (sender[earlier] <= sender[later] + slack_ns).all()
    for one in (1, 2):
        # Both began when they were told, though their clocks are 5,000 s apart.
        assert (
            abs(int(sender["send_began_ns"][sender["flow"] == one].min()) - int(sender["send_began_ns"].min()))
            < 500 * MILLISECOND
        )
