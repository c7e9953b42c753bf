"""The measures compared with the wire: the packets themselves, and every drop, copy, reordering and delay."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from scapy.compat import raw
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as Answer
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as Probe
from scapy.layers.inet import IP, UDP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from analysis.evidence import Evidence
from analysis.ledger import Ledger
from analysis.measure import FlowMeasure
from clusters.lab.network import LabNetwork
from hitless.history import History
from hitless.words import MILLISECOND, FlowId
from probes.stamp import decode_ntp
from tests.lab.capture import Frame, capturing
from tests.lab.kernels import COUNTS_TRANSMITS
from tests.lab.relay import Relay, Treatment, names
from tests.lab.wire_session import IN_TUNNEL, SLOWNESS, TO_REFLECTOR, TO_SENDER, drop, has_rules, inject, make_flows, probe

A1, A2, B1, B2 = (f"node-{name}-mesh" for name in ("a1", "a2", "b1", "b2"))
STAMP_PORT = 8620
GPE_PORT, VXLAN_PORT = 4790, 4789

needs_tun = pytest.mark.skipif(
    not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="missing: /dev/net/tun, which this user may read and write"
)
needs_rules = pytest.mark.skipif(not has_rules(), reason="missing: nft or iptables-legacy, the programs")


def read_stamp(packet: Packet) -> Packet | None:
    """Return the STAMP packet inside the innermost UDP, dissected, or None."""
    if UDP not in packet:
        return None
    octets = raw(packet[UDP].payload)
    if packet[UDP].dport == STAMP_PORT:
        return Probe(octets)
    return Answer(octets) if packet[UDP].sport == STAMP_PORT else None


def stamps(frames: Iterable[Frame], kind: type[Packet], *, is_outgoing: bool) -> list[tuple[Frame, Packet]]:
    found = ((frame, read_stamp(frame.packet)) for frame in frames if frame.is_outgoing is is_outgoing)
    return [(frame, stamp) for frame, stamp in found if isinstance(stamp, kind)]


def run_clock_ns(history: History, wall_ns: int) -> int:
    """Convert by the sender's first pair: a session is shorter than two."""
    pair = history.records.clocks["sender"][0]
    return wall_ns - int(pair["wall"]) + int(pair["monotonic"])


def test_what_the_pods_send_is_stamp_and_what_is_recorded_was_on_the_wire(overlay_lab: LabNetwork, tmp_path: Path) -> None:
    flows = make_flows((A1, B1), (A1, A2))
    with capturing(overlay_lab, (A1, "eth0"), (B1, "eth0")) as captures:
        history = probe(overlay_lab, flows, tmp_path)
        at_source, at_destination = (tuple(one.frames()) for one in captures)
    sender = history.records.sender
    sent = stamps(at_source, Probe, is_outgoing=True)
    assert sorted((stamp.ssid, stamp.seq) for _, stamp in sent) == sender[["flow", "seq"]].tolist()
    assert {255} == {frame.packet[IP].ttl for frame, _ in sent}
    assert {44} == {len(frame.packet[UDP].payload) for frame, _ in sent}
    assert {0} == {stamp.err_estimate.Z | stamp.mbz for _, stamp in sent}
    rows = {(int(row["flow"]), int(row["seq"])): row for row in sender}
    slack_ns = 50_000 + sum(int(pairs["width"].max()) for pairs in history.records.clocks.values())
    for frame, stamp in sent:
        row = rows[stamp.ssid, stamp.seq]
        assert row["send_began_ns"] - slack_ns <= run_clock_ns(history, frame.wall_ns) <= row["send_ended_ns"] + slack_ns
        sent_ns = decode_ntp(int.from_bytes(raw(stamp)[4:12], "big"))
        assert run_clock_ns(history, sent_ns) <= row["send_began_ns"] + slack_ns
    answers = stamps(at_source, Answer, is_outgoing=False)
    answered = sender[sender["copies"] == 1]
    fields = [(s.ssid, s.seq_sender, f.packet[IP].ttl, s.ttl_sender, s.seq) for f, s in answers]
    assert sorted(fields) == answered[["flow", "seq", "return_ttl", "forward_ttl", "reflector_seq"]].tolist()
    received = {(s.ssid, s.seq_sender): run_clock_ns(history, f.wall_ns) for f, s in answers}
    assert all(abs(received[key] - rows[key]["received"]) <= slack_ns for key in received)
    log = history.records.reflector
    came = stamps(at_destination, Probe, is_outgoing=False)
    assert [(s.ssid, s.seq, f.packet[IP].ttl) for f, s in came] == log[log["flow"] == 1][["flow", "seq", "ttl"]].tolist()
    echoes = [(s.ssid, s.seq_sender, s.seq) for _, s in stamps(at_destination, Answer, is_outgoing=True)]
    assert echoes == log[log["flow"] == 1][["flow", "seq", "reflector_seq"]].tolist()


