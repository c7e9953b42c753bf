"""The history of figures over releases, and a figure's trend with the changes of its level, as text and as a page. Pure.

The history has a flat row per trial, so that any tool that reads Parquet can query it. A figure is compared only among trials
of one set-up: the traits that the release gate wants alike.

Change points: the division of the trials, in the order of their releases, that has the least squared error plus a penalty for
each change; found exactly by PELT, of the library ruptures. The scale is the standard deviation within releases, the penalty
4 ln n: of simulated histories without a change, drawn from the recorded values of the gate's hold, at most 1 % had one.

Source: Killick, Fearnhead and Eckley, J. Am. Stat. Assoc. 107 (2012), 1590.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import ruptures
from markupsafe import Markup

from hitless.facts import Part, PartIdentity
from hitless.plural import plural
from reports.gate.inference import Estimate, estimate_mean
from reports.gate.relative import READINGS, collect_values
from reports.gate.rules import Figure, Trait
from reports.gate.sides import FoundArm, StoredSummary, say_trait
from reports.picture import draw_text, ticks
from reports.templating import render

SCHEMA: Final = "hitless.history/1"
_PENALTY: Final = 4.0
_BAR_WIDTH: Final = 30
_SPREAD_MIN: Final = 2
"""Trials that a release needs to have a spread."""
PLOT_PX: Final = 900
HEIGHT_PX: Final = 220
LEFT_PX: Final = 60
TOP_PX: Final = 24
BELOW_PX: Final = 70
"""Room for the names of releases, which are slanted."""
SLOT_PX_MIN: Final = 34
"""Of one release: with more than 26 the picture is wider, and scrolls."""
_TICKS: Final = 6


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePoint:
    """One release."""

    release: str
    trials: int
    """That have the figure."""
    lacking: int
    """That have not."""
    figure: Estimate | None
    """None: no trial has it."""
    is_change: bool
    """Whether the level changed with this release."""
    allowances: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One figure of one scenario over releases, oldest first."""

    scenario: str
    figure: Figure
    unit: str
    setup: tuple[str, ...]
    """What all trials have in common: that of the newest."""
    left_out: int
    """Trials of other set-ups."""
    points: tuple[ReleasePoint, ...]

    @property
    def is_known(self) -> bool:
        """Whether any trial has the figure."""
        return any(point.figure is not None for point in self.points)


def make_trend(rows: Sequence[Row], scenario: str, figure: Figure) -> Trend | None:
    """Return the trend of a figure; None: the history has no trial of the scenario."""
    every = sorted(
        (row for row in rows if (row.scenario, row.arm) == (scenario, READINGS[figure].arm)), key=lambda row: row.recorded_at
    )
    if not every:
        return None
    setup = every[-1].setup
    alike = [row for row in every if row.setup == setup]
    column = column_of(figure)
    releases: dict[str, list[Row]] = {}
    for row in alike:
        releases.setdefault(row.release, []).append(row)
    known = {
        name: np.array([value for row in found if (value := getattr(row, column)) is not None])
        for name, found in releases.items()
    }
    having = [name for name in known if len(known[name])]
    changed = {having[number] for number in find_changes([known[name] for name in having])}
    return Trend(
        scenario=scenario,
        figure=figure,
        unit=READINGS[figure].unit,
        setup=setup,
        left_out=len(every) - len(alike),
        points=tuple(
            ReleasePoint(
                release=name,
                trials=len(known[name]),
                lacking=len(found) - len(known[name]),
                figure=estimate_mean(known[name]) if len(known[name]) else None,
                is_change=name in changed,
                allowances=tuple(dict.fromkeys(text for row in found for text in row.allowances)),
            )
            for name, found in releases.items()
        ),
    )


