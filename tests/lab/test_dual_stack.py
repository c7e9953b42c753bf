"""A dual-stack lab: IPv6 beside IPv4, never encapsulated, with routes that no route controller creates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from analysis.causes.candidates import CauseKind
from analysis.evidence import JudgedRun
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from hitless.facts import Flow
from hitless.words import Arm, Capability, FlowRole, IpFamily, Mode
from probes.stamp import PORT
from scenarios.loading import find_scenario, load_scenario
from scenarios.parts import FaultStep, PerProfile
from scenarios.plan import Options, make_case
from tests.lab.capture import Frame, capturing
from tests.lab.lab_traffic import QUIET_S, missing_pairs, pod_sockets
from tests.lab.needs import need
from tests.lab.wire_session import make_flows, probe

pytestmark = pytest.mark.usefixtures("ipv6")
CUT_OFF = "node-b1"
"""The node that loses its prefix."""
SENT, BY_ROUTER = 255, 252
"""Hop limits: of a STAMP packet when sent; received after both nodes and the router."""


@pytest.fixture(scope="module")
def ipv6() -> None:
    need(Capability.IPV6)


@pytest.mark.parametrize(
    "spec",
    [
        LabSpec(has_ipv6=True),
        LabSpec(has_ipv6=True, start_mode=Mode.NATIVE),
        LabSpec(has_ipv6=True, zones=1, nodes_per_zone=21),
    ],
    ids=["overlay", "native", "permanent neighbours"],
)
def test_every_pod_reaches_every_other_in_both_families(spec: LabSpec) -> None:
    lab = LabNetwork(spec)
    lab.up()
    try:
        for family in IpFamily:
            with pod_sockets(lab, family) as sockets:
                assert set() == missing_pairs(lab, sockets, family=family)
    finally:
        lab.down()


def test_up_returns_once_every_address_receives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an address is late depends on the machine's load: the kernel's answer is made up here."""
    late = iter([["2001:db8::1 of eth0"]] * 2)
    monkeypatch.setattr("clusters.lab.network.list_unready_addresses6", lambda *_: next(late, []))
    lab = LabNetwork(LabSpec(has_ipv6=True, zones=1, nodes_per_zone=1))
    lab.up()
    lab.down()
    assert list(late) == []


def test_a_prefix_that_is_not_delegated_cuts_a_node_off_in_ipv6_alone() -> None:
    lab = LabNetwork(LabSpec(has_ipv6=True))
    lab.up()
    try:
        with pod_sockets(lab, IpFamily.IPV6) as sockets:
            lab.set_prefix(CUT_OFF, is_delegated=False)
            lost = missing_pairs(lab, sockets, QUIET_S, IpFamily.IPV6)
            lab.set_prefix(CUT_OFF, is_delegated=True)
            assert set() == missing_pairs(lab, sockets, family=IpFamily.IPV6)
        with pod_sockets(lab) as sockets:
            assert set() == missing_pairs(lab, sockets)
    finally:
        lab.down()
    there = {f"{CUT_OFF}-mesh", f"{CUT_OFF}-control"}
    others = set(sockets) - there
    assert {(source, destination) for source in others for destination in there} == lost


def hop_limits(frames: Iterable[Frame]) -> Counter[int]:
    """Count the plain IPv6 packets of probes by their hop limit; one in a tunnel would be no IPv6 packet here."""
    return Counter(
        frame.packet[IPv6].hlim
        for frame in frames
        if frame.is_outgoing and isinstance(frame.packet, IPv6) and UDP in frame.packet and frame.packet[UDP].dport == PORT
    )


