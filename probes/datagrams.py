"""The inner loop of the datagram flows in Python: the same as `_datagrams.c`, for machines on which that was not built.

It has the classes of the compiled module with their arguments and their behaviour, and the same tests run against both. It
handles one packet at a time, with the standard library's sockets. Rows, packets and token buckets are the numpy arrays of
`probes.sender` and `probes.reflector`.
"""

from __future__ import annotations

import socket
import sys
import time
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hitless.records import NONE_NS, REFLECTOR_ROW, Rows, encode_address
from probes import stamp
from probes.recording import UNANSWERED, make_row
from probes.sockets import IPV4, IPV6, TIMESPEC_OCTETS, find_time

_COPIES_MAX: Final = 255
_TAKEN_MAX: Final = 8192
"""Datagrams read in one turn: a flood must not delay the next tick."""
_ANSWER_OCTETS_MIN: Final = 128
_CONTROL_OCTETS: Final = socket.CMSG_SPACE(TIMESPEC_OCTETS) + socket.CMSG_SPACE(4)
_TTLS: Final = frozenset({(IPV4.level, IPV4.ttl_type), (IPV6.level, IPV6.ttl_type)})
_MALFORMED, _FOREIGN, _STALE = range(3)
"""Positions of the counters that `Sender.collect` returns."""

_encode_address: Final = lru_cache(4096)(encode_address)

Name = tuple[Any, ...]
"""Address and port of the other end, in the form of the socket module."""


class _Arrival(NamedTuple):
    """One datagram with the kernel's control data."""

    content: bytes
    is_cut: bool
    """Whether it was longer than its room."""
    source: Name
    wall_ns: int
    ttl: int


