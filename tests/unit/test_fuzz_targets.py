"""The fuzz targets without a fuzzer: their seeds, small changes to these, and noise. `make fuzz` goes on from there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitless.records import REFLECTOR_ROW
from probes import reflector, stamp
from probes import settings as settings_module
from probes.authentication import Authentication
from probes.replay import ReplayWindow
from probes.sender import Sender
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


def say_yes(_self: object, packets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.ones(min(len(packets), len(rows)), dtype=np.bool_)


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "broken"),
    [
        ("wire", stamp, "mark_tlvs", lambda *_: 0),
        ("wire", stamp, "is_answer", stamp.is_probe),
        ("reflector", Authentication, "is_authentic", say_yes),
        ("reflector", Authentication, "sign", lambda *_: None),
        ("reflector", ReplayWindow, "admit", say_yes),
        ("reflector", reflector, "is_reflected", lambda _, rows: np.zeros(len(rows), dtype=np.bool_)),
        ("sender", Authentication, "is_authentic", say_yes),
        ("sender", Sender, "_find_fresh", lambda _self, known, _flows, _seqs: known),
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
