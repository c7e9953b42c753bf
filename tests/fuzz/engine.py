"""Fuzzing both ends on loopback, against the rules told one packet at a time.

Inputs say how true packets are changed and in which order they come; or they are sent as they are.
"""

from __future__ import annotations

import select
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from probes import datagrams
from probes.clocks import Bridge
from probes.inner_loop import DATAGRAMS
from probes.recording import GrowingTable
from probes.reflector import Reflector
from probes.sender import Sender
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from tests.fuzz.target import Check, Draws, Target

POD, PEER, STRANGER = "127.6.0.1", "127.6.0.2", "127.6.0.3"
_PACKETS_MAX = 8
_OCTETS = 44
_WAIT_S = 5.0
_INTERVAL_NS, _DRAIN_NS = 1_000_000, 1_000_000_000
_NTP_2026 = 3_976_000_000 << 32


def _settings(directory: Path, flows: tuple[FlowSettings, ...], endpoint: EndpointSettings) -> AgentSettings:
    return AgentSettings(
        agent="x",
        directory=directory,
        epoch_ns=0,
        interval_ns=_INTERVAL_NS,
        drain_ns=_DRAIN_NS,
        duration_ns_max=10 * _INTERVAL_NS,
        endpoints=(endpoint,),
        flows=flows,
    )


