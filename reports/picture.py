"""The timeline as one SVG picture, for Markdown and for readers without the page: one panel per arm, one row per flow.

Drawn from the rows of reports/drawing.py. Certain downtime is solid and what may have been is hatched, so it is read without
colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from analysis.comparison import Comparison
from reports.drawing import PLOT_PX, Panel, make_panels

LABEL_PX: Final = 190
"""Room for the labels of the lines; longer ones are cut at the left."""
MARGIN_PX: Final = 12
ROW_PX: Final = 15
LANE_PX: Final = 13
TITLE_PX: Final = 26
AXIS_PX: Final = 24
TICKS: Final = 10
LEGEND: Final = (
    "solid: the flow was certainly down; hatched: it was possibly down, or a connection stalled; x: a connection was reset; "
    "line: the flow was probed"
)
_STYLE: Final = (
    "text{font:11px Arial,Helvetica,sans-serif;fill:#222}.name{text-anchor:end}.title{font-weight:bold;font-size:13px}"
    ".event{font-size:10px;fill:#2f4a6d}.mark{stroke:#2f4a6d;opacity:.6}.span{stroke:#9aa5b1}.tick{stroke:#e4e7eb}"
    ".certain{fill:#b8400b}.margin{fill:url(#hatch);stroke:#b8400b;stroke-width:.5}.sign{fill:#b8400b;font-size:10px}"
)
_HATCH: Final = (
    '<pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="4" height="4" fill="#fff"/><rect width="1.5" height="4" fill="#b8400b"/></pattern>'
)


def render_svg(comparison: Comparison) -> str:
    """Return the picture as an SVG document; the same comparison gives the same document."""
    panels, span = make_panels(comparison)
    drawn: list[str] = []
    top = 44.0
    for panel in panels:
        drawn += _draw_panel(panel, span, top)
        top += TITLE_PX + panel.lanes * LANE_PX + max(1, len(panel.lines)) * ROW_PX + AXIS_PX
    width = LABEL_PX + PLOT_PX + 2 * MARGIN_PX
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top:g}" width="{width}" height="{top:g}">',
            f"<title>{escape(comparison.scenario)}: outages of each flow over time</title>",
            f"<style>{_STYLE}</style><defs>{_HATCH}</defs>",
            f'<rect width="{width}" height="{top:g}" fill="#fff"/>',
            draw_text(MARGIN_PX, 18, comparison.scenario, "title"),
            draw_text(MARGIN_PX, 34, LEGEND, "event"),
            *drawn,
            "</svg>\n",
        )
    )


def ticks(span: tuple[float, float], count: int = TICKS) -> tuple[float, ...]:
    """Return round times across a span, about `count` of them."""
    raw = (span[1] - span[0]) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return tuple(number * step for number in range(math.ceil(span[0] / step), math.floor(span[1] / step) + 1))


def _draw_panel(panel: Panel, span: tuple[float, float], top: float) -> Iterator[str]:
    """Yield the elements of one panel whose upper edge is at `top`."""
    left = LABEL_PX + MARGIN_PX

    def x(at_ms: float) -> float:
        return round(left + (min(max(at_ms, span[0]), span[1]) - span[0]) / (span[1] - span[0]) * PLOT_PX, 1)

    labels_bottom = top + TITLE_PX + panel.lanes * LANE_PX
    bottom = labels_bottom + max(1, len(panel.lines)) * ROW_PX
    yield draw_text(MARGIN_PX, top + 16, panel.title, "title")
    for tick in ticks(span):
        yield f'<line class="tick" x1="{x(tick)}" x2="{x(tick)}" y1="{labels_bottom:g}" y2="{bottom + 4:g}"/>'
        yield draw_text(x(tick) - 8, bottom + 15, f"{tick:g}", "event")
    yield draw_text(MARGIN_PX, bottom + 15, "ms since the operator's request", "event")
    heights = [labels_bottom + (index + 0.5) * ROW_PX for index in range(len(panel.lines))]
    for line, y in zip(panel.lines, heights, strict=True):
        name = line.name if len(line.name) <= 34 else f"…{line.name[-33:]}"  # noqa: PLR2004 - fits LABEL_PX
        yield f'<line class="span" x1="{x(panel.first_ms)}" x2="{x(panel.last_ms)}" y1="{y:g}" y2="{y:g}"/>'
        yield draw_text(left - 6, y + 4, name, "name")
    for line, y in zip(panel.lines, heights, strict=True):
        for bar in line.bars:
            start, certain, certain_end, end = map(x, (bar.from_ms, bar.certain_from_ms, bar.certain_to_ms, bar.to_ms))
            yield f"<g><title>{escape(f'{line.name}: {bar.text}')}</title>"
            yield f'<rect class="margin" x="{start}" y="{y - 5:g}" width="{max(end - start, 1):.1f}" height="10"/>'
            if certain_end > certain:
                yield f'<rect class="certain" x="{certain}" y="{y - 5:g}" width="{certain_end - certain:.1f}" height="10"/>'
            if bar.sign:
                yield draw_text(end + 2, y + 4, bar.sign, "sign")
            yield "</g>"
    for mark in panel.marks:
        y = labels_bottom - mark.lane * LANE_PX
        yield f'<line class="mark" x1="{x(mark.at_ms)}" x2="{x(mark.at_ms)}" y1="{y - 10:g}" y2="{bottom:g}"/>'
        yield draw_text(x(mark.at_ms) + 3, y - 2, mark.label, "event")


def draw_text(x: float, y: float, text: str, style: str) -> str:
    """Return a text element of a picture, escaped."""
    return f"<text class={quoteattr(style)} x={quoteattr(f'{x:g}')} y={quoteattr(f'{y:g}')}>{escape(text)}</text>"
