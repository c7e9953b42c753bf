"""Fuzzing both ends in authenticated mode on loopback, against the rules told one packet at a time.

Inputs say how true packets are changed, before or after they are signed, and in which order they come; or they are sent as they
are.
"""

from __future__ import annotations

import select
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.reflector import Reflector
from probes.replay import ReplayWindow, count_places
from probes.sender import Sender
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from tests.fuzz.target import Check, Draws, Target
from tests.unit.stamp_by_hand import KEY, NTP_2026, by_hand_answer, by_hand_probe, by_hand_signed

POD, PEER, STRANGER = "127.6.0.1", "127.6.0.2", "127.6.0.3"
_PACKETS_MAX = 8
_OCTETS = 112
_WAIT_S = 5.0
_INTERVAL_NS, _DRAIN_NS = 1_000_000, 1_000_000_000
_PLACES = count_places(_INTERVAL_NS, _DRAIN_NS)


def _settings(directory: Path, flows: tuple[FlowSettings, ...], endpoint: EndpointSettings) -> AgentSettings:
    return AgentSettings(
        agent="x",
        directory=directory,
        epoch_ns=0,
        interval_ns=_INTERVAL_NS,
        packet_octets=_OCTETS,
        drain_ns=_DRAIN_NS,
        duration_ns_max=10 * _INTERVAL_NS,
        key=KEY,
        endpoints=(endpoint,),
        flows=flows,
    )


def _flow(number: int, source: str, destination: str, port: int) -> FlowSettings:
    return FlowSettings(
        id=number,
        source=source,
        source_address=source,
        destination=destination,
        destination_address=destination,
        port=port,
    )


