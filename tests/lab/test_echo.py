"""The ICMP sender against the kernels of other pods, through the overlay."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clusters.lab.network import LabNetwork
from hitless.records import Rows
from hitless.words import FlowClass
from probes import stamp
from probes.clocks import Bridge
from probes.echo import HEADER_OCTETS, EchoSender
from probes.families import IPV4
from probes.recording import GrowingTable
from probes.settings import AgentSettings, EndpointSettings, FlowSettings

WAIT_S = 5.0


def make_sender(lab: LabNetwork, directory: Path, octets: int) -> EchoSender:
    """The first node's mesh pod, with a flow to a pod of the same zone and one to another's."""
    source, *others = (endpoint for endpoint in lab.endpoints if endpoint.name.endswith("-mesh"))
    settings = AgentSettings(
        agent="x",
        directory=directory,
        epoch_ns=0,
        interval_ns=1_000_000,
        packet_octets=octets,
        drain_ns=1_000_000_000,
        duration_ns_max=100_000_000,
        endpoints=(
            EndpointSettings(name="pod", address=source.address, namespace=lab.endpoint_path(source.name), reflects=False),
        ),
        flows=tuple(
            FlowSettings(
                id=number,
                ssid=number,
                source="pod",
                source_address=source.address,
                destination=f"d{number}",
                destination_address=others[place].address,
                flow_class=FlowClass.ICMP,
            )
            for number, place in ((7, 0), (9, 2))
        ),
    )
    return EchoSender(settings, Bridge(0), GrowingTable(directory / "x.skipped", "skipped", {}), {})


@pytest.fixture(params=[44, 600])
def sender(overlay_lab: LabNetwork, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EchoSender]:
    made = make_sender(overlay_lab, tmp_path, request.param)
    yield made
    made.finish()


def exchange(sender: EchoSender) -> Rows:
    """Send a tick, take the kernel's answers, return its rows."""
    sender._tick()
    while sender.has_outstanding():
        assert select.select(sender._sockets, [], [], WAIT_S)[0]
        sender.collect()
    rows: Rows = sender._table.ticks[sender.ticks - 1]
    return rows


def test_the_kernel_answers_every_request_and_its_row_has_no_far_end(sender: EchoSender) -> None:
    rows = exchange(sender)
    assert rows["flow"].tolist() == [7, 9]
    assert rows["copies"].tolist() == [1, 1]
    assert rows["corrupted"].tolist() == [0, 0]
    assert [-1, -1] == rows["reflector_received"].tolist() == rows["reflector_sent"].tolist()
    assert rows["forward_ttl"].tolist() == [0, 0]
    assert (rows["return_ttl"] > 0).all()
    assert (rows["send_began_ns"] < rows["received"]).all()


def test_icmps_own_sequence_number_wraps_and_ours_does_not(sender: EchoSender) -> None:
    sender._mark(0x1_0002)
    assert sender._packets[:, 6:8].tolist() == [[0, 2], [0, 2]]
    assert sender._probes["seq"].tolist() == [0x1_0002, 0x1_0002]


def test_a_reply_with_another_timestamp_or_padding_is_corrupted(overlay_lab: LabNetwork, tmp_path: Path) -> None:
    sender = make_sender(overlay_lab, tmp_path, 100)
    rows = exchange(sender)
    assert rows["corrupted"].tolist() == [0, 0]
    reply = sender._packets.copy()
    reply[:, 0] = IPV4.echo_reply
    for place, at in ((0, HEADER_OCTETS + 5), (1, HEADER_OCTETS + stamp.PACKET_OCTETS + 30)):
        reply[place, at] ^= 1
        sender._inbox.payload[place, : reply.shape[1]] = reply[place]
    sender._inbox._headers["octets"][:2] = reply.shape[1]
    true = sender._is_true_echo(np.arange(2), np.arange(2), np.zeros(2, dtype=np.int64))
    assert true.tolist() == [False, False]
    sender.finish()


def test_other_packets_are_malformed_and_echo_replies_of_others_are_foreign(sender: EchoSender) -> None:
    assert (sender.counters["malformed"], sender.counters["foreign"]) == (0, 0)
    packet = bytearray(sender._packets[0].tobytes())
    sender._inbox.payload[0, : len(packet)] = np.frombuffer(bytes(packet), dtype=np.uint8)
    sender._inbox._headers["octets"][0] = len(packet)
    readable, _, _ = sender._read(1)
    assert readable.tolist() == [False]  # a request is not a reply
    packet[0] = IPV4.echo_reply
    packet[HEADER_OCTETS + 14 : HEADER_OCTETS + 16] = struct.pack(">H", 8)
    sender._inbox.payload[0, : len(packet)] = np.frombuffer(bytes(packet), dtype=np.uint8)
    readable, ssids, _ = sender._read(1)
    assert (readable.tolist(), ssids.tolist()) == ([True], [8])
    assert sender._index_of[8] == -1
