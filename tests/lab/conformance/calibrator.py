"""What every Calibrator must do: the conformance suite of the port, with real probes.

A test module takes the suite in by subclassing `CalibratorConformance` and giving four fixtures: `calibrator`, an
implementation that drops nothing; `prober`, of the same cluster and never started; `flows`, all its flows, one of
FlowRole.CALIBRATION among them; and `clock`, the run clock of all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hitless.clock import RunClock, wait_until
from hitless.facts import Flow, ProbeSpec
from hitless.ports import Calibrator, Prober
from hitless.words import MILLISECOND, SECOND, FlowRole, Nanoseconds

PROBING = ProbeSpec(
    interval_ns=Nanoseconds(20 * MILLISECOND),
    drain_ns=Nanoseconds(1 * SECOND),
    duration_ns_max=Nanoseconds(120 * SECOND),
)
LIVE_S = 60.0
DROPPED_NS = 300 * MILLISECOND


def calibration_of(flows: Sequence[Flow]) -> Flow:
    (found,) = (flow for flow in flows if flow.role is FlowRole.CALIBRATION)
    return found


class CalibratorConformance:
    def test_it_drops_its_flow_and_nothing_else_between_the_times_that_it_returns(
        self, calibrator: Calibrator, prober: Prober, flows: Sequence[Flow], clock: RunClock, tmp_path: Path
    ) -> None:
        flow = calibration_of(flows)
        prober.start(flows, PROBING, tmp_path / "run", clock.epoch_ns)
        try:
            wait_until(prober.is_live, timeout_s=LIVE_S, poll_s=0.01, unmet="not every flow was answered", clock=clock)
            dropped = calibrator.drop(flow)
            clock.wait_until(Nanoseconds(dropped[1] + DROPPED_NS))
            restored = calibrator.restore(flow)
            clock.wait_until(Nanoseconds(restored[1] + DROPPED_NS))
        finally:
            prober.stop()
        sender = prober.collect().sender
        assert dropped[0] <= dropped[1] <= restored[0] <= restored[1]
        is_dropped, is_answered = sender["flow"] == flow.id, sender["received"] >= 0
        assert is_answered[~is_dropped].all()
        mine, answered = sender[is_dropped], is_answered[is_dropped]
        # A probe leaves between both its times; one that left within the last 10 ms may still be on its way to the drop.
        inside = (mine["send_began_ns"] > dropped[1]) & (mine["send_ended_ns"] < restored[0])
        outside = (mine["send_ended_ns"] < dropped[0] - 10 * MILLISECOND) | (mine["send_began_ns"] > restored[1])
        assert inside.sum() > 1
        assert outside.sum() > 1
        assert not answered[inside].any()
        assert answered[outside].all()

    def test_restoring_what_is_not_dropped_is_no_error(
        self, calibrator: Calibrator, flows: Sequence[Flow], clock: RunClock
    ) -> None:
        flow = calibration_of(flows)
        for _ in range(2):
            before_ns = clock.now_ns()
            began_ns, done_ns = calibrator.restore(flow)
            assert before_ns <= began_ns <= done_ns <= clock.now_ns()

    def test_it_may_drop_again(self, calibrator: Calibrator, flows: Sequence[Flow]) -> None:
        flow = calibration_of(flows)
        for _ in range(2):
            calibrator.drop(flow)
            calibrator.restore(flow)
