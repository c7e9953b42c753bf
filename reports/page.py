"""The report of a comparison: as one HTML page that needs no network, and as Markdown for a pull request. Pure.

The page has the verdict on its first screen and the rest folded; the Markdown has at most 60 lines and one picture.

Style and script are templates/page.css and page.js, written into the page. The server side of the timeline is plain rows
(reports/drawing.py, reports/nodes.py): the script only moves two numbers, the first time shown and the span, which every lane
of the page takes its position from.
"""

from __future__ import annotations

import json
from typing import Any, Final

from markupsafe import Markup

from analysis.comparison import Comparison
from hitless.history import History
from hitless.words import MILLISECOND, Arm, FlowRole, JsonObject
from reports.drawing import make_panels, shown_run
from reports.limits import limits
from reports.load import choose_seconds
from reports.nodes import make_heat_map, mode_lanes, route_lanes
from reports.summary import Summary
from reports.table import (
    comparison_rows,
    count_rows,
    drop_rows,
    egress_rows,
    family_rows,
    finding_rows,
    headline_rows,
    identity,
    mode_rows,
    verdict_sentence,
    worst_rows,
)
from reports.templating import read_asset, render

WORST_FLOWS_MAX: Final = 30
PLACES_MAX: Final = 20
EVENTS_MAX: Final = 5_000
"""Events of a run that the page carries; the page says how many there are."""
CAUSES_MAX: Final = 5
"""Causes of an arm in Markdown."""
FINDINGS_MAX: Final = 8
"""Kinds of findings in Markdown."""


def render_page(comparison: Comparison, summary: Summary) -> str:
    """Return the page of a comparison, given its summary."""
    shown = {arm: run for arm in (Arm.UNGATED, Arm.GATED) if (run := shown_run(comparison, arm)) is not None}
    panels, span = make_panels(comparison)
    runs = {arm: comparison.runs_of(arm) for arm in summary.arms}
    drops = {arm: drop_rows(found) for arm, found in runs.items()}
    first = comparison.runs[0].history
    loads = {arm: found.load for arm, found in summary.arms.items() if found.load is not None}
    return render(
        "page.html.j2",
        **_make_head(comparison, summary),
        script=read_asset("page.js"),
        span=span,
        panels=panels,
        rows=comparison_rows(summary),
        families=family_rows(summary),
        classes={
            name: count_rows(summary, name) for name in dict.fromkeys(n for a in summary.arms.values() for n in a.classes)
        },
        worst=list(worst_rows(comparison, WORST_FLOWS_MAX, summary.accuracy_ms)),
        heat={arm: make_heat_map(runs[arm]) for arm in shown},
        lanes=[(arm, run.history.header.trial, mode_lanes(run), route_lanes(run)) for arm, run in shown.items()],
        nodes=len(first.facts.nodes),
        egress=egress_rows(summary),
        modes=list(mode_rows(summary)),
        loads=loads,
        load_seconds=[
            (arm, trial, choose_seconds(trial.seconds))
            for arm, load in loads.items()
            for trial in load.per_trial
            if arm in shown and trial.trial == shown[arm].history.header.trial
        ],
        # The ledger balances datagrams of all classes and roles.
        lost_datagrams={
            arm: sum(run.evidence.ledger.lost for run in found if run.evidence.ledger is not None)
            for arm, found in runs.items()
        },
        drops={arm: found[:PLACES_MAX] for arm, found in drops.items() if found is not None},
        mesh_flows=len(first.flows_of(FlowRole.MESH)),
        header=first.header,
        validation_ms=first.header.validation_ns / MILLISECOND,
        facts=first.facts,
        events=_as_script_data([_events(run.history) for run in shown.values()]),
    )


def render_markdown(comparison: Comparison, summary: Summary, *, picture: str | None = None, page: str | None = None) -> str:
    """Return the report as GitHub-flavoured Markdown, with links to picture and page as seen from it, where there are some."""
    return render(
        "report.md.j2",
        **_make_head(comparison, summary),
        picture=picture,
        page=page,
        causes_max=CAUSES_MAX,
        findings_max=FINDINGS_MAX,
    )


def _make_head(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    """Return what both reports show."""
    return {
        "accuracy_ms": summary.accuracy_ms,
        "summary": summary,
        "sentence": verdict_sentence(summary),
        "identity": list(identity(summary)),
        "headline": headline_rows(summary),
        "findings": finding_rows(summary),
        "limits": limits(summary, comparison.runs[0].history),
    }


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