def _receive(opened: socket.socket, octets: int) -> _Arrival | None:
    """Receive a datagram; None: there is none. Raises OSError; ValueError: the receive time is missing."""
    try:
        content, controls, flags, source = opened.recvmsg(octets, _CONTROL_OCTETS, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    wall_ns = find_time(controls)
    ttl = next((int.from_bytes(value, sys.byteorder) for level, kind, value in controls if (level, kind) in _TTLS), None)
    if wall_ns is None or ttl is None:
        raise ValueError("the kernel did not send the control messages SCM_TIMESTAMPNS, and IP_TTL or IPV6_HOPLIMIT")
    return _Arrival(content, bool(flags & socket.MSG_TRUNC), source, wall_ns, ttl)


def _send(opened: socket.socket, content: bytes | memoryview, name: Name) -> int:
    """Send a datagram, without waiting; return the errno of a refusal, 0: there is none."""
    try:
        opened.sendto(content, socket.MSG_DONTWAIT, name)
    except OSError as error:
        return error.errno or 0
    return 0


class _Sockets:
    """Sockets by their descriptors, which belong to their opener: never closed here."""

    def __init__(self, descriptors: list[int]) -> None:
        self.opened = [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def __del__(self) -> None:
        for opened in self.opened:
            opened.detach()


class Sender:
    """Sends ticks and takes the answers; see `probes.sender.Sender`.

    Args:
        epoch_ns: the CLOCK_MONOTONIC reading that is 0 on the run clock.
        header: octets before the test packet: 0, or ICMP's 8.
        packets: shape (flows, octets): one datagram per flow.
        peers: shape (flows,): their destinations.
        pods: shape (pods, 3): descriptor; first flow and the one behind the last.
        ids: shape (flows,): FlowIds.
        index: SSID to place of the flow; -1: none.
        rows: SENDER_ROWs; the place of a probe is seq * flows + flow.
        stamps: shape (ticks that are remembered, pods): timestamps.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the arguments of the compiled one
        self,
        epoch_ns: int,
        header: int,
        packets: stamp.Octets,
        peers: Rows,
        pods: npt.NDArray[np.int32],
        ids: npt.NDArray[np.uint32],
        index: npt.NDArray[np.intp],
        rows: Rows,
        stamps: npt.NDArray[np.uint64],
    ) -> None:
        self._epoch_ns, self._header, self._index, self._rows, self._stamps = epoch_ns, header, index, rows, stamps
        self._packets = [memoryview(packet) for packet in packets]
        self._room = max(_ANSWER_OCTETS_MIN, packets.shape[1] + 64)
        family = IPV6 if peers.dtype == IPV6.sockaddr else IPV4
        self._reply = family.echo_reply
        self._peers = [(socket.inet_ntop(family.number, bytes(peer["address"])), int(peer["port"])) for peer in peers]
        self._sockets = _Sockets(pods[:, 0].tolist())
        self._flows = [range(first, last) for _, first, last in pods.tolist()]
        self._ids = ids.tolist()
        self._turns = 0

    def tick(self, seq: int, error: int) -> int:
        """Send a probe on every flow; return the longest time from a timestamp to the end of its calls, ns."""
        stamps, longest_ns = self._stamps[seq % len(self._stamps)], 0
        for pod, flows in enumerate(self._flows):
            opened, stamped_ns = self._sockets.opened[pod], time.monotonic_ns()
            timestamp = stamp.encode_ntp(time.time_ns())
            stamps[pod] = timestamp
            for flow in flows:
                packet = self._packets[flow]
                if self._header:
                    packet[6:8] = (seq & 0xFFFF).to_bytes(2, "big")  # ICMP's own sequence number
                stamp.write_tick(packet, self._header, seq=seq, timestamp=timestamp, error=error)
                began_ns = time.monotonic_ns() - self._epoch_ns
                refusal = _send(opened, packet, self._peers[flow])
                ended_ns = time.monotonic_ns() - self._epoch_ns
                self._rows[seq * len(self._ids) + flow] = make_row(self._ids[flow], seq, began_ns, ended_ns, refusal)
            longest_ns = max(longest_ns, time.monotonic_ns() - stamped_ns)
        return longest_ns

    def collect(self, ticks: int, offset_ns: int) -> tuple[int, ...]:
        """Receive pending answers and fill their rows; the first pod changes with each call.

        `ticks` were sent; `offset_ns` is wall time minus run clock. Returns how many answers were malformed, foreign, stale.
        """
        counted, taken, pods = [0, 0, 0], 0, len(self._flows)
        self._turns += 1
        for turn in range(self._turns, self._turns + pods):
            pod = turn % pods
            while taken < _TAKEN_MAX and (arrival := _receive(self._sockets.opened[pod], self._room)) is not None:
                taken += 1
                reason = self._take(pod, arrival, ticks, offset_ns)
                if reason is not None:
                    counted[reason] += 1
        return tuple(counted)

    def _take(self, pod: int, arrival: _Arrival, ticks: int, offset_ns: int) -> int | None:
        """Fill the row of an answer; return the reason for dropping it, or None."""
        answer = None if self._header else stamp.decode_answer(arrival.content)
        if answer is not None:
            ssid, seq, timestamp = answer.ssid, answer.sender_seq, answer.sender_timestamp
        elif self._header and len(arrival.content) >= self._header + stamp.PACKET_OCTETS and arrival.content[0] == self._reply:
            probe = stamp.read_probe(arrival.content, self._header)
            ssid, seq, timestamp = probe.ssid, probe.seq, probe.timestamp
        else:
            return _MALFORMED
        flow = int(self._index[ssid])
        if flow not in self._flows[pod] or arrival.source[:2] != self._peers[flow]:
            return _FOREIGN
        row = self._rows[seq * len(self._ids) + flow] if seq < ticks else None
        if row is None or row["send_errno"]:
            return _STALE
        if not row["copies"]:
            row["received"], row["return_ttl"] = arrival.wall_ns - offset_ns, arrival.ttl
            if answer is not None:
                row["reflector_received"] = stamp.decode_ntp(answer.received) - offset_ns
                row["reflector_sent"] = stamp.decode_ntp(answer.timestamp) - offset_ns
                row["forward_ttl"], row["reflector_seq"] = answer.sender_ttl, answer.seq
        row["copies"] = min(int(row["copies"]) + 1, _COPIES_MAX)
        is_forgotten = seq < ticks - len(self._stamps)
        is_known = is_forgotten or timestamp == self._stamps[seq % len(self._stamps), pod]
        if not is_known or not self._has_same_padding(arrival.content, self._packets[flow]):
            row["corrupted"] = 1
        return None

    def _has_same_padding(self, content: bytes, sent: memoryview) -> bool:
        """Return whether an answer has its probe's length and padding; of a TLV's flags a reflector may change all but M."""
        at = self._header + stamp.PACKET_OCTETS
        if len(content) != len(sent):
            return False
        if self._header or len(sent) == at:
            return content[at:] == sent[at:]
        return not content[at] & stamp.MALFORMED and content[at + 1 :] == sent[at + 1 :]


class Reflector:
    """Answers probes; see `probes.reflector.Reflector`.

    Args:
        epoch_ns: the CLOCK_MONOTONIC reading that is 0 on the run clock.
        room: octets of the longest probe that is answered.
        unanswered_max: how many probes beyond the rate go into the log.
        flows: `probes.reflector.FLOW` by SSID.
        sources: shape (SSIDs, n): the addresses that a flow may come from.
        pods: shape (pods,): `probes.reflector.POD`.
    """

    def __init__(self, epoch_ns: int, room: int, unanswered_max: int, flows: Rows, sources: Rows, pods: Rows) -> None:
        self._epoch_ns, self._room, self._unanswered_left = epoch_ns, room, unanswered_max
        self._sockets = _Sockets(pods["descriptor"].tolist())
        self._ids, self._next_seq, self._pods, self._tokens = flows["id"], flows["next_seq"], pods, pods["tokens"]
        known = np.flatnonzero(flows["pod"] >= 0).tolist()
        self._known = {flow: (int(flows["pod"][flow]), {one.tobytes() for one in sources[flow]}) for flow in known}
        """SSID to its pod and to the addresses that it may come from."""
        self._turns = 0

    def reflect(self, pods: list[int], error: int, offset_ns: int) -> tuple[bytes, tuple[int, ...]]:
        """Answer pending probes of these pods; the first pod changes with each call.

        `offset_ns` is wall time minus run clock. Returns REFLECTOR_ROWs, and the counters in the order of `reflector.COUNTED`.
        """
        malformed = foreign = probes = rate_limited = answered = malformed_tlvs = taken = 0
        rows: list[tuple[Any, ...]] = []
        self._turns += 1
        for turn in range(self._turns, self._turns + len(pods)):
            pod = pods[turn % len(pods)]
            opened = self._sockets.opened[pod]
            self._refill(self._pods[pod])
            while taken < _TAKEN_MAX and (arrival := _receive(opened, self._room)) is not None:
                taken += 1
                probe = None if arrival.is_cut else stamp.decode_probe(arrival.content)
                if probe is None:
                    malformed += 1
                    continue
                source = _encode_address(arrival.source[0])
                home, sources = self._known.get(probe.ssid, (-1, set()))
                if home != pod or source not in sources:
                    foreign += 1
                    continue
                probes += 1
                sent_ns, number = NONE_NS, UNANSWERED
                if self._tokens[pod] >= 1:
                    self._tokens[pod] -= 1
                    number = int(self._next_seq[probe.ssid])
                    self._next_seq[probe.ssid] += 1
                    sent_ns, is_malformed = self._answer(opened, arrival, probe, number, error)
                    answered += sent_ns != NONE_NS
                    malformed_tlvs += is_malformed
                else:
                    rate_limited += 1
                    self._unanswered_left -= 1
                    if self._unanswered_left < 0:
                        continue
                received_ns = arrival.wall_ns - offset_ns
                number &= 0xFFFF_FFFF
                rows.append((self._ids[probe.ssid], probe.seq, received_ns, sent_ns, arrival.ttl, number, source))
        send_errors = probes - rate_limited - answered
        counted = (malformed, foreign, probes, rate_limited, answered, send_errors, malformed_tlvs)
        return np.array(rows, dtype=REFLECTOR_ROW).tobytes(), counted

    def _answer(
        self, opened: socket.socket, arrival: _Arrival, probe: stamp.Probe, number: int, error: int
    ) -> tuple[int, bool]:
        """Answer a probe; return when, run clock (-1: the kernel refused), and whether a TLV of it is malformed."""
        tlvs, is_malformed = stamp.mark_tlvs(arrival.content[stamp.PACKET_OCTETS :])
        received = stamp.encode_ntp(arrival.wall_ns)
        timestamp, sent_ns = stamp.encode_ntp(time.time_ns()), time.monotonic_ns() - self._epoch_ns
        answer = stamp.answer_probe(probe, seq=number, timestamp=timestamp, received=received, error=error, ttl=arrival.ttl)
        return (NONE_NS if _send(opened, answer + tlvs, arrival.source) else sent_ns), is_malformed

    def _refill(self, bucket: np.void) -> None:
        now_ns = time.monotonic_ns() - self._epoch_ns
        filled = bucket["tokens"] + bucket["rate"] * (now_ns - bucket["refilled"])
        bucket["tokens"], bucket["refilled"] = min(filled, bucket["burst"]), now_ns