def outer(frames: Iterable[Frame]) -> Counter[tuple[int | None, int | None]]:
    """Count probes and answers by (outer UDP port, VXLAN identifier); (None, None): not encapsulated."""
    found: Counter[tuple[int | None, int | None]] = Counter()
    for frame in frames:
        packet = frame.packet
        if UDP in packet and packet[UDP].dport in (GPE_PORT, VXLAN_PORT):
            tunnel = VXLAN(raw(packet[UDP].payload))
            # Scapy takes what follows for Ethernet; VXLAN-GPE says IPv4 by its next protocol 1 (draft-ietf-nvo3-vxlan-gpe 3.1).
            inner = IP(raw(packet[UDP].payload)[8:]) if packet[UDP].dport == GPE_PORT else tunnel[IP]
            if read_stamp(inner) is not None:
                found[packet[UDP].dport, tunnel.vni] += 1
        elif read_stamp(packet) is not None:
            found[None, None] += 1
    return found


@pytest.mark.parametrize(
    ("fixture", "outside", "ttl"),
    [
        ("overlay_lab", (GPE_PORT, 42), 253),
        ("vxlan_lab", (VXLAN_PORT, 4096), 253),
        ("native_lab", (None, None), 252),
    ],
)
def test_the_overlay_encapsulates_between_nodes_and_native_packets_cross_the_router(
    fixture: str, outside: tuple[int | None, int | None], ttl: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab: LabNetwork = request.getfixturevalue(fixture)
    if lab.carrier == "ipip":
        pytest.skip("missing: a kernel without ipip, where VXLAN-GPE stands in")
    with capturing(lab, ("node-a1", "eth0"), ("vpc", "br-b"), ("node-a1", lab.plan.nodes[0].mesh.device)) as captures:
        history = probe(lab, make_flows((A1, B1)), tmp_path)
        at_node, at_router, at_pod = (outer(one.frames()) for one in captures)
    packets = 2 * history.records.sender.size
    assert {outside: packets} == at_node
    assert packets == at_router[outside]
    assert {outside} == set(at_router)
    assert {(None, None): packets} == at_pod
    assert {ttl} == set(history.records.sender["forward_ttl"].tolist()) == set(history.records.sender["return_ttl"].tolist())


def losses(measures: Mapping[FlowId, FlowMeasure]) -> dict[FlowId, tuple[int, int, int, int]]:
    """Return flow to (near end, far end, unknown, send errors), for flows with loss."""
    found = {flow: (m.lost_near_end, m.lost_far_end, m.lost_unknown, m.send_errors) for flow, m in measures.items()}
    return {flow: counts for flow, counts in found.items() if any(counts)}


def places(ledger: Ledger) -> dict[str, tuple[int, int]]:
    return {place.namespace: (place.input_drops, place.output_drops) for place in ledger.places if place.drops}


@needs_rules
def test_every_drop_is_counted_in_its_place_and_direction(native_lab: LabNetwork, tmp_path: Path) -> None:
    flows = make_flows((A1, B1), (B1, A1), (A1, A2), (A2, A1), (B1, B2), (B2, B1), (A2, B2), (B2, A2))
    inject("vpc", "forward", drop(TO_REFLECTOR, 1, 100, 109))
    inject("node-a1", "forward", drop(TO_SENDER, 2, 100, 104))
    inject(A2, "input", drop(TO_REFLECTOR, 3, 120, 122))
    inject(A2, "output", drop(TO_SENDER, 3, 150, 151))
    inject(A1, "output", drop(TO_REFLECTOR, 1, 200, 202), drop(TO_SENDER, 4, 160, 165))
    inject("node-b2", "prerouting", drop(TO_REFLECTOR, 5, 100, 106))
    inject(B2, "input", drop(TO_SENDER, 6, 180, 180))
    history = probe(native_lab, flows, tmp_path)
    measures = Evidence(history).measures
    assert losses(measures) == {
        1: (10, 0, 0, 3),
        2: (0, 5, 0, 0),
        3: (3, 2, 0, 0),
        4: (0, 6, 0, 0),
        5: (7, 0, 0, 0),
        6: (0, 1, 0, 0),
    }
    outages = [(outage.flow, outage.first_seq, outage.lost) for m in measures.values() for outage in m.outages]
    assert outages == [(1, 100, 10), (2, 100, 5), (3, 120, 3), (3, 150, 2), (4, 160, 6), (5, 100, 7), (6, 180, 1)]
    ledger = Evidence(history).ledger
    assert ledger is not None
    on_the_way = {"vpc": 10, "node-a1": 5}
    # What the kernel refused to send was dropped as well and was no probe. A refusal within a batch is told at the next
    # call, so the sender may have tried twice.
    refused = places(ledger)[A1][1] - 6
    assert 3 <= refused <= 2 * 3
    assert places(ledger) == {
        **{place: (0, drops) if COUNTS_TRANSMITS else (drops, 0) for place, drops in on_the_way.items()},
        A2: (3, 2),
        A1: (0, refused + 6),
        "node-b2": (7, 0),
        B2: (1, 0),
    }
    assert (ledger.lost, ledger.dropped, ledger.lost_unexplained) == (34, 34 + refused, 0)


@needs_rules
def test_drops_around_a_tunnel_are_counted_once_and_in_their_place(overlay_lab: LabNetwork, tmp_path: Path) -> None:
    in_tunnel = IN_TUNNEL[overlay_lab.carrier]
    inject("node-a1", "forward", drop(TO_REFLECTOR, 1, 130, 134))
    inject("node-a1", "output", drop(in_tunnel, 1, 120, 122))
    inject("node-a1", "postrouting", drop(in_tunnel, 1, 220, 222))
    inject("vpc", "forward", drop(in_tunnel, 1, 100, 109))
    inject("node-b1", "prerouting", drop(in_tunnel, 1, 240, 242))
    inject("node-b1", "input", drop(in_tunnel, 1, 140, 147))
    inject("node-b1", "forward", drop(TO_REFLECTOR, 1, 150, 150), drop(TO_SENDER, 1, 160, 163))
    history = probe(overlay_lab, make_flows((A1, B1), (B1, A1)), tmp_path)
    measures = Evidence(history).measures
    assert losses(measures) == {1: (33, 4, 0, 0)}
    ledger = Evidence(history).ledger
    assert ledger is not None
    # A kernel before 6.8 counts what is refused on the way through as input, and does not say where in a tunnel it was.
    expected = (
        {"node-a1": (0, 5 + 3 + 3), "vpc": (0, 10), "node-b1": (3 + 8, 1 + 4)}
        if COUNTS_TRANSMITS
        else {"node-a1": (5, 0), "vpc": (10, 0), "node-b1": (3 + 8 + 1 + 4, 0)}
    )
    assert places(ledger) == expected
    assert (ledger.lost, ledger.dropped, ledger.refusals_unknown) == (37, 37, 0)


@needs_tun
def test_copies_order_delay_and_damage_are_exact(native_lab: LabNetwork, tmp_path: Path) -> None:
    treatment = Treatment(
        drop=[*names("out", 2, 100, 109), *names("back", 2, 120, 121)],
        copies=dict.fromkeys(names("out", 1, 100, 104), 1) | dict.fromkeys(names("back", 1, 110, 112), 2),
        hold={("out", 1, 120): ("out", 1, 123), ("back", 1, 130): ("back", 1, 132)},
        delay_s={("out", 1, 150): 0.3 * SLOWNESS, ("back", 1, 160): 0.3 * SLOWNESS, ("out", 1, 170): 0.05},
        corrupt=names("back", 1, 180, 180),
    )
    with Relay(native_lab, (A1, B1), treatment) as relay:
        history = probe(native_lab, make_flows((A1, B1), (B1, A1), (A1, A2)), tmp_path)
    measures = Evidence(history).measures
    first, second, third = measures.values()
    counts = (first.duplicated, first.reordered, first.corrupted, first.late, first.lost_near_end, first.lost_far_end)
    assert counts == (5 + 3, 3, 1, 2, 1, 1)
    assert first.offered - 8 - 3 - 1 - 2 == first.unimpaired
    assert {outage.first_seq: outage.lost for outage in first.outages} == {150: 1, 160: 1}
    rows = history.records.sender
    rows = rows[rows["flow"] == 1]
    assert {seq: int(rows["copies"][seq]) for seq in (100, 104, 110, 112)} == {100: 2, 104: 2, 110: 3, 112: 3}
    delayed_ns = int(rows["received"][170] - rows["send_began_ns"][170])
    assert delayed_ns >= 50 * MILLISECOND
    assert (second.lost_near_end, second.lost_far_end, second.duplicated, second.reordered) == (10, 2, 0, 0)
    assert [(outage.first_seq, outage.lost) for outage in second.outages] == [(100, 10), (120, 2)]
    assert third.offered == third.unimpaired
    # Nothing else was lost in the relay: it saw every probe, and every copied or late answer.
    ticks = rows.size
    seen = Counter((way, flow) for way, flow, _ in relay.seen)
    assert {("out", 1): ticks, ("back", 1): ticks + 5, ("out", 2): ticks, ("back", 2): ticks - 10} == seen