@contextmanager
def _played(address: str) -> Iterator[socket.socket]:
    """The end that the fuzzer plays."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as played:
        played.bind((address, 0))
        yield played


def _receive_all(played: socket.socket) -> list[bytes]:
    found = []
    while select.select([played], [], [], 0)[0]:
        found.append(played.recv(65_535))
    return found


def _change(draws: Draws, true: bytes) -> bytes:
    """Return what somebody makes of a true packet, with the key or without."""
    is_signed_after, tail = draws.number(2) == 0, draws.octets(draws.number(40)) if draws.number(7) == 0 else b""
    content = draws.changed(true)
    if is_signed_after and len(content) >= _OCTETS:
        content = by_hand_signed(content[:96]) + content[_OCTETS:]
    return content + tail


def _draw_packets(draws: Draws, true: list[bytes]) -> list[bytes]:
    packets: list[bytes] = []
    while not draws.is_over and len(packets) < _PACKETS_MAX:
        choice = draws.number(2 * len(true))
        packets.append(_change(draws, true[choice % len(true)]) if choice else draws.octets(draws.number(200)))
    return packets


def _judge_probes(contents: list[bytes]) -> tuple[list[bytes], Counter[str]]:
    """What a reflector with flow 1 from the peer and flow 2 from a stranger must answer, and what it must call the rest."""
    newest: dict[int, int] = {}
    answered, counts = [], Counter[str]()
    for content in contents:
        seq = int.from_bytes(content[:4], "big")
        if len(content) < _OCTETS or content[25] == 0:
            counts["malformed"] += 1
        elif content[26:28] != b"\0\1":
            counts["foreign"] += 1
        elif by_hand_signed(content[:96]) != content[:_OCTETS]:
            counts["unauthentic"] += 1
        elif any(content[32:40]) or seq <= newest.get(seq % _PLACES, -1):
            counts["replayed"] += 1
        else:
            newest[seq % _PLACES] = seq
            answered.append(content)
            counts["answered"] += 1
    return answered, counts


@contextmanager
def _open_reflector() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name, _played(PEER) as peer, _played(POD) as free:
        directory, port = Path(name), free.getsockname()[1]
        free.close()
        flows = (_flow(1, PEER, POD, port), _flow(2, STRANGER, POD, port))
        endpoint = EndpointSettings(name=POD, address=POD, port=port, sends=False)
        log = directory / "x.reflector"
        reflector = Reflector(_settings(directory, flows, endpoint), Bridge(0), GrowingTable(log, "reflector", {}))

        def check(content: bytes) -> None:
            draws = Draws(content)
            reflector._window = ReplayWindow(2, _PLACES)
            reflector._tokens[:] = _PACKETS_MAX
            true = [by_hand_probe(seq, NTP_2026 + seq, 1, ssid) for seq in (3, 4, 3 + _PLACES) for ssid in (1, 2)]
            true.append(by_hand_answer(9, NTP_2026, 1, NTP_2026, 61, true[0]))
            contents = _draw_packets(draws, true)
            reflector.counters.clear()
            for packet in contents:
                peer.sendto(packet, (POD, port))
            reflector.reflect(reflector.descriptors)
            came, (expected, counts) = _receive_all(peer), _judge_probes(contents)
            assert [(len(answer), answer[48:52], answer[64:72]) for answer in came] == [
                (len(probe), probe[:4], probe[16:24]) for probe in expected
            ]
            assert all(by_hand_signed(answer[:96]) == answer[:_OCTETS] for answer in came)
            for reason in ("malformed", "foreign", "unauthentic", "replayed", "answered"):
                assert reflector.counters[reason] == counts[reason], reason

        try:
            yield check
        finally:
            reflector.finish()


def _judge_answers(contents: list[bytes], sent: list[bytes]) -> tuple[list[int], list[bool], Counter[str]]:
    """How many answers each probe must have after these, whether one was false, and what must be said of the rest."""
    copies, false, counts = [0] * len(sent), [False] * len(sent), Counter[str]()
    for content in contents:
        ssid = int.from_bytes(content[26:28], "big")
        if len(content) < _OCTETS or content[25] == 0 or content[24] & 0x40:
            counts["malformed"] += 1
        elif not 1 <= ssid <= len(sent):
            counts["foreign"] += 1
        elif by_hand_signed(content[:96]) != content[:_OCTETS]:
            counts["unauthentic"] += 1
        elif content[48:52] != sent[ssid - 1][:4]:
            counts["stale"] += 1
        elif not any(content[32:40]) or content[64:72] != sent[ssid - 1][16:24]:
            counts["replayed"] += 1
        else:
            copies[ssid - 1] += 1
            false[ssid - 1] |= len(content) != _OCTETS
    return copies, false, counts


@contextmanager
def _open_sender() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name, _played(PEER) as peer:
        directory, port = Path(name), peer.getsockname()[1]
        flows = (_flow(1, POD, PEER, port), _flow(2, POD, PEER, port))
        told = _settings(directory, flows, EndpointSettings(name=POD, address=POD, reflects=False))
        sender = Sender(told, Bridge(0), GrowingTable(directory / "x.skipped", "skipped", {}), {})
        address = sender._sockets[0].getsockname()

        def check(content: bytes) -> None:
            draws = Draws(content)
            sender.ticks = 0
            sender.counters.clear()
            sender._tick()
            peer.settimeout(_WAIT_S)
            sent = [peer.recv(4096) for _ in flows]
            true = [by_hand_answer(9, NTP_2026, 1, NTP_2026, 61, probe) for probe in sent]
            true += [*sent, by_hand_answer(9, NTP_2026, 1, NTP_2026, 61, by_hand_probe(0, NTP_2026, 1, 1))]
            contents = _draw_packets(draws, true)
            for packet in contents:
                peer.sendto(packet, address)
            sender.collect()
            copies, false, counts = _judge_answers(contents, sent)
            rows = sender._table.ticks[0]
            assert rows["copies"].tolist() == copies
            assert rows["corrupted"].tolist() == false
            assert (rows["received"] != -1).tolist() == [count > 0 for count in copies]
            for reason in ("malformed", "foreign", "unauthentic", "stale", "replayed"):
                assert sender.counters[reason] == counts[reason], reason

        try:
            yield check
        finally:
            sender.finish()


_AS_IT_IS = bytes([1, 1, 0, 1])
"""Signed before it is changed, no tail, no change, not cut."""


def _changed_at(place: int) -> bytes:
    """The same with one octet changed."""
    return bytes([1, 1, 1, place, 1, 1])


REFLECTOR = Target(
    name="reflector",
    open=_open_reflector,
    # The choice of a true packet, then what is made of it: 7 is a probe of our flow, 8 a stranger's, 6 an answer.
    seeds=(
        (b"\7" + _AS_IT_IS) * 2,
        b"\7" + _changed_at(3) + b"\7" + _AS_IT_IS,
        b"\6" + _AS_IT_IS + b"\x08" + _AS_IT_IS + b"\2" + _AS_IT_IS,
        (b"\4" + _AS_IT_IS + b"\7" + _AS_IT_IS),
    ),
)
SENDER = Target(
    name="sender",
    open=_open_sender,
    # 5 is the answer to the first probe, 2 that probe itself, 4 an answer to an earlier sending of its number.
    seeds=(
        (b"\5" + _AS_IT_IS) * 2 + b"\1" + _AS_IT_IS,
        b"\5" + _changed_at(80),
        b"\2" + _AS_IT_IS,
        b"\4" + _AS_IT_IS + b"\5" + _AS_IT_IS,
    ),
)
