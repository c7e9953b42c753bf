"""The estimators against the real tools, where there is one on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.estimators.estimate import make_path, read_flow
from bench.estimators.tools import make_fping
from bench.lab.beside_fping import watch_with_fping

PERIOD_MS = 200


@pytest.mark.skipif(shutil.which("fping") is None, reason="missing: fping (Debian package fping)")
@pytest.mark.parametrize(("length_ms", "wait_ms"), [(500, 30), (1500, 130)])
def test_fping_says_what_its_estimator_says(tmp_path: Path, length_ms: float, wait_ms: float) -> None:
    # Half a period beside a whole number of them: an echo that leaves a little late changes nothing.
    both = watch_with_fping(length_ms, wait_ms, PERIOD_MS, tmp_path)
    reading = read_flow(make_fping(PERIOD_MS), make_path(both.outages))
    least, most = reading.report
    assert most is not None
    assert least <= both.reported_ms <= most
    assert most - least <= 2 * PERIOD_MS
    assert reading.nothing == (0.0, 0.0)
