"""Orders: what a line means, however the pipe cuts it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.lifeline import Order, OrderKind, OrderReader, encode_order, parse_order

TIMES = st.integers(min_value=-(1 << 62), max_value=1 << 62)
TIMED = st.builds(Order, kind=st.sampled_from((OrderKind.SEND, OrderKind.STOP)), at_ns=TIMES)
ORDERS = st.one_of(TIMED, st.just(Order(kind=OrderKind.END)))


@given(orders=st.lists(ORDERS, max_size=5), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_every_order_arrives_however_the_pipe_cuts_it(orders: list[Order], cuts: list[int]) -> None:
    stream = b"".join(json.dumps(encode_order(order)).encode() + b"\n" for order in orders)
    reader = OrderReader()
    found: list[Order] = []
    place = turn = 0
    while place < len(stream):
        size = cuts[turn % len(cuts)]
        found += reader.feed(stream[place : place + size])
        place, turn = place + size, turn + 1
    assert found == orders


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"end",
        b"[]",
        b'{"order": "END"}',
        b'{"order": [1], "at_ns": 1}',
        b'{"order": "send"}',
        b'{"order": "send", "at_ns": "1"}',
        b'{"order": "stop", "at_ns": true}',
        b'{"order": "stop", "at_ns": 1.5}',
        b"\xff\xfe",
        b"[" * 3000,
    ],
)
def test_what_is_no_order_is_ignored(line: bytes) -> None:
    assert parse_order(line) is None


def test_a_line_without_end_takes_no_memory() -> None:
    reader = OrderReader()
    for _ in range(100):
        assert list(reader.feed(b"x" * 4096)) == []
    assert len(reader._rest) == 4096
