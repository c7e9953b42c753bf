"""The fuzz targets without a fuzzer: their seeds, small changes to these, and noise. `make fuzz` goes on from there."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitless.records import REFLECTOR_ROW
from probes import datagrams, stamp
from probes import settings as settings_module
from tests.fuzz import documents
from tests.fuzz.target import Check, Target
from tests.fuzz.targets import TARGETS


@pytest.fixture(scope="module", params=list(TARGETS.values()), ids=list(TARGETS))
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[Target, Check]]:
    target: Target = request.param
    with target.open() as check:
        yield target, check


def test_every_seed_keeps_the_promises(opened: tuple[Target, Check]) -> None:
    target, check = opened
    for seed in target.seeds:
        check(seed)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_seeds_and_noise_keep_them_too(opened: tuple[Target, Check], data: st.DataObject) -> None:
    target, check = opened
    content = bytearray(data.draw(st.one_of(st.sampled_from(target.seeds), st.binary(max_size=300))))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    check(bytes(content))


def try_seeds(target: Target) -> None:
    with target.open() as check:
        for seed in target.seeds:
            check(seed)


def decode_any_probe(content: bytes) -> stamp.Probe:
    return stamp.read_probe(content.ljust(44, b"\1"))


def decode_any_answer(content: bytes) -> stamp.Answer:
    return stamp.Answer(*struct.unpack(">IQHHQIQH2xB3x", content[:44].ljust(44, b"\1")))


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "broken"),
    [
        ("wire", stamp, "mark_tlvs", lambda tlvs: (tlvs, False)),
        ("wire", stamp, "decode_answer", decode_any_answer),
        ("reflector", stamp, "decode_probe", decode_any_probe),
        ("reflector", stamp, "answer_probe", lambda *_, **__: bytes(44)),
        ("sender", stamp, "decode_answer", decode_any_answer),
        ("sender", datagrams, "_COPIES_MAX", 1),
        ("settings", settings_module, "_check_together", lambda *_: None),
        ("record", documents, "read_record", lambda _path: ({"table": "clock"}, np.zeros(1, dtype=REFLECTOR_ROW))),
    ],
)
def test_a_broken_promise_is_seen_with_the_seeds_alone(
    name: str, owner: object, attribute: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(AssertionError):
        try_seeds(TARGETS[name])
