"""What every Prober must do: the conformance suite of the port, with real packets.

A test module takes the suite in by subclassing `ProberConformance` and giving three fixtures: `prober`, an implementation that
was never started and whose endpoints reach each other; `flows`, some small UDP flows between them, of two sources at least;
and `clock`, whose epoch the probers' agents are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hitless.clock import RunClock
from hitless.errors import BugError
from hitless.facts import Flow, ProbeSpec
from hitless.ports import Prober
from hitless.words import MILLISECOND, SECOND, Nanoseconds

PROBING = ProbeSpec(
    interval_ns=Nanoseconds(10 * MILLISECOND),
    drain_ns=Nanoseconds(1 * SECOND),
    duration_ns_max=Nanoseconds(120 * SECOND),
)
LIVE_S = 60


def probe(prober: Prober, flows: Sequence[Flow], clock: RunClock, directory: Path, length_ms: int = 300) -> None:
    """Probe until every flow is live, and then for a while."""
    prober.start(flows, PROBING, directory, clock.epoch_ns)
    deadline_ns = clock.now_ns() + LIVE_S * SECOND
    while not prober.is_live():
        assert clock.now_ns() < deadline_ns
        clock.wait_until(Nanoseconds(clock.now_ns() + 10 * MILLISECOND))
    clock.wait_until(Nanoseconds(clock.now_ns() + length_ms * MILLISECOND))
    prober.stop()


class ProberConformance:
    def test_before_it_starts_it_is_not_live_has_no_records_and_may_be_stopped(self, prober: Prober) -> None:
        assert not prober.is_live()
        prober.stop()
        with pytest.raises(BugError):
            prober.collect()

    def test_both_ends_know_of_every_probe(
        self, prober: Prober, flows: Sequence[Flow], clock: RunClock, tmp_path: Path
    ) -> None:
        began_ns = clock.now_ns()
        probe(prober, flows, clock, tmp_path / "run")
        prober.stop()
        records = prober.collect()
        assert set(records.sender["flow"].tolist()) == {flow.id for flow in flows}
        assert records.sender["copies"].tolist() == [1] * records.sender.size
        assert np.array_equal(np.sort(records.reflector[["flow", "seq"]]), records.sender[["flow", "seq"]])
        # All of it on the run clock, in the order in which it came about.
        stages = [records.sender[name] for name in ("send_began_ns", "reflector_received", "reflector_sent", "received")]
        slack_ns = records.clock_bound_ns + MILLISECOND
        assert all((earlier <= later + slack_ns).all() for earlier, later in pairwise(stages))
        assert began_ns - slack_ns - records.run_clock_bound_ns <= stages[0].min()
        assert stages[-1].max() <= clock.now_ns() + slack_ns + records.run_clock_bound_ns

    def test_every_agent_reports_and_has_a_clock(
        self, prober: Prober, flows: Sequence[Flow], clock: RunClock, tmp_path: Path
    ) -> None:
        probe(prober, flows, clock, tmp_path / "run", length_ms=10)
        records = prober.collect()
        assert all(report.finished for report in records.reports)
        assert set(records.clocks) == {report.agent for report in records.reports}
        assert all(rows.size for rows in records.clocks.values())
        counted = {name: sum(report.counters[name] for report in records.reports) for name in ("sent", "answered")}
        # Both ends count the answers.
        assert counted == {"sent": records.sender.size, "answered": 2 * records.sender.size}

    def test_it_may_be_started_again_and_forgets_the_first_run(
        self, prober: Prober, flows: Sequence[Flow], clock: RunClock, tmp_path: Path
    ) -> None:
        probe(prober, flows, clock, tmp_path / "first", length_ms=10)
        with pytest.raises(BugError):
            self._start_twice(prober, flows[:1], clock, tmp_path / "second")
        prober.stop()
        records = prober.collect()
        assert set(records.sender["flow"].tolist()) <= {flows[0].id}

    def _start_twice(self, prober: Prober, flows: Sequence[Flow], clock: RunClock, directory: Path) -> None:
        for _ in range(2):
            prober.start(flows, PROBING, directory, clock.epoch_ns)

    def test_a_flow_may_have_an_interval_of_its_own(
        self, prober: Prober, flows: Sequence[Flow], clock: RunClock, tmp_path: Path
    ) -> None:
        slow = replace(flows[0], interval_ns=Nanoseconds(5 * PROBING.interval_ns))
        probe(prober, (slow, *flows[1:]), clock, tmp_path / "run", length_ms=1000)
        sender = prober.collect().sender
        gaps = {flow.id: float(np.median(np.diff(sender["send_began_ns"][sender["flow"] == flow.id]))) for flow in flows}
        assert gaps[slow.id] > 2 * max(gap for number, gap in gaps.items() if number != slow.id)
