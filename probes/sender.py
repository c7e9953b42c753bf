"""The session sender: one probe to every peer a tick, and the answers that come back.

A tick is one `sendmmsg` a source pod. It waits for no answer: the kernel stamps answers when they come, and they are fetched in
batches after a tick, so that one wake-up serves all pods in both directions. Every probe has its row in the record before
its answer is looked for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from hitless.records import Rows
from probes import stamp
from probes.batches import rank_equals
from probes.clocks import Bridge
from probes.families import family_of, pack_address
from probes.inner_loop import DATAGRAMS, explain_failure
from probes.recording import GrowingTable
from probes.settings import AgentSettings
from probes.sockets import Inbox, Outbox, count_overflows, open_socket
from probes.ticked_sender import TickedSender

COLLECT_NS_MIN: Final = 4_000_000
COLLECT_NS_MAX: Final = 100_000_000
"""Answers are fetched once in such a time. Measured at 12 flows and 1,000 Hz: fetching every tick costs twice the CPU."""
_WAITING_ANSWERS: Final = 64
"""Answers are fetched sooner once this many may be queued on a socket: the smallest usual buffers (rmem_max of 208 KiB) hold
about 250."""
_INBOX_SLOTS: Final = 1024
_ROUNDS_MAX: Final = 8
"""Full inboxes in one fetch; a flood must not keep the next tick waiting."""
_REMEMBERED_TICKS: Final = 1 << 17
"""Ticks whose timestamps are remembered; the echo in a later answer is trusted."""
_COPIES_MAX: Final = 255
_DROPPED_AS: Final = ("malformed", "foreign", "stale")
"""Counters of the questions that are asked of an answer, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    """What a tick needs of one source pod; the arrays are views."""

    descriptor: int
    first: int
    """Its flows are first, ..., last - 1."""
    last: int
    timestamps: npt.NDArray[Any]
    send_began: npt.NDArray[np.int64]
    send_ended: npt.NDArray[np.int64]


