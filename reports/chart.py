"""The chart of a comparison: one panel an arm, flows down, time across, outages in red, events as lines.

Only this module imports altair and vl-convert. The drawing itself is plain rows (reports/drawing.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import vl_convert

from analysis.comparison import Comparison
from reports.drawing import ORDER, Panel, lay_out, make_panel, shown_span
from reports.extracts import shown_run

WIDTH_PX: Final = 900
ROW_PX: Final = 16
LANE_PX: Final = 13
FONT: Final = "Arial, Helvetica, sans-serif"
"""Everywhere, or replaced by what is; vl-convert measures with Liberation Sans, which has Arial's widths."""

CERTAIN: Final = "#c62828"
"""The flow was down for certain."""
MARGIN: Final = "#f6b0a9"
"""It may have been down: between two probes."""
SPAN: Final = "#9aa5b1"
EVENT: Final = "#2f4a6d"
TEXT: Final = "#222222"
LEGEND: Final = (
    "red: the flow was down for certain; pale: it may have been, or a connection stalled; x: a connection was reset; "
    "grey line: it was probed"
)

_CLIP: Final = re.compile(r"\bclip[0-9]+\b")

VEGA_LITE: Final = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""Version of the chart's grammar that altair writes, such as `6.4`; vl-convert must be told."""


def render_svg(comparison: Comparison) -> str:
    """Return the chart as an SVG document; the same comparison gives the same document."""
    svg: str = vl_convert.vegalite_to_svg(_make_chart(comparison).to_dict(), vl_version=VEGA_LITE)
    return _number_clips(svg)


def render_html(comparison: Comparison) -> str:
    """Return the chart as one HTML page that needs no network, with the numbers of each outage under the pointer."""
    html: str = _make_chart(comparison).to_html(inline=True)
    return html


def _number_clips(svg: str) -> str:
    """Number the clip paths from 1: Vega goes on counting from chart to chart as long as the process lives."""
    numbers: dict[str, str] = {}
    return _CLIP.sub(lambda found: numbers.setdefault(found[0], f"clip{len(numbers) + 1}"), svg)


def _make_chart(comparison: Comparison) -> alt.VConcatChart:
    runs = [run for arm in ORDER if (run := shown_run(comparison, arm)) is not None]
    panels = [make_panel(run) for run in runs]
    span = shown_span(panels)
    drawings = [_draw_panel(lay_out(panel, span, WIDTH_PX), span) for panel in panels]
    chart: alt.VConcatChart = (
        alt.vconcat(*drawings, spacing=22)
        # Room for labels in a wider font than the one that is measured with.
        .properties(
            title=alt.TitleParams(comparison.scenario, subtitle=LEGEND, offset=14),
            padding={"left": 40, "top": 8, "right": 8, "bottom": 8},
        )
        .configure(font=FONT, background="white")
        .configure_view(stroke=None)
        .configure_axis(labelColor=TEXT, titleColor=TEXT, labelFontSize=10, titleFontSize=11, gridColor="#ececec")
        .configure_title(fontSize=13, anchor="start", color=TEXT, subtitleColor=TEXT, subtitleFontSize=11)
    )
    return chart


def _draw_panel(panel: Panel, span: tuple[float, float]) -> alt.VConcatChart:
    """Draw the event labels above the flows, both on one time axis."""
    scale = alt.Scale(domain=list(span), nice=False, clamp=True)
    return alt.vconcat(_draw_labels(panel, scale), _draw_flows(panel, scale), spacing=0, title=panel.title)


def _draw_labels(panel: Panel, scale: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    height = panel.lanes * LANE_PX
    marks = [{"at": mark.at_ms, "label": mark.label, "y": height - mark.lane * LANE_PX} for mark in panel.marks]
    x = alt.X("at:Q", scale=scale, axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height]), axis=None)
    chart = alt.Chart(_data(marks))
    rules = chart.mark_rule(color=EVENT, strokeWidth=1, opacity=0.6).encode(x=x, y=y, y2=alt.datum(height))
    texts = chart.mark_text(align="left", baseline="bottom", dx=3, fontSize=10, color=EVENT).encode(x=x, y=y, text="label:N")
    return alt.layer(rules, texts).properties(width=WIDTH_PX, height=height)


def _draw_flows(panel: Panel, scale: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    y = alt.Y(
        "row:N",
        sort=list(panel.rows),
        title=None,
        scale=alt.Scale(domain=list(panel.rows)),
        axis=alt.Axis(labelLimit=320, ticks=False, domain=False),
    )
    axis = alt.Axis(title="ms since the operator's request", grid=True, tickCount=12)
    bars = [
        {
            "row": bar.row,
            "from": bar.from_ms,
            "to": bar.to_ms,
            "certain_from": bar.certain_from_ms,
            "certain_to": max(bar.certain_to_ms, bar.certain_from_ms),
            "text": bar.text,
            "end": bar.sign,
        }
        for bar in panel.bars
    ]
    spans = [{"row": row, "from": panel.first_ms, "to": panel.last_ms} for row in panel.rows]
    probing = (
        alt.Chart(_data(spans))
        .mark_rule(color=SPAN, strokeWidth=1, clip=True)
        .encode(y=y, x=alt.X("from:Q", scale=scale, axis=axis), x2="to:Q")
    )
    bar_chart = alt.Chart(_data(bars))
    margin = bar_chart.mark_bar(color=MARGIN, height=10, clip=True).encode(
        y=y, x=alt.X("from:Q", scale=scale, axis=axis), x2="to:Q", tooltip=["row:N", "text:N"]
    )
    certain = bar_chart.mark_bar(color=CERTAIN, height=10, clip=True).encode(
        y=y, x=alt.X("certain_from:Q", scale=scale, axis=axis), x2="certain_to:Q", tooltip=["row:N", "text:N"]
    )
    still_open = bar_chart.mark_text(align="left", dx=2, fontSize=9, color=CERTAIN).encode(
        y=y, x=alt.X("to:Q", scale=scale, axis=axis), text="end:N"
    )
    marks = (
        alt.Chart(_data([{"at": mark.at_ms} for mark in panel.marks]))
        .mark_rule(color=EVENT, strokeWidth=1, opacity=0.6)
        .encode(x=alt.X("at:Q", scale=scale, axis=axis))
    )
    return alt.layer(probing, margin, certain, marks, still_open).properties(
        width=WIDTH_PX, height=max(1, len(panel.rows)) * ROW_PX
    )


def _data(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))
