"""`--rate auto`: finds the highest rate without missed ticks on this machine, before a comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from commands.arms import execute_plan
from commands.backends import Backend
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError
from hitless.words import SECOND, JsonObject, Nanoseconds, Verdict
from scenarios.plan import Case, make_plan

RATES_HZ: Final = (200.0, 100.0, 50.0, 20.0)
"""What is tried, in this order."""
_CHECKS: Final[dict[str, JsonObject]] = {"coverage": {"missed_ticks_ratio": 0.02}}
"""Less than the 5 % that a run is allowed: a switch takes time of the same CPUs."""


def choose_rate(case: Case, find_doubt: Callable[[Case], str | None]) -> tuple[Case, str]:
    """Return the case at the highest rate that this machine sustains, and a line that says so.

    It is never higher than the scenario's own. The function tries a case's rate and returns what is wrong, or None, as
    `find_doubt` does.

    Raises:
        MissingCapabilityError: no rate is clean.
    """
    own_hz, doubt = case.scenario.rate_hz, ""
    rates_hz = tuple(rate_hz for rate_hz in RATES_HZ if rate_hz <= own_hz) or (own_hz,)
    for rate_hz in rates_hz:
        tried = replace(case, scenario=case.scenario.model_copy(update={"rate_hz": rate_hz}))
        refusal = find_doubt(tried)
        if refusal is None:
            return tried, f"this machine sustains {rate_hz:g} probes per second per flow{doubt}"
        doubt = f"; at {rate_hz:g}: {refusal}"
    slowest = f"not even {rates_hz[-1]:g} probes per second per flow"
    raise MissingCapabilityError(f"this machine sustains {slowest}{doubt}; use fewer nodes or a quieter machine")


def find_doubt(backend: Backend, case: Case) -> str | None:
    """Try the case's rate in a run without a request or a fault; return what a validity check doubts, or None.

    Raises:
        WorldError: the cluster could not be brought up.
    """
    clock = RunClock()
    plan = make_plan(case, next(iter(case.scenario.arm_plans)), 1, clock)
    quiet = replace(
        plan,
        header=replace(plan.header, checks=_CHECKS, validation_ns=Nanoseconds(0)),
        faults=(),
        make_load=None,
        baseline_ns=Nanoseconds(round(backend.rate_watched_s * SECOND)),
        duration_ns_max=Nanoseconds(0),
        requests_ns=(),
    )
    with tempfile.TemporaryDirectory(prefix="hitless-rate-") as folder:
        judged = execute_plan(quiet, backend.make_cluster(case, clock), clock, Path(folder))
    findings = (finding for result in judged.results for finding in result.findings)
    return next((finding.text for finding in findings if finding.verdict is not Verdict.PASS), None)