def test_ipv6_probes_cross_the_router_unencapsulated_while_the_overlay_is_on(tmp_path: Path) -> None:
    lab = LabNetwork(LabSpec(has_ipv6=True))
    lab.up()
    try:
        pairs = make_flows(("node-a1-mesh", "node-a2-mesh"), ("node-a1-mesh", "node-b1-mesh"))
        flows = [replace(flow, ip_family=IpFamily.IPV6) for flow in pairs]
        places = (("node-a1-mesh", "eth0"), ("node-a1", "eth0"), ("vpc", "br-a"), ("vpc", "br-b"))
        with capturing(lab, *places) as captures:
            history = probe(lab, flows, tmp_path)
            at_pod, at_node, in_zone, in_other_zone = (hop_limits(one.frames()) for one in captures)
    finally:
        lab.down()
    probes = history.records.sender.size
    assert (at_pod, at_node) == ({SENT: probes}, {SENT - 1: probes})
    assert (in_zone, in_other_zone) == ({SENT - 2: probes // 2}, {SENT - 2: probes // 2})
    for column in ("forward_ttl", "return_ttl"):
        assert {BY_ROUTER} == set(history.records.sender[column].tolist())


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> JudgedRun:
    """The switch of the dual-stack scenario without the gate, and an outage of one node's IPv6 after it."""
    at_ms, for_ms = PerProfile(fast=1500, gardener=1500), PerProfile(fast=300, gardener=300)
    fault = FaultStep(name="node-prefix-lost", options={"node": CUT_OFF}, at_ms=at_ms, for_ms=for_ms)
    scenario = load_scenario(find_scenario("dual-stack")).model_copy(
        update={"faults": (fault,), "duration_s": PerProfile(fast=2.2, gardener=2.2), "until": "end"}
    )
    backend, performer = make_backend(BackendName.LAB), make_performer(SwitchName.DOUBLES)
    folder = tmp_path_factory.mktemp("dual-stack")
    return execute_trial(backend, performer, make_case(scenario, Options(rate_hz=100)), Arm.UNGATED, 1, folder / "1")


def is_cut_off(flow: Flow) -> bool:
    return any(end.startswith(CUT_OFF) for end in (flow.source, flow.destination))


def test_the_switch_hits_ipv4_alone_and_the_lost_prefix_ipv6_alone(judged: JudgedRun) -> None:
    history = judged.history
    hit = [flow for flow in history.flows if flow.role is not FlowRole.CALIBRATION and judged.measures[flow.id].is_hit]
    ipv6 = [flow for flow in history.flows_of(FlowRole.POD) if flow.ip_family is IpFamily.IPV6]
    assert len(history.flows_of(FlowRole.MESH)) == len(ipv6)
    assert [flow for flow in ipv6 if is_cut_off(flow)] == [flow for flow in hit if flow.ip_family is IpFamily.IPV6]
    (lost,) = history.events_named("fault.injected")
    switched = [flow for flow in hit if flow.role is FlowRole.MESH]
    assert switched != []
    for flow in switched:
        assert all(outage.onset_before_ns < lost.facts["began_ns"] for outage in judged.measures[flow.id].outages)


def test_each_ipv6_flow_of_the_node_was_down_for_the_injected_time(judged: JudgedRun) -> None:
    history = judged.history
    lost, restored = (next(iter(history.events_named(name))) for name in ("fault.injected", "fault.cured"))
    shortest_ns = restored.facts["began_ns"] - lost.t_ns
    longest_ns = restored.t_ns - lost.facts["began_ns"]
    for flow in history.flows:
        if flow.ip_family is IpFamily.IPV6 and flow.role is FlowRole.POD and is_cut_off(flow):
            (outage,) = judged.measures[flow.id].outages
            assert outage.longest_ns is not None
            assert outage.shortest_ns <= longest_ns
            assert shortest_ns <= outage.longest_ns
            # One interval where no tick was missed: half of what is between two probes at either end.
            error_ns_max = (outage.longest_ns - outage.shortest_ns) // 2
            assert shortest_ns - error_ns_max <= outage.likely_ns <= longest_ns + error_ns_max, flow.label


def test_the_injected_outage_is_the_cause_of_every_ipv6_outage(judged: JudgedRun) -> None:
    ipv6 = {flow.id for flow in judged.history.flows if flow.ip_family is IpFamily.IPV6}
    kinds = Counter(found.causes[0].kind for found in judged.evidence.causes if found.flow in ipv6)
    assert set(kinds) == {CauseKind.FAULT}


def test_ipv6_packets_of_the_whole_run_have_the_hop_limit_of_the_router(judged: JudgedRun) -> None:
    sender = judged.history.records.sender
    between = [flow.id for flow in judged.history.flows_of(FlowRole.POD) if flow.ip_family is IpFamily.IPV6]
    rows = sender[np.isin(sender["flow"], between) & (sender["copies"] > 0)]
    assert rows.size > 0
    assert {BY_ROUTER} == {*rows["forward_ttl"].tolist(), *rows["return_ttl"].tolist()}
