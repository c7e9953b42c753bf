"""TCP flows and the application load over IPv6: both ends on loopback, where there is one address."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from hitless.load import ConnectionUse, RequestOutcome
from hitless.records import encode_address
from hitless.words import FlowClass
from probes.http_service import HttpService
from probes.load_settings import PeerSettings, PlaceSettings, ServiceSettings
from probes.load_user import LoadUser
from tests.unit.loopbacks import LOOPBACK_6, Loopback, loopback
from tests.unit.tcp_peers import WAIT_S, Accepting, Port, Sending, craft_answer, probe, read_probe

__all__ = ["loopback"]

pytestmark = pytest.mark.parametrize("loopback", [LOOPBACK_6], indirect=True)


@pytest.mark.parametrize("flow_class", [FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT])
def test_a_message_and_its_answer_fill_a_row(tmp_path: Path, loopback: Loopback, flow_class: FlowClass) -> None:
    port = Port(address=loopback.peer)
    sending = Sending(tmp_path, flow_class, port.number, source=loopback.pod, address=loopback.peer)
    sending.start()
    sending.tick()
    with port.accept() as other_end:
        sending.wait(lambda: bool(sending.rows["send_ended_ns"].all()))
        if flow_class is FlowClass.TCP_ESTABLISHED:
            sending.wait(lambda: sending.events == [("OPENED", 0)])
        else:
            sending.wait(lambda: all(attempt.timestamp >= 0 for attempt in sending.flow._attempts.values()))
        other_end.sendall(craft_answer(read_probe(other_end)))
        sending.wait(lambda: sending.copies() == [1])
    assert sending.rows[["failure", "send_errno", "corrupted", "retransmits"]].tolist() == [(0, 0, 0, 0)]
    sending.sender.finish()
    port.close()


def test_messages_are_answered_and_logged_with_their_source(tmp_path: Path, loopback: Loopback) -> None:
    accepting = Accepting(tmp_path, pod=loopback.pod, peer=loopback.peer, stranger=loopback.other)
    with accepting.connect(loopback.peer) as opened:
        assert len(accepting.give(opened, probe(1) + probe(2))) == 88
    assert accepting.log["source"].tolist() == [encode_address(loopback.peer)] * 2
    accepting.acceptor.finish()


def test_a_stranger_is_not_even_heard(tmp_path: Path, loopback: Loopback) -> None:
    accepting = Accepting(tmp_path, pod=loopback.pod, peer=loopback.other, stranger="fd00::8")
    with accepting.connect(loopback.peer) as opened:
        assert accepting.is_closed(opened, WAIT_S)
    assert (accepting.counters, len(accepting.log)) == ({"foreign": 1}, 0)
    accepting.acceptor.finish()


@pytest.mark.parametrize("use", ConnectionUse)
def test_a_user_is_answered_by_the_service(tmp_path: Path, loopback: Loopback, use: ConnectionUse) -> None:
    service = HttpService(
        ServiceSettings(
            name="service",
            directory=tmp_path,
            body_octets=10,
            connections_max=2,
            duration_ns_max=60_000_000_000,
            places=(PlaceSettings(pod="pod", address=loopback.pod, port=0),),
        )
    )
    assert service._listeners[0].address_family == socket.AF_INET6
    thread = threading.Thread(target=service.run)
    thread.start()
    peer = PeerSettings(server=0, pod="pod", address=loopback.pod, port=service.ports["pod"])
    user = LoadUser(peer=peer, use=use, body_octets=10, timeout_ns=round(WAIT_S * 1e9), now_ns=lambda: 0)
    assert [user.ask(lambda _: None).outcome for _ in range(2)] == [RequestOutcome.ANSWERED] * 2
    user.close()
    service.stop()
    thread.join(WAIT_S)
    service.close()
    assert service.counters["answered"] == 2