def find_changes(groups: Sequence[np.typing.NDArray[np.float64]]) -> frozenset[int]:
    """Return the groups of values, each at least one, with which the level of a series changed.

    A change within a group counts for the group that has more of the new level.
    """
    spreads = [float(values.var(ddof=1)) for values in groups if len(values) >= _SPREAD_MIN]
    scale = math.sqrt(sum(spreads) / len(spreads)) if spreads else 0.0
    if len(groups) < 2 or not scale:  # noqa: PLR2004 - a change is between two
        return frozenset()
    series = np.concatenate(groups) / scale
    starts = np.cumsum([0, *(len(values) for values in groups)])
    # The linear kernel is the squared error; with a penalty the search is PELT, in C.
    search = ruptures.KernelCPD(kernel="linear", min_size=max(2, min(map(len, groups)) // 2)).fit(series.reshape(-1, 1))
    found = search.predict(pen=_PENALTY * math.log(len(series)))[:-1]
    nearest = {int(np.argmin(np.abs(starts[:-1] - place))) for place in found}
    return frozenset(nearest - {0})


def render_trend(trend: Trend) -> str:
    """Return the trend as text: one line per release, with a bar from zero."""
    most = max((point.figure.mean for point in trend.points if point.figure is not None), default=0.0)
    width = max(len(point.release) for point in trend.points)
    lines = [f"{trend.figure} of {trend.scenario}, {trend.unit}: mean [95 % interval]", f"set-up: {'; '.join(trend.setup)}"]
    for point in trend.points:
        found = point.figure
        bar = "" if found is None or most <= 0 else "█" * round(_BAR_WIDTH * max(found.mean, 0) / most)
        said = "no trial has the figure" if found is None else f"{found.mean:,.4g} [{found.low:,.4g}, {found.high:,.4g}]"
        lacking = f", {point.lacking} without it" if point.lacking else ""
        change = "  <- the level changed" if point.is_change else ""
        lines.append(
            f"{point.release:{width}}  {bar:{_BAR_WIDTH}}  {said}  {plural(point.trials, 'trial')}{lacking}{change}".rstrip()
        )
        lines += [f"{'':{width}}  allowed: {text}" for text in point.allowances]
    if trend.left_out:
        lines.append(f"left out: {plural(trend.left_out, 'trial')} of other set-ups")
    return "\n".join((*lines, ""))


def render_trend_page(trends: Sequence[Trend]) -> str:
    """Return an HTML page that needs no network, of at least one trend, all of one scenario.

    A point is the mean of a release, its whisker the 95 % interval. A level is drawn through the releases between two changes,
    so a change is read without colour. An allowance is marked below its release and stands in the table.
    """
    return render(
        "trend.html.j2",
        scenario=trends[0].scenario,
        trends=[(trend, Markup("\n".join(_draw(trend)))) for trend in trends],  # noqa: S704 - texts are escaped where drawn
    )


def levels(points: Sequence[ReleasePoint]) -> tuple[tuple[int, int, float], ...]:
    """Return the stretches between two changes: place of the first and of the last release, and their mean.

    The mean is over trials. Releases without the figure belong to no stretch.
    """
    known = [(place, point) for place, point in enumerate(points) if point.figure is not None]
    numbers, number = [], 0
    for _, point in known:
        number += point.is_change
        numbers.append(number)
    found = []
    for _, group in groupby(zip(numbers, known, strict=True), key=lambda pair: pair[0]):
        members = [pair for _, pair in group]
        trials = sum(point.trials for _, point in members)
        total = sum(point.figure.mean * point.trials for _, point in members if point.figure is not None)
        found.append((members[0][0], members[-1][0], total / trials))
    return tuple(found)


def _draw(trend: Trend) -> Iterator[str]:
    """Yield the elements of one picture."""
    points = trend.points
    slot = max(PLOT_PX / len(points), SLOT_PX_MIN)
    plot, bottom = slot * len(points), TOP_PX + HEIGHT_PX
    bounds = [bound for point in points if point.figure is not None for bound in (point.figure.mean, point.figure.high)]
    most = max((bound for bound in bounds if math.isfinite(bound)), default=0.0) * 1.08 or 1.0

    def x(place: float) -> float:
        return round(LEFT_PX + (place + 0.5) * slot, 1)

    def y(value: float) -> float:
        return round(bottom - value / most * HEIGHT_PX, 1)

    width, height = LEFT_PX + plot + BELOW_PX, bottom + BELOW_PX
    yield f'<svg class="trend" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}" role="img">'
    yield f"<title>{trend.figure} of {trend.scenario} over releases, {trend.unit}; the table has the same numbers</title>"
    for tick in ticks((0.0, most), _TICKS):
        yield f'<line class="tick" x1="{LEFT_PX}" x2="{LEFT_PX + plot:g}" y1="{y(tick)}" y2="{y(tick)}"/>'
        yield draw_text(LEFT_PX - 6, y(tick) + 4, f"{tick:g}", "end")
    yield draw_text(4, 12, trend.unit, "")
    for first, last, mean in levels(points):
        yield f'<line class="level" x1="{x(first - 0.4)}" x2="{x(last + 0.4)}" y1="{y(mean)}" y2="{y(mean)}"/>'
    for place, point in enumerate(points):
        if point.is_change:
            edge = x(place - 0.5)
            yield f'<line class="change" x1="{edge}" x2="{edge}" y1="{TOP_PX}" y2="{bottom}"/>'
            yield draw_text(edge + 3, TOP_PX - 6, "the level changed", "")
        yield from _draw_point(point, x(place), y)
        if point.allowances:
            yield draw_text(x(place) - 14, bottom + 15, "▲", "")
        yield f'<g transform="translate({x(place)} {bottom + 14}) rotate(35)">{draw_text(0, 0, point.release, "")}</g>'
    yield "</svg>"


def _draw_point(point: ReleasePoint, x: float, y: Callable[[float], float]) -> Iterator[str]:
    found = point.figure
    if found is None:
        return
    yield f"<g><title>{escape(point.release)}: {found.mean:,.4g} [{found.low:,.4g}, {found.high:,.4g}]</title>"
    if math.isfinite(found.low) and math.isfinite(found.high):
        yield f'<line class="whisker" x1="{x}" x2="{x}" y1="{y(found.low)}" y2="{y(found.high)}"/>'
    yield f'<circle class="mean" cx="{x}" cy="{y(found.mean)}" r="3"/></g>'