class Sender(TickedSender):
    """Sends and records the datagram flows of the agent's endpoints.

    Args:
        settings: what the agent was told.
        bridge: converts the kernel's receive times.
        skipped: where skipped ticks are recorded.
        facts: go into the header of the record.
        datagrams: the compiled inner loop; None: Python's.

    Raises:
        WorldError: a socket or the record file is not available.
    """

    is_echo: ClassVar[bool] = False
    """Whether it sends ICMP instead of UDP."""
    header_octets: ClassVar[int] = 0
    """What stands before the test packet in the datagrams that the kernel takes and gives."""

    def __init__(
        self,
        settings: AgentSettings,
        bridge: Bridge,
        skipped: GrowingTable,
        facts: dict[str, Any],
        datagrams: ModuleType | None = DATAGRAMS,
    ) -> None:
        super().__init__(settings, bridge, skipped, facts)
        flows = settings.sent_flows
        self._count = len(flows)
        ssids = np.array([flow.ssid for flow in flows], dtype=np.uint16)
        self._packets = self._make_packets(ssids)
        self._probes = stamp.view_probes(self._packets, self.header_octets)
        self._seqs, self._errors = self._probes["seq"], self._probes["error"]
        family = self._family = family_of(flows[0].sent_to)
        self._peers: Rows = np.zeros(self._count, dtype=family.sockaddr)
        self._peers["family"] = family.number
        self._peers["address"] = [pack_address(flow.sent_to) for flow in flows]
        # Of an echo reply the kernel names no port.
        self._peers["port"] = 0 if self.is_echo else [flow.port for flow in flows]
        self._outbox = Outbox(self._packets, self._peers)
        self._inbox = Inbox(family, _INBOX_SLOTS, max(128, self._packets.shape[1] + 64))
        self._pod_of_slot = np.zeros(_INBOX_SLOTS, dtype=np.intp)
        self._index_of = np.full(1 << 16, -1, dtype=np.intp)
        self._index_of[ssids] = np.arange(self._count)
        self._open(settings)
        self._stamps = np.zeros((min(settings.ticks_max, _REMEMBERED_TICKS), len(self._pods)), dtype=np.uint64)
        self._collected_ns = 0
        most = max(pod.last - pod.first for pod in self._pods)
        self._collect_ns = min(COLLECT_NS_MAX, max(COLLECT_NS_MIN, _WAITING_ANSWERS * settings.interval_ns // most))
        self._turns = 0
        self._compiled = datagrams and datagrams.Sender(
            settings.epoch_ns,
            self.header_octets,
            self._packets,
            self._peers,
            np.array([(pod.descriptor, pod.first, pod.last) for pod in self._pods], dtype=np.int32),
            self._ids,
            self._index_of,
            self._table.rows,
            self._stamps,
        )

    def _make_packets(self, ssids: npt.NDArray[np.uint16]) -> stamp.Octets:
        """Return one datagram a flow with everything that stays the same from tick to tick."""
        seed = self._settings.phase_seed or 0
        return stamp.make_probes(ssids, self._settings.packet_octets, padding_seed=seed)

    def _open(self, settings: AgentSettings) -> None:
        flows = settings.sent_flows
        names = list(dict.fromkeys(flow.source for flow in flows))
        endpoints = {endpoint.name: endpoint for endpoint in settings.endpoints}
        self._pod_of_flow = np.array([names.index(flow.source) for flow in flows], dtype=np.intp)
        self._sockets = [
            open_socket(endpoints[name].address, 0, endpoints[name].namespace, is_echo=self.is_echo) for name in names
        ]
        example = {flow.source: flow.id for flow in flows}
        self.watched = [
            (endpoints[name].address, example[name], opened) for name, opened in zip(names, self._sockets, strict=True)
        ]
        """Every pod's address, one of its flows and its socket, for the count of their drops."""
        line, pods = self._table.line, []
        for index, opened in enumerate(self._sockets):
            mine = np.flatnonzero(self._pod_of_flow == index)
            first, last = int(mine[0]), int(mine[-1]) + 1
            pods.append(
                _Pod(
                    descriptor=opened.fileno(),
                    first=first,
                    last=last,
                    timestamps=self._probes["timestamp"][first:last],
                    send_began=line["send_began_ns"][first:last],
                    send_ended=line["send_ended_ns"][first:last],
                )
            )
        self._pods = tuple(pods)

    def step(self) -> None:
        """Send the tick that is due, if one is, and fetch answers if it is time."""
        now_ns = self.now_ns()
        if self._is_tick_due(now_ns):
            self._tick()
        if now_ns - self._collected_ns >= self._collect_ns:
            self._collected_ns = now_ns
            self.collect()

    def collect(self) -> None:
        """Fetch the answers that have come, of all pods, and fill their rows; each time another pod comes first."""
        if self._compiled:
            try:
                dropped = self._compiled.collect(self.ticks, self._bridge.offset_ns)
            except (OSError, ValueError) as error:
                raise explain_failure("recvmmsg", error) from error
            if any(dropped):
                self.counters.update(dict(zip(_DROPPED_AS, dropped, strict=True)))
            return
        inbox = self._inbox
        self._turns += 1
        first = self._turns % len(self._pods)
        in_turn = [*enumerate(self._pods)][first:] + [*enumerate(self._pods)][:first]
        for _ in range(_ROUNDS_MAX):
            count = 0
            for index, pod in in_turn:
                got = inbox.receive(pod.descriptor, count)
                if got:
                    self._pod_of_slot[count : count + got] = index
                    count += got
                    if count == inbox.slots:
                        break
            if count:
                self._take(count)
                inbox.clear(count)
            if count < inbox.slots:
                return

    def hang_up(self) -> None:
        """Do nothing: datagrams have no connections."""

    def finish(self) -> None:
        """Close the sockets and the records; count what the kernel dropped."""
        for opened in self._sockets:
            self.counters["receive_overflows"] += count_overflows(opened)
            opened.close()
        super().finish()

    def _tick(self) -> None:
        if self._compiled:
            self._note_call(0, self._compiled.tick(self.ticks, self._bridge.error))
            self.ticks += 1
            return
        seq, line = self.ticks, self._table.line
        self._mark(seq)
        self._errors[:] = self._bridge.error
        line["seq"] = seq
        stamps = self._stamps[seq % len(self._stamps)]
        for index, pod in enumerate(self._pods):
            stamped_ns = self.now_ns()
            timestamp = stamp.encode_ntp(time.time_ns())
            pod.timestamps[:] = timestamp
            stamps[index] = timestamp
            began_ns = self.now_ns()
            refused = self._outbox.send(pod.descriptor, pod.first, pod.last)
            ended_ns = self.now_ns()
            pod.send_began[:] = began_ns
            pod.send_ended[:] = ended_ns
            self._note_call(stamped_ns, ended_ns)
            for place, number in refused.items():
                line["send_errno"][place] = number
            self._table.write(seq, pod.first, pod.last)
            for place in refused:
                line["send_errno"][place] = 0
        self.ticks += 1

    def _mark(self, seq: int) -> None:
        """Write a tick's sequence number into all packets."""
        self._seqs[:] = seq

    def _take(self, count: int) -> None:
        """Fill the rows of a batch of answers. Each is looked at in the order of arrival."""
        inbox = self._inbox
        inbox.check_control(count)
        readable, ssids, sent_seqs = self._read(count)
        flows = self._index_of[ssids]
        peers = self._peers[flows]  # where the flow is unknown this is the last one, and `mine` is false
        mine = readable & (flows >= 0) & (self._pod_of_flow[flows] == self._pod_of_slot[:count])
        mine &= (inbox.names["address"][:count] == peers["address"]) & (inbox.names["port"][:count] == peers["port"])
        seqs = sent_seqs.astype(np.int64)
        known = mine & (seqs < self.ticks)
        places = np.where(known, seqs * self._count + flows, 0)
        known &= self._table.rows["send_errno"][places] == 0
        self._count_dropped(readable, mine, known)
        kept = np.flatnonzero(known)
        if len(kept):
            self._fill(kept, places[kept], flows[kept], seqs[kept])

    def _count_dropped(self, *kept: stamp.Mask) -> None:
        """Count what was dropped, given what was left after each question."""
        left = len(kept[0])
        for reason, mask in zip(_DROPPED_AS, kept, strict=True):
            passed = int(np.count_nonzero(mask))
            self.counters[reason] += left - passed
            left = passed

    def _fill(
        self,
        slots: npt.NDArray[np.intp],
        places: npt.NDArray[np.int64],
        flows: npt.NDArray[np.intp],
        seqs: npt.NDArray[np.int64],
    ) -> None:
        """Write answers into their rows: the first one fills, all are counted, a false echo is marked."""
        rows, count = self._table.rows, int(slots[-1]) + 1
        rank = rank_equals(places)
        copies = rows["copies"][places]
        first = (rank == 0) & (copies == 0)
        at, came = places[first], slots[first]
        rows["received"][at] = self._bridge.from_wall(self._inbox.wall_ns(count)[came])
        rows["return_ttl"][at] = self._inbox.control["ttl"][came]
        self._fill_far_end(rows, at, came)
        # Equal places are written in order of arrival, so that the last and largest count stays.
        rows["copies"][places] = np.minimum(copies + rank + 1, _COPIES_MAX)
        false = ~self._is_true_echo(slots, flows, seqs)
        if false.any():
            rows["corrupted"][places[false]] = 1

    def _sent_stamps(self, flows: npt.NDArray[np.intp], seqs: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the timestamps that these probes bore."""
        return np.asarray(self._stamps[seqs % len(self._stamps), self._pod_of_flow[flows]], dtype=np.uint64)

    def _is_forgotten(self, seqs: npt.NDArray[np.int64]) -> stamp.Mask:
        """Tell of which probes the timestamp is no longer known."""
        return np.asarray(seqs < self.ticks - len(self._stamps), dtype=np.bool_)

    # What follows knows what an answer looks like.

    def _read(self, count: int) -> tuple[stamp.Mask, stamp.Integers, stamp.Integers]:
        """Return which datagrams of a batch are answers at all, and the flow and sequence number that each names."""
        payload = self._inbox.payload[:count]
        answers = stamp.view_answers(payload)
        is_answer = stamp.is_answer(payload, self._inbox.octets(count))
        return is_answer, answers["ssid"], answers["sender_seq"]

    def _fill_far_end(self, rows: Rows, at: npt.NDArray[np.int64], slots: npt.NDArray[np.intp]) -> None:
        """Write what the answers say of the far end."""
        came = stamp.view_answers(self._inbox.payload)[slots]
        rows["reflector_received"][at] = self._bridge.from_wall(stamp.decode_ntp_batch(came["received"]))
        rows["reflector_sent"][at] = self._bridge.from_wall(stamp.decode_ntp_batch(came["timestamp"]))
        rows["forward_ttl"][at] = came["sender_ttl"]
        rows["reflector_seq"][at] = came["seq"]

    def _is_true_echo(
        self, slots: npt.NDArray[np.intp], flows: npt.NDArray[np.intp], seqs: npt.NDArray[np.int64]
    ) -> stamp.Mask:
        """Tell which answers bring back what was sent: timestamp, length and padding."""
        answers = stamp.view_answers(self._inbox.payload)[slots]
        true = self._is_forgotten(seqs) | (answers["sender_timestamp"] == self._sent_stamps(flows, seqs))
        true &= self._inbox.octets(int(slots[-1]) + 1)[slots] == self._settings.packet_octets
        if self._settings.packet_octets > stamp.PACKET_OCTETS:
            true &= stamp.has_same_padding(self._inbox.payload[slots], self._packets[flows])
        return np.asarray(true, dtype=np.bool_)
