"""Single messages are what batches are: the same layouts, the same times, the same questions."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.records import NONE_NS, ConnectionEvent, encode_address
from hitless.words import FlowClass
from probes import stamp
from probes.answering import Answering, Conversation, KnownFlow, Times
from probes.limits import TokenBucket, connections_max
from probes.messages import (
    MESSAGE_OCTETS,
    Answer,
    Probe,
    decode_answer,
    decode_probe,
    encode_answer,
    encode_probe,
)
from probes.reflector import UNANSWERED
from probes.tcp_socket import name_failure

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
PROBES = st.builds(Probe, seq=U32, timestamp=U64, error=U16, ssid=U16)
ANSWERS = st.builds(
    Answer,
    seq=U32,
    timestamp=U64,
    error=U16,
    ssid=U16,
    received=U64,
    sender_seq=U32,
    sender_timestamp=U64,
    sender_error=U16,
    sender_ttl=U8,
)
CONTENT = st.binary(min_size=MESSAGE_OCTETS, max_size=MESSAGE_OCTETS)


@given(PROBES)
def test_a_probe_lies_on_the_wire_as_a_batch_has_it(probe: Probe) -> None:
    (row,) = np.frombuffer(encode_probe(probe), stamp.PROBE)
    assert [int(row[name]) for name in Probe._fields] == list(probe)
    assert not row["zero"].any()


@given(ANSWERS)
def test_an_answer_lies_on_the_wire_as_a_batch_has_it(answer: Answer) -> None:
    (row,) = np.frombuffer(encode_answer(answer), stamp.ANSWER)
    assert [int(row[name]) for name in Answer._fields] == list(answer)
    assert (int(row["zero_1"]), row["zero_2"].any()) == (0, False)


@given(CONTENT)
def test_what_is_a_message_is_decided_as_for_batches(content: bytes) -> None:
    packets, octets = np.frombuffer(content, np.uint8).reshape(1, -1), np.array([MESSAGE_OCTETS])
    assert (decode_probe(content) is not None) == bool(stamp.is_probe(packets, octets)[0])
    assert (decode_answer(content) is not None) == bool(stamp.is_answer(packets, octets)[0])


@given(U64)
def test_a_timestamp_is_read_as_in_batches(timestamp: int) -> None:
    assert stamp.decode_ntp(timestamp) == stamp.decode_ntp_batch(np.array([timestamp], np.uint64))[0]


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_every_nanosecond_survives_the_way_there_and_back(wall_ns: int) -> None:
    assert stamp.decode_ntp(stamp.encode_ntp(wall_ns)) == wall_ns


SOURCE, OTHER = encode_address("127.7.0.2"), encode_address("127.7.0.9")
WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""
TIMES = Times(received_ns=10, received_wall_ns=1_010, sent_ns=20, sent_wall_ns=1_020)


def make_answering(tokens: float = 1e9) -> Answering:
    flows = {
        1: KnownFlow(id=WIDE + 1, flow_class=FlowClass.TCP_ESTABLISHED, sources=frozenset({SOURCE})),
        2: KnownFlow(id=WIDE + 2, flow_class=FlowClass.TCP_CONNECT, sources=frozenset({SOURCE, OTHER})),
    }
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
        assert len(answers) <= MESSAGE_OCTETS * (taken // MESSAGE_OCTETS)
        if reply.end:
            break
    assert len(answers) == MESSAGE_OCTETS * min(tokens, len(rows))
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
