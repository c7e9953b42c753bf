"""Figures over releases as one HTML page that needs no network: a picture and a table for each figure.

A point is the mean of a release, its whisker the 95 % interval. A level is drawn through the releases between two changes, so a
change is read without colour. An allowance is marked below its release and stands in the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final
from xml.sax.saxutils import escape

from markupsafe import Markup

from reports.picture import draw_text, ticks
from reports.templating import read_asset, render
from reports.trend import ReleasePoint, Trend

PLOT_PX: Final = 900
HEIGHT_PX: Final = 220
LEFT_PX: Final = 60
TOP_PX: Final = 24
BELOW_PX: Final = 70
"""Room for the names of releases, which are slanted."""
SLOT_PX_MIN: Final = 34
"""Of one release: with more than 26 the picture is wider, and scrolls."""
_TICKS: Final = 6


def render_trend_page(trends: Sequence[Trend]) -> str:
    """Return the page of at least one trend, all of one scenario."""
    return render(
        "trend.html.j2",
        scenario=trends[0].scenario,
        style=read_asset("page.css"),
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
