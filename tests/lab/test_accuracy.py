"""Injected truth: whatever an outage's length and phase, the measured bounds must be compatible with it, every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab.accuracy import measure_accuracy
from tests.lab.needs import second_cpu

OUTAGES = 24
FLOWS_THROUGH_THE_ROUTER = 8


@pytest.mark.parametrize("rate_hz", [200, pytest.param(1000, marks=second_cpu("1,000 probes per second per flow"))])
def test_the_bounds_hold_for_every_outage(tmp_path: Path, rate_hz: float) -> None:
    accuracy = measure_accuracy(rate_hz, OUTAGES, tmp_path, seed=round(rate_hz))
    assert [sample for sample in accuracy.samples if not sample.holds] == []
    assert accuracy.false_outages == ()
    assert len(accuracy.samples) == OUTAGES * FLOWS_THROUGH_THE_ROUTER
    seen = [sample for sample in accuracy.samples if sample.outage is not None]
    assert len(seen) > len(accuracy.samples) // 2
