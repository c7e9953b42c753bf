"""Every scenario of the catalogue, each arm a test: it passes exactly when the verdict is the expected one."""

from __future__ import annotations

from collections.abc import Callable

from commands.arms import ArmCase, ArmOutcome


def test_switch(arm_case: ArmCase, execute: Callable[[ArmCase], ArmOutcome]) -> None:
    """Execute the arm and compare."""
    outcome = execute(arm_case)
    assert set(outcome.verdicts) == {arm_case.plan.expect}, outcome.explanation
    assert set(arm_case.plan.because) <= outcome.failing, outcome.explanation
