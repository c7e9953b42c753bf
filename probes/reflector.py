"""The session reflector: stateful, with a log of its own.

It answers a packet only if it is a STAMP test packet, names one of its flows and comes from that flow's source (or from what
that is known to be rewritten to) to that flow's destination; it never sends more octets than came, and no endpoint answers
faster than a bound well above the configured rate. Everything else is dropped and counted. What it received is logged, whatever
becomes of the answer: that is how the direction of every loss is known. Source: RFC 8762 4.3 (stateful mode), RFC 8972 3-4.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hitless.records import ADDRESS, NONE_NS, REFLECTOR_ROW, Rows, encode_address
from probes import stamp
from probes.batches import rank_equals
from probes.clocks import Bridge
from probes.families import family_of
from probes.inner_loop import DATAGRAMS, explain_failure
from probes.recording import GrowingTable
from probes.settings import AgentSettings
from probes.sockets import Inbox, Outbox, count_overflows, open_socket

RATE_MARGIN: Final = 4
"""An endpoint answers at most this many times its configured rate, on the average of a second."""
BURST_MIN: Final = 64
"""Allowed burst, however slow the flows are."""
UNANSWERED_ROWS_MAX: Final = 1_000_000
"""Logged probes beyond the rate limit, 31 MB; all are counted."""
UNANSWERED: Final = 0xFFFF_FFFF
"""reflector_seq of a probe that was logged but not answered because of the rate limit."""
_INBOX_SLOTS: Final = 1024
_INBOX_OCTETS_MIN: Final = 2048
"""Room for a test packet of any length that Ethernet carries: what is cut cannot be answered."""
_ROUNDS_MAX: Final = 8
"""Full inboxes in one go; a flood must not keep a sender in the same process waiting."""

_GATHERED_MIN: Final = 9
"""With this many flows a reflector waits for the rest of a tick: one batch costs less than several."""
_COUNTED: Final = ("malformed", "foreign", "probes", "rate_limited", "answered", "send_errors", "malformed_tlvs")
"""Counters of the compiled loop, in its order."""


class Reflector:
    """Answers the probes that come to the agent's endpoints.

    Args:
        settings: what the agent was told.
        bridge: converts times.
        log: where what came is recorded.
        datagrams: the compiled inner loop; None: Python's.

    Raises:
        WorldError: a socket is not available.
    """

    def __init__(
        self, settings: AgentSettings, bridge: Bridge, log: GrowingTable, datagrams: ModuleType | None = DATAGRAMS
    ) -> None:
        self._bridge, self._log = bridge, log
        self.counters: Counter[str] = Counter()
        flows = [flow for flow in settings.reflected_flows if not flow.flow_class.is_tcp]
        destinations = {flow.destination for flow in flows}
        endpoints = [endpoint for endpoint in settings.endpoints if endpoint.reflects and endpoint.name in destinations]
        self._sockets = [open_socket(endpoint.address, endpoint.port, endpoint.namespace) for endpoint in endpoints]
        self.descriptors = tuple(opened.fileno() for opened in self._sockets)
        """One a pod: readable when a probe has come."""
        self.comes_in_batches = len(flows) >= _GATHERED_MIN
        """Whether it pays to wait for the rest of a tick."""
        example = {flow.destination: flow.id for flow in flows}
        self.watched = [
            (endpoint.address, example[endpoint.name], opened)
            for endpoint, opened in zip(endpoints, self._sockets, strict=True)
        ]
        """Every pod's address, one of its flows and its socket, for the count of their drops."""
        self._pod_of_descriptor = {descriptor: index for index, descriptor in enumerate(self.descriptors)}
        pods = {endpoint.name: index for index, endpoint in enumerate(endpoints)}
        self._pod_of_flow = np.full(1 << 16, -1, dtype=np.intp)
        self._sources_of_flow = np.zeros(
            (1 << 16, 1 + max((len(flow.rewritten_sources) for flow in flows), default=0)), ADDRESS
        )
        """A flow's source, then what it may have been rewritten to on the way; all zero is no sender."""
        self._ids = np.zeros(1 << 16, dtype=np.uint32)
        self._next_seq = np.zeros(1 << 16, dtype=np.int64)
        self._place_of_flow = np.zeros(1 << 16, dtype=np.intp)
        for flow in flows:
            self._pod_of_flow[flow.ssid] = pods[flow.destination]
            self._ids[flow.ssid] = flow.id
            sources = [encode_address(address) for address in flow.sources]
            self._sources_of_flow[flow.ssid, : len(sources)] = sources
        self._inbox = Inbox(family_of(endpoints[0].address), _INBOX_SLOTS, max(_INBOX_OCTETS_MIN, settings.packet_octets))
        self._outbox = Outbox(self._inbox.payload, self._inbox.names)
        fields = stamp.view_probes(self._inbox.payload)
        self._ssids, self._seqs, self._timestamps = fields["ssid"], fields["seq"], fields["timestamp"]
        self._pod_of_slot = np.full(_INBOX_SLOTS, -1, dtype=np.intp)
        counts = np.bincount([pods[flow.destination] for flow in flows], minlength=len(pods)).astype(float)
        self._rate = RATE_MARGIN * counts / settings.interval_ns
        """Answers a nanosecond that each pod may send."""
        self._burst = np.maximum(BURST_MIN, self._rate * 1e9)
        self._tokens = self._burst.copy()
        self._refilled_ns = np.full(len(pods), self._bridge.now_ns(), dtype=np.int64)
        self._unanswered = 0
        self._turns = 0
        self._compiled = datagrams and datagrams.Reflector(
            settings.epoch_ns,
            self._inbox.payload.shape[1],
            UNANSWERED_ROWS_MAX,
            np.array(self.descriptors, dtype=np.int32),
            self._pod_of_flow,
            self._sources_of_flow,
            self._ids,
            self._next_seq,
            self._rate,
            self._burst,
            self._tokens,
            self._refilled_ns,
        )

    def reflect(self, ready: Iterable[int]) -> None:
        """Answer what has come to these descriptors; each time another is first: a flood to one must not hide the rest."""
        if self._compiled:
            self._reflect_compiled(self._compiled, ready)
            return
        inbox, waiting = self._inbox, [descriptor for descriptor in ready if descriptor in self._pod_of_descriptor]
        self._turns += 1
        first = self._turns % max(1, len(waiting))
        waiting = waiting[first:] + waiting[:first]
        for _ in range(_ROUNDS_MAX):
            count = 0
            for descriptor in waiting:
                got = inbox.receive(descriptor, count)
                self._pod_of_slot[count : count + got] = self._pod_of_descriptor[descriptor]
                count += got
                if count == inbox.slots:
                    break
            if count:
                self._answer(count)
            inbox.clear(count)
            if count < inbox.slots:
                return

    def _reflect_compiled(self, compiled: Any, ready: Iterable[int]) -> None:  # noqa: ANN401 - the module may be missing
        pods = [self._pod_of_descriptor[descriptor] for descriptor in ready if descriptor in self._pod_of_descriptor]
        try:
            rows, counted = compiled.reflect(pods, self._bridge.error, self._bridge.offset_ns)
        except (OSError, ValueError) as error:
            raise explain_failure("recvmmsg", error) from error
        for name, count in zip(_COUNTED, counted, strict=True):
            self.counters[name] += count
        if rows:
            self._log.write(rows)

    def finish(self) -> None:
        """Close the sockets and the log; count what the kernel dropped."""
        for opened in self._sockets:
            self.counters["receive_overflows"] += count_overflows(opened)
            opened.close()
        self._log.close()

    def _answer(self, count: int) -> None:
        inbox = self._inbox
        inbox.check_control(count)
        octets = inbox.octets(count)
        readable = stamp.is_probe(inbox.payload[:count], octets) & (octets <= inbox.payload.shape[1])
        flows = self._ssids[:count].astype(np.intp)
        pods = self._pod_of_slot[:count]
        known = readable & (self._pod_of_flow[flows] == pods)
        known &= (self._sources_of_flow[flows] == inbox.sources(count)[:, np.newaxis]).any(axis=1)
        slots = known.nonzero()[0]
        if len(slots) < count:
            read = int(np.count_nonzero(readable))
            self.counters["malformed"] += count - read
            self.counters["foreign"] += read - len(slots)
        if not len(slots):
            return
        self.counters["probes"] += len(slots)
        rows = self._make_rows(slots, flows[slots], count)
        allowed = self._is_allowed(pods[slots])
        if not allowed.all():
            self.counters["rate_limited"] += len(slots) - int(np.count_nonzero(allowed))
            rows["reflector_seq"][~allowed] = UNANSWERED
        answered = allowed.nonzero()[0]
        chosen = slots[answered]
        if len(chosen):
            rows["reflector_seq"][answered] = self._number(flows[chosen])
            stamp.turn_into_answers(
                inbox.payload,
                chosen,
                reflector_seqs=rows["reflector_seq"][answered],
                received=stamp.encode_ntp_batch(inbox.wall_ns(count)[chosen]),
                ttls=rows["ttl"][answered],
                error=self._bridge.error,
            )
            self.counters["malformed_tlvs"] += stamp.mark_tlvs(inbox.payload, chosen, octets[chosen])
            self._send(chosen, octets[chosen], rows, answered)
        self._log.append(rows if self._may_log(len(slots) - len(chosen)) else rows[answered])

    def _may_log(self, unanswered: int) -> bool:
        """Tell whether this many more unanswered probes still go into the log; a flood must not fill the disk."""
        self._unanswered += unanswered
        return self._unanswered <= UNANSWERED_ROWS_MAX

    def _make_rows(self, slots: npt.NDArray[np.intp], flows: npt.NDArray[np.intp], count: int) -> Rows:
        rows: Rows = np.zeros(len(slots), dtype=REFLECTOR_ROW)
        rows["flow"] = self._ids[flows]
        rows["seq"] = self._seqs[slots]
        rows["received"] = self._bridge.from_wall(self._inbox.wall_ns(count)[slots])
        rows["sent"] = NONE_NS
        rows["ttl"] = self._inbox.control["ttl"][slots]
        rows["source"] = self._inbox.sources(count)[slots]
        return rows

    def _number(self, flows: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Return the reflector's next sequence number for each answer. Source: RFC 8762 4.3: stateful."""
        places = np.arange(len(flows))
        self._place_of_flow[flows] = places
        numbers = self._next_seq[flows]
        if (self._place_of_flow[flows] != places).any():  # a flow stands twice in the batch
            numbers += rank_equals(flows)
        self._next_seq[flows] = numbers + 1  # equal flows are written in order: the largest stays
        return np.asarray(numbers & 0xFFFF_FFFF, dtype=np.int64)

    def _is_allowed(self, pods: npt.NDArray[np.intp]) -> stamp.Mask:
        """Take a token of the pod's bucket for each probe; those for which there is none are not answered."""
        now_ns = self._bridge.now_ns()
        np.minimum(self._burst, self._tokens + self._rate * (now_ns - self._refilled_ns), out=self._tokens)
        self._refilled_ns[:] = now_ns
        wanted = np.bincount(pods, minlength=len(self._tokens))
        allowed = np.ones(len(pods), dtype=np.bool_)
        if (wanted > self._tokens).any():
            allowed = rank_equals(pods) < np.floor(self._tokens)[pods]
            wanted = np.bincount(pods[allowed], minlength=len(self._tokens))
        self._tokens -= wanted
        return np.asarray(allowed, dtype=np.bool_)

    def _send(self, slots: npt.NDArray[np.intp], octets: npt.NDArray[Any], rows: Rows, places: npt.NDArray[np.intp]) -> None:
        """Send the answers, a call a pod, each with the time just before its call.

        Args:
            slots: slots of the inbox, those of one pod next to each other.
            octets: the length of each: as many as came.
            rows: the log's rows; `sent` is filled in.
            places: the row of each slot.
        """
        self._outbox.choose(slots, octets)
        pods = self._pod_of_slot[slots]
        borders = [0, *((pods[1:] != pods[:-1]).nonzero()[0] + 1).tolist(), len(pods)]
        for first, last in pairwise(borders):
            self._timestamps[slots[first:last]] = stamp.encode_ntp(time.time_ns())
            rows["sent"][places[first:last]] = self._bridge.now_ns()
            refused = self._outbox.send(self.descriptors[int(pods[first])], first, last)
            self.counters["answered"] += last - first - len(refused)
            for message in refused:
                self.counters["send_errors"] += 1
                rows["sent"][places[message]] = NONE_NS
