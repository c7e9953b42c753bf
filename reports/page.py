"""The report of a comparison as one HTML page that needs no network: the verdict on the first screen, the rest folded.

Style and script are templates/page.css and page.js, written into the page. The server side of the timeline is plain rows
(reports/drawing.py, reports/lanes.py): the script only moves two numbers, the first time shown and the span, which every lane
of the page takes its position from.
"""

from __future__ import annotations

import json
from typing import Final

from markupsafe import Markup

from analysis.comparison import Comparison
from hitless.history import History
from hitless.words import MILLISECOND, Arm, FlowRole, JsonObject
from reports.causes import cause_rows, example_rows
from reports.connections import connection_rows
from reports.drawing import Panel, lay_out, make_panels, shown_span
from reports.extracts import arm_drops, count_lost_datagrams, group_findings, shown_run, worst_flows, worst_rows
from reports.heat import make_heat_map
from reports.lanes import mode_lanes, route_lanes
from reports.limits import limits
from reports.load import load_rows, second_columns, second_rows
from reports.summary import Summary
from reports.table import (
    comparison_rows,
    count_rows,
    egress_rows,
    family_rows,
    headline_rows,
    identity,
    mode_rows,
    transition_rows,
    verdict_sentence,
)
from reports.templating import read_asset, render

WORST_FLOWS_MAX: Final = 30
PLACES_MAX: Final = 20
EVENTS_MAX: Final = 5_000
"""Events of a run that the page carries; the page says how many there are."""
_LAYOUT_PX: Final = 900
"""Width that labels are laid out for until the script knows the screen's."""


def render_page(comparison: Comparison, summary: Summary) -> str:
    """Return the page.

    Args:
        comparison: the runs that the summary was made of.
        summary: their summary.
    """
    shown = {arm: run for arm in (Arm.UNGATED, Arm.GATED) if (run := shown_run(comparison, arm)) is not None}
    panels = make_panels(comparison)
    span = shown_span(panels)
    drops = {arm: arm_drops(comparison.runs_of(arm)) for arm in summary.arms}
    first = comparison.runs[0].history
    loads = {arm: found.load for arm, found in summary.arms.items() if found.load is not None}
    return render(
        "page.html.j2",
        accuracy_ms=summary.accuracy_ms,
        summary=summary,
        sentence=verdict_sentence(summary),
        script=read_asset("page.js"),
        headline=headline_rows(summary),
        identity=identity(summary),
        span=span,
        panels=[_lay_out(panel, span) for panel in panels],
        rows=comparison_rows(summary),
        families=family_rows(summary),
        classes={
            name: count_rows(summary, name) for name in dict.fromkeys(n for a in summary.arms.values() for n in a.classes)
        },
        connections=[row for arm, found in summary.arms.items() for row in connection_rows(arm, found.connections)],
        causes=[row for arm, found in summary.arms.items() for row in cause_rows(arm, found.causes)],
        cause_examples=[row for arm, found in summary.arms.items() for row in example_rows(arm, found.causes)],
        worst=list(worst_rows(worst_flows(comparison, WORST_FLOWS_MAX), summary.accuracy_ms)),
        heat={arm: make_heat_map(comparison.runs_of(arm)) for arm in shown},
        lanes=[(arm, run.history.header.trial, mode_lanes(run), route_lanes(run)) for arm, run in shown.items()],
        nodes=len(first.facts.nodes),
        egress=list(egress_rows(summary)),
        modes=list(mode_rows(summary)),
        transitions=list(transition_rows(summary)),
        loads=loads,
        load_rows=list(load_rows(loads)),
        load_seconds=[
            (arm, trial, second_columns(load), second_rows(load, trial))
            for arm, load in loads.items()
            for trial in load.per_trial
            if arm in shown and trial.trial == shown[arm].history.header.trial
        ],
        lost_datagrams={arm: count_lost_datagrams(comparison.runs_of(arm)) for arm in summary.arms},
        drops={arm: found[:PLACES_MAX] for arm, found in drops.items() if found is not None},
        findings=[
            (group.verdict, group.check, group.code, group.arm or "both", group.count, group.example)
            for group in group_findings(summary.findings)
            if group.check != "comparison"
        ],
        limits=limits(summary, first),
        mesh_flows=len(first.flows_of(FlowRole.MESH)),
        header=first.header,
        validation_ms=first.header.validation_ns / MILLISECOND,
        facts=first.facts,
        events=_as_script_data([_events(run.history) for run in shown.values()]),
    )


def _lay_out(panel: Panel, span: tuple[float, float]) -> tuple[Panel, dict[str, list[JsonObject]]]:
    """Return a panel with the bars of each line, in order of time; a bar's certain part in percent of it."""
    bars: dict[str, list[JsonObject]] = {row: [] for row in panel.rows}
    for bar in sorted(panel.bars, key=lambda bar: bar.from_ms):
        length = max(bar.to_ms - bar.from_ms, 1e-6)
        certain = max(bar.certain_to_ms - bar.certain_from_ms, 0.0)
        bars[bar.row].append(
            {
                "from": round(bar.from_ms, 3),
                "to": round(bar.to_ms, 3),
                "left": round((bar.certain_from_ms - bar.from_ms) / length * 100, 2),
                "width": round(certain / length * 100, 2),
                "sign": bar.sign,
                "text": f"{bar.row}: {bar.text}",
            }
        )
    return lay_out(panel, span, _LAYOUT_PX), bars


def _events(history: History) -> JsonObject:
    """Return the events of a run as the script shows them: ms from the operator's request, name, facts in words."""
    origin = history.origin_ns
    return {
        "run": f"{history.header.arm} trial {history.header.trial}",
        "count": len(history.events),
        "events": [
            [round((event.t_ns - origin) / MILLISECOND, 1), event.name, _say_facts(event.facts)]
            for event in history.events[:EVENTS_MAX]
        ],
    }


def _say_facts(facts: JsonObject) -> str:
    return ", ".join(f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in facts.items())


def _as_script_data(document: object) -> Markup:
    """Return JSON that cannot end its script element."""
    return Markup(json.dumps(document, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704 - escaped here
