"""The far end of TCP flows: what is answered, and what ends a connection."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.records import NONE_NS, ConnectionEvent, encode_address
from hitless.words import FlowClass
from probes.acceptor import Answering, Conversation, Times, TokenBucket
from probes.recording import UNANSWERED
from probes.settings import FlowSettings
from probes.stamp import (
    PACKET_OCTETS,
    Probe,
    encode_probe,
)
from probes.tcp_socket import connections_max, name_failure

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
PROBES = st.builds(Probe, seq=U32, timestamp=U64, error=U16, ssid=U16)


SOURCE, OTHER = encode_address("127.7.0.2"), encode_address("127.7.0.9")
WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""
TIMES = Times(received_ns=10, received_wall_ns=1_010, sent_ns=20, sent_wall_ns=1_020)


def make_answering(tokens: float = 1e9) -> Answering:
    flows = [
        FlowSettings(
            id=WIDE + ssid,
            ssid=ssid,
            source="a",
            source_address="127.7.0.2",
            destination="b",
            destination_address="127.7.0.3",
            flow_class=FlowClass.TCP_ESTABLISHED,
            rewritten_sources=rewritten,
        )
        for ssid, rewritten in ((1, ()), (2, ("127.7.0.9",)))
    ]
    return Answering(flows, TokenBucket(0, tokens, 0))


STREAM = st.lists(st.one_of(PROBES.map(encode_probe), PROBES.map(lambda one: encode_probe(one._replace(ssid=1, error=1)))))


@given(STREAM, st.binary(max_size=100), st.lists(st.integers(1, 100)), st.integers(0, 6))
def test_never_more_goes_out_than_came_however_the_stream_is_cut(
    frames: list[bytes], tail: bytes, cuts: list[int], tokens: int
) -> None:
    answering, conversation = make_answering(tokens), Conversation(source=SOURCE)
    stream, taken, answers = b"".join(frames) + tail, 0, b""
    rows: list[tuple[int | bytes, ...]] = []
    for size in [*cuts, len(stream)]:
        content, stream = stream[:size], stream[size:]
        taken += len(content)
        reply = answering.reply(conversation, content, TIMES, error=1)
        answers, rows = answers + reply.answers, rows + reply.rows
        assert len(answers) <= PACKET_OCTETS * (taken // PACKET_OCTETS)
        if reply.end:
            break
    assert len(answers) == PACKET_OCTETS * min(tokens, len(rows))
    assert [row[5] for row in rows] == [*range(min(tokens, len(rows))), *[UNANSWERED] * (len(rows) - tokens)]
    assert {row[0] for row in rows} <= {WIDE + 1, WIDE + 2}
    assert [row[3] for row in rows] == [20 if row[5] != UNANSWERED else NONE_NS for row in rows]


def test_a_source_counts_for_its_own_flows_alone() -> None:
    messages = {flow: encode_probe(Probe(seq=0, timestamp=0, error=1, ssid=flow)) for flow in (1, 2)}
    ends = {
        (flow, source): make_answering().reply(Conversation(source=source), content, TIMES, error=1).end
        for flow, content in messages.items()
        for source in (SOURCE, OTHER)
    }
    assert ends == {(1, SOURCE): "", (1, OTHER): "foreign", (2, SOURCE): "", (2, OTHER): ""}


@given(st.lists(st.integers(0, 1_000), max_size=200), st.floats(0, 0.1), st.integers(1, 20))
def test_a_bucket_lets_through_its_burst_and_its_rate(steps: list[int], rate: float, burst: int) -> None:
    bucket, now_ns, taken = TokenBucket(rate, burst, 0), 0, 0
    for step_ns in steps:
        now_ns += step_ns
        taken += bucket.take(now_ns)
        assert taken <= burst + rate * now_ns + 1e-6
    assert taken >= min(len(steps), burst)


def test_a_flow_holds_as_many_connections_as_it_can_have_reason_to() -> None:
    assert connections_max(FlowClass.TCP_CONNECT, 50_000_000, 2_000_000_000) == 61
    assert connections_max(FlowClass.TCP_CONNECT, 3_600_000_000_000, 2_000_000_000) == 2
    assert connections_max(FlowClass.TCP_ESTABLISHED, 50_000_000, 2_000_000_000) == 4


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ECONNREFUSED, ConnectionEvent.REFUSED),
        (errno.ETIMEDOUT, ConnectionEvent.TIMED_OUT),
        (errno.EHOSTUNREACH, ConnectionEvent.UNREACHABLE),
        (errno.ENETUNREACH, ConnectionEvent.UNREACHABLE),
    ],
)
def test_why_a_connection_was_not_made(number: int, what: ConnectionEvent) -> None:
    assert name_failure(number) is what
