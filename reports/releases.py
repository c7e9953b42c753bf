"""The history of figures over releases: one row per trial, flat, so that any tool that reads Parquet can query it.

A figure is compared only among trials of one set-up: the traits that the release gate wants alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hitless.facts import Part, PartIdentity
from reports.gate.relative import READINGS, collect_values
from reports.gate.rules import Figure, Trait
from reports.gate.sides import FoundArm, StoredSummary, say_trait

SCHEMA: Final = "hitless.history/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial of one arm. The fields are the columns."""

    recorded_at: datetime
    """When the summary was written, UTC."""
    release: str
    """Version of the system under test."""
    scenario: str
    arm: str
    trial: int
    verdict: str
    topology: str
    profile: str
    rate: str
    carrier: str
    backend: str
    kernel: str
    threshold: str
    interval_ms: float
    """Between two probes of a flow."""
    offered: int
    """Probes of mesh flows."""
    lost: int
    gate_hold_after_routes_ms: float | None
    """This and the figures below: None if the trial has none, or was INCONCLUSIVE."""
    gate_hold_ms: float | None
    convergence_ms: float | None
    ungated_downtime_ms: float | None
    """Of the flow that was down longest, likely length."""
    gate_looks: float | None
    allowances: tuple[str, ...]
    """Those that the release gate used for the scenario: rule, owner, reason, expiry."""

    @property
    def setup(self) -> tuple[str, ...]:
        """Properties that trials must share for a comparison of their figures."""
        return tuple(getattr(self, trait.value) for trait in Trait)


def column_of(figure: Figure) -> str:
    """Return the column of a figure."""
    name, unit = figure.value.replace("-", "_"), READINGS[figure].unit
    return name if name.endswith(unit) else f"{name}_{unit}"


def name_release(parts: tuple[PartIdentity, ...]) -> str | None:
    """Return the version of the extension, or None if the summary does not know it."""
    return next((part.version for part in parts if part.name is Part.EXTENSION and part.version), None)


def make_rows(stored: StoredSummary, release: str, recorded_at: datetime, allowances: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yield a row for each trial of a summary."""
    summary = stored.summary
    traits: dict[str, Any] = {trait.value: say_trait(summary, trait) for trait in Trait}
    for arm in summary.arms:
        found = FoundArm(path=stored.path, summary=summary, name=arm)
        values = {figure: collect_values(found, figure) for figure, reading in READINGS.items() if reading.arm is arm}
        for trial in found.arm.per_trial:
            figures: dict[str, Any] = {column_of(figure): values.get(figure, {}).get(trial.trial) for figure in READINGS}
            yield Row(
                recorded_at=recorded_at,
                release=release,
                scenario=summary.scenario,
                arm=arm.value,
                trial=trial.trial,
                verdict=trial.verdict.value,
                interval_ms=summary.interval_ms,
                offered=trial.totals.offered,
                lost=trial.totals.lost,
                allowances=allowances,
                **traits,
                **figures,
            )
