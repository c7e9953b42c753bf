"""Signing, checking, and the memory of what was seen: against the standard library's HMAC and a plain model."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.authentication import KEY_OCTETS, Authentication, make_key
from probes.replay import PLACES_MAX, PLACES_MIN, ReplayWindow, count_places

KEY = bytes(range(KEY_OCTETS))
PACKETS = st.lists(st.binary(min_size=112, max_size=112), min_size=1, max_size=6)


def lay(*contents: bytes, octets: int = 200) -> np.ndarray:
    packets = np.zeros((len(contents), octets), dtype=np.uint8)
    for row, content in zip(packets, contents, strict=True):
        row[: len(content)] = np.frombuffer(content, dtype=np.uint8)
    return packets


@given(st.binary(min_size=KEY_OCTETS, max_size=KEY_OCTETS), PACKETS)
def test_the_signature_is_the_first_half_of_an_hmac_sha_256_over_96_octets(key: bytes, contents: list[bytes]) -> None:
    packets = lay(*contents)
    before = packets.copy()
    rows = np.arange(0, len(contents), 2)  # the others stay as they came
    Authentication(key).sign(packets, rows)
    for row in rows:
        expected = hmac.new(key, before[row, :96].tobytes(), hashlib.sha256).digest()[:16]
        assert packets[row].tobytes() == before[row, :96].tobytes() + expected + before[row, 112:].tobytes()
    assert (packets[1::2] == before[1::2]).all()


@given(PACKETS, st.integers(0, 111), st.integers(1, 255))
def test_what_was_changed_anywhere_is_not_authentic_and_the_others_are(contents: list[bytes], at: int, change: int) -> None:
    packets, rows = lay(*contents), np.arange(len(contents))
    authentication = Authentication(KEY)
    authentication.sign(packets, rows)
    packets[-1, at] ^= change
    assert authentication.is_authentic(packets, rows).tolist() == [True] * (len(contents) - 1) + [False]


@given(PACKETS)
def test_another_key_signs_nothing_for_us(contents: list[bytes]) -> None:
    packets, rows = lay(*contents), np.arange(len(contents))
    Authentication(bytes(KEY_OCTETS)).sign(packets, rows)
    assert Authentication(KEY).is_authentic(packets, rows).tolist() == [False] * len(contents)


def test_no_packets_need_no_work() -> None:
    packets, rows = lay(bytes(112)), np.array([], dtype=np.intp)
    Authentication(KEY).sign(packets, rows)
    assert Authentication(KEY).is_authentic(packets, rows).tolist() == []
    assert not packets.any()


def test_a_key_is_32_octets_and_never_the_same() -> None:
    assert len({make_key() for _ in range(5)}) == 5
    assert {len(make_key()) for _ in range(5)} == {KEY_OCTETS}
    for octets in (0, 16, 33):
        with pytest.raises(ValueError, match="32 are needed"):
            Authentication(bytes(octets))


def test_a_key_does_not_show_itself() -> None:
    assert KEY.hex() not in repr(Authentication(KEY)) + str(vars(Authentication(KEY)))


def admit_one_by_one(places: int, packets: list[tuple[int, int]]) -> list[bool]:
    """The rule in words: refuse what its place has seen, or what a newer number has driven out of it."""
    newest: dict[tuple[int, int], int] = {}
    found = []
    for flow, seq in packets:
        place = (flow, seq % places)
        found.append(seq > newest.get(place, -1))
        newest[place] = max(seq, newest.get(place, -1))
    return found


NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1), st.integers(2**32 - 20, 2**32 - 1))
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 2), NUMBERS), max_size=12), max_size=6)


@given(st.sampled_from([8, 16]), BATCHES)
def test_batches_are_judged_as_if_packets_came_one_by_one(places: int, batches: list[list[tuple[int, int]]]) -> None:
    window = ReplayWindow(3, places)
    found = [
        verdict
        for batch in batches
        for verdict in window.admit(
            np.array([flow for flow, _ in batch], dtype=np.intp), np.array([seq for _, seq in batch], dtype=">u4")
        ).tolist()
    ]
    packets = [packet for batch in batches for packet in batch]
    assert found == admit_one_by_one(places, packets)
    admitted = [packet for packet, is_new in zip(packets, found, strict=True) if is_new]
    assert len(set(admitted)) == len(admitted)


@given(st.permutations(range(64)))
def test_whatever_the_order_every_number_of_a_ring_is_admitted_once(order: list[int]) -> None:
    window, flows = ReplayWindow(1, 64), np.zeros(64, dtype=np.intp)
    assert window.admit(flows, np.array(order, dtype=np.uint32)).all()
    assert not window.admit(flows, np.array(order, dtype=np.uint32)).any()


@pytest.mark.parametrize(
    ("interval_ns", "late_ns", "places"),
    [
        (5_000_000, 2_000_000_000, PLACES_MIN),
        (1_000_000, 2_000_000_000, 4096),
        (50_000, 2_000_000_000, PLACES_MAX),
        (50_000, 600_000_000_000, PLACES_MAX),
        (3_600_000_000_000, 0, PLACES_MIN),
    ],
)
def test_the_ring_is_as_long_as_probes_may_be_late(interval_ns: int, late_ns: int, places: int) -> None:
    assert count_places(interval_ns, late_ns) == places