def _flow(number: int, source: str, destination: str, port: int) -> FlowSettings:
    return FlowSettings(
        id=number,
        ssid=number,
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


def _probe(seq: int, ssid: int) -> bytes:
    """RFC 8762 4.2.1 with the SSID of RFC 8972 3."""
    return seq.to_bytes(4, "big") + (_NTP_2026 + seq).to_bytes(8, "big") + b"\0\1" + ssid.to_bytes(2, "big") + bytes(28)


def _answer(probe: bytes) -> bytes:
    """RFC 8762 4.3.1: what an honest reflector makes of a probe."""
    times = _NTP_2026.to_bytes(8, "big")
    return bytes([0, 0, 0, 9]) + times + b"\0\1" + probe[14:16] + times + probe[:14] + bytes(2) + bytes([61]) + bytes(3)


def _change(draws: Draws, true: bytes) -> bytes:
    """Return what the network, or an attacker, makes of a true packet."""
    tail = draws.octets(draws.number(40)) if draws.number(7) == 0 else b""
    return draws.changed(true) + tail


def _draw_packets(draws: Draws, true: list[bytes]) -> list[bytes]:
    packets: list[bytes] = []
    while not draws.is_over and len(packets) < _PACKETS_MAX:
        choice = draws.number(2 * len(true))
        packets.append(_change(draws, true[choice % len(true)]) if choice else draws.octets(draws.number(200)))
    return packets


def _judge_probes(contents: list[bytes]) -> tuple[list[bytes], Counter[str]]:
    """What a reflector with flow 1 from the peer and flow 2 from a stranger must answer, and what it must call the rest."""
    answered, counts = [], Counter[str]()
    for content in contents:
        if len(content) < _OCTETS or content[13] == 0:
            counts["malformed"] += 1
        elif content[14:16] != b"\0\1":
            counts["foreign"] += 1
        else:
            answered.append(content)
            counts["answered"] += 1
    return answered, counts


def _make_reflector(directory: Path, loop: ModuleType) -> tuple[Reflector, int]:
    """Return a reflector with this inner loop, and its port."""
    with _played(POD) as free:
        port = free.getsockname()[1]
    flows = (_flow(1, PEER, POD, port), _flow(2, STRANGER, POD, port))
    told = _settings(directory, flows, EndpointSettings(name=POD, address=POD, port=port, sends=False))
    return Reflector(told, Bridge(0), GrowingTable(directory / f"{port}.reflector", "reflector", {}), loop), port


@contextmanager
def _open_reflector() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name, _played(PEER) as peer:
        ends = [_make_reflector(Path(name), loop) for loop in (datagrams, DATAGRAMS)]

        def check(content: bytes) -> None:
            draws = Draws(content)
            reflector, port = ends[draws.number(1)]
            reflector._pods["tokens"] = _PACKETS_MAX
            reflector.counters.clear()
            true = [_probe(seq, ssid) for seq in (3, 4) for ssid in (1, 2)]
            contents = _draw_packets(draws, true)
            for packet in contents:
                peer.sendto(packet, (POD, port))
            reflector.reflect(reflector.descriptors)
            came, (expected, counts) = _receive_all(peer), _judge_probes(contents)
            assert [(len(answer), answer[24:38]) for answer in came] == [(len(probe), probe[:14]) for probe in expected]
            for reason in ("malformed", "foreign", "answered"):
                assert reflector.counters[reason] == counts[reason], reason

        try:
            yield check
        finally:
            for reflector, _ in ends:
                reflector.finish()


def _judge_answers(contents: list[bytes], sent: list[bytes]) -> tuple[list[int], list[bool], Counter[str]]:
    """How many answers each probe must have after these, whether one was false, and what must be said of the rest."""
    copies, false, counts = [0] * len(sent), [False] * len(sent), Counter[str]()
    for content in contents:
        ssid = int.from_bytes(content[14:16], "big")
        if len(content) < _OCTETS or content[13] == 0 or content[12] & 0x40:
            counts["malformed"] += 1
        elif not 1 <= ssid <= len(sent):
            counts["foreign"] += 1
        elif content[24:28] != sent[ssid - 1][:4]:
            counts["stale"] += 1
        else:
            copies[ssid - 1] += 1
            false[ssid - 1] |= len(content) != _OCTETS or content[28:36] != sent[ssid - 1][4:12]
    return copies, false, counts


@contextmanager
def _open_sender() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name, _played(PEER) as peer:
        directory, port = Path(name), peer.getsockname()[1]
        flows = (_flow(1, POD, PEER, port), _flow(2, POD, PEER, port))
        told = _settings(directory, flows, EndpointSettings(name=POD, address=POD, reflects=False))
        senders = [
            Sender(replace(told, agent=agent), Bridge(0), GrowingTable(directory / f"{agent}.skipped", "skipped", {}), {}, loop)
            for agent, loop in (("python", datagrams), ("built", DATAGRAMS))
        ]

        def check(content: bytes) -> None:
            draws = Draws(content)
            sender = senders[draws.number(1)]
            address = sender._sockets[0].getsockname()
            sender.ticks = 0
            sender.counters.clear()
            sender._tick()
            peer.settimeout(_WAIT_S)
            sent = [peer.recv(4096) for _ in flows]
            true = [*map(_answer, sent), *sent, _answer(_probe(0, 1))]
            contents = _draw_packets(draws, true)
            for packet in contents:
                peer.sendto(packet, address)
            sender.collect()
            copies, false, counts = _judge_answers(contents, sent)
            rows = sender._table.ticks[0]
            assert rows["copies"].tolist() == copies
            assert rows["corrupted"].tolist() == false
            assert (rows["received"] != -1).tolist() == [count > 0 for count in copies]
            for reason in ("malformed", "foreign", "stale"):
                assert sender.counters[reason] == counts[reason], reason

        try:
            yield check
        finally:
            for sender in senders:
                sender.finish()


_AS_IT_IS = bytes([1, 0, 1])
"""No tail, no change, not cut."""


def _changed_at(place: int) -> bytes:
    """The same with one octet changed."""
    return bytes([1, 1, place, 1, 1])


REFLECTOR = Target(
    name="reflector",
    open=_open_reflector,
    # Which inner loop answers them; the choice of a true packet, then what is made of it: 4 is a probe of a known flow,
    # 5 another source's.
    seeds=tuple(
        way + packets
        for way in (b"\0", b"\1")
        for packets in (
            (b"\4" + _AS_IT_IS) * 2,
            b"\4" + _changed_at(3) + b"\4" + _changed_at(13) + b"\4" + _AS_IT_IS,
            b"\5" + _AS_IT_IS + b"\2" + _AS_IT_IS,
        )
    ),
)
SENDER = Target(
    name="sender",
    open=_open_sender,
    # Which inner loop takes them; 5 is the answer to the first probe, 2 that probe itself, 4 an answer to an earlier
    # sending of its number.
    seeds=tuple(
        way + packets
        for way in (b"\0", b"\1")
        for packets in (
            (b"\5" + _AS_IT_IS) * 2 + b"\1" + _AS_IT_IS,
            b"\5" + _changed_at(27) + b"\5" + _changed_at(28) + b"\5" + bytes([1, 1, 12, 0x40, 1]),
            b"\2" + _AS_IT_IS,
            b"\4" + _AS_IT_IS + b"\5" + _AS_IT_IS,
        )
    ),
)
