"""Answers of the far end of TCP flows. Pure, so that any input can be tested.

A valid message of a flow that ends here, from that flow's source, is answered. Anything else ends
the connection, because its framing is not reliable any more. 44 octets are sent for 44 received. Source: RFC 8762 4.3
(stateful mode).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from hitless.records import NONE_NS, encode_address
from probes.recording import UNANSWERED
from probes.settings import FlowSettings
from probes.stamp import PACKET_OCTETS, Probe, answer_probe, decode_probe, encode_ntp


class TokenBucket:
    """Lets through at most a rate on average, and at most a burst at once.

    Args:
        rate: tokens a nanosecond.
        burst: tokens that it holds; it begins full.
        now_ns: any clock.
    """

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._filled_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take a token; False: there is none."""
        self._tokens = min(self._burst, self._tokens + self._rate * (now_ns - self._filled_ns))
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True, kw_only=True)
class Conversation:
    """State of one connection, derived from its messages."""

    source: bytes
    """Source address of the other end as received, as a number."""
    ssid: int = 0
    """SSID of its flow; 0: no message has arrived yet."""
    inbox: bytearray = field(default_factory=bytearray)
    """The beginning of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of one read."""

    received_ns: int
    """Run clock."""
    received_wall_ns: int
    """CLOCK_REALTIME."""
    sent_ns: int
    """Run clock, just before the answers are handed over."""
    sent_wall_ns: int
    """CLOCK_REALTIME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answers to received messages, and the rows for the log."""

    answers: bytes
    """To be sent back."""
    rows: list[tuple[int | bytes, ...]]
    """REFLECTOR_ROWs, one per message."""
    end: str
    """Counter for the reason that ends the connection, `malformed` or `foreign`; empty: it continues."""


class Answering:
    """Answers for one endpoint.

    Args:
        flows: the flows that end here.
        bucket: one token per answer.
    """

    def __init__(self, flows: Collection[FlowSettings], bucket: TokenBucket) -> None:
        self.flows = {flow.ssid: flow for flow in flows}
        self.sources = {flow.ssid: frozenset(map(encode_address, flow.sources)) for flow in flows}
        """SSID to the addresses that its flow may come from, as in a row."""
        self._bucket = bucket
        self._next_seq = dict.fromkeys(self.flows, 0)

    def reply(self, conversation: Conversation, content: bytes, times: Times, error: int) -> Reply:
        """Return the answers to received data, up to the first invalid message.

        Args:
            conversation: that of the connection; updated.
            content: received octets, cut anywhere.
            times: when.
            error: our Error Estimate.
        """
        conversation.inbox += content
        probes, end = self._read(conversation)
        answers: list[bytes] = []
        rows: list[tuple[int | bytes, ...]] = []
        received, sent = encode_ntp(times.received_wall_ns), encode_ntp(times.sent_wall_ns)
        for probe in probes:
            number, sent_ns = UNANSWERED, NONE_NS
            if self._bucket.take(times.sent_ns):
                number, sent_ns = self._next_seq[probe.ssid] & 0xFFFF_FFFF, times.sent_ns
                self._next_seq[probe.ssid] += 1
                answers.append(answer_probe(probe, seq=number, timestamp=sent, received=received, error=error, ttl=0))
            rows.append((self.flows[probe.ssid].id, probe.seq, times.received_ns, sent_ns, 0, number, conversation.source))
        return Reply(answers=b"".join(answers), rows=rows, end=end)

    def _read(self, conversation: Conversation) -> tuple[list[Probe], str]:
        """Return the complete messages, and the reason for the end of the data."""
        probes: list[Probe] = []
        inbox = conversation.inbox
        while len(inbox) >= PACKET_OCTETS:
            probe = decode_probe(inbox[:PACKET_OCTETS])
            del inbox[:PACKET_OCTETS]
            if probe is None:
                return probes, "malformed"
            if conversation.source not in self.sources.get(probe.ssid, ()) or conversation.ssid not in (0, probe.ssid):
                return probes, "foreign"
            conversation.ssid = probe.ssid
            probes.append(probe)
        return probes, ""
