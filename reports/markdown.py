"""The Markdown report of a comparison. The words are in templates/report.md.j2; here is what they are about.

Only this module imports jinja2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from analysis.comparison import Comparison
from hitless.plural import plural
from hitless.words import MILLISECOND, Arm, FlowRole, Verdict
from reports.causes import cause_rows, example_rows, worst_causes
from reports.connections import connection_rows
from reports.extracts import WorstFlow, arm_drops, count_lost_datagrams, group_findings, shown_run, worst_flows
from reports.load import make_load_tables
from reports.paths import make_path_tables
from reports.quantities import NONE, duration_of, ms, say_count, say_duration, say_ms
from reports.summary import Summary
from reports.table import comparison_rows, count_rows, family_rows
from reports.timeline import condense

WORST_FLOWS_MAX: Final = 8
PLACES_MAX: Final = 12
TIMELINE_MAX: Final = 60
"""Lines of each that are printed; the rest is in the run's directory."""

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_markdown(comparison: Comparison, summary: Summary, *, chart: str | None = None) -> str:
    """Render the report.

    Args:
        comparison: the runs that the summary was made of.
        summary: their summary.
        chart: address of the chart as seen from the report, or None.

    Returns:
        GitHub-flavoured Markdown.
    """
    shown = [run.history for arm in Arm if (run := shown_run(comparison, arm)) is not None]
    first = comparison.runs[0].history
    drops = {arm: arm_drops(comparison.runs_of(arm)) for arm in summary.arms}
    worst = worst_flows(comparison, WORST_FLOWS_MAX)
    classes = dict.fromkeys(name for arm in summary.arms.values() for name in arm.classes)
    return (
        _environment(summary)
        .get_template("report.md.j2")
        .render(
            summary=summary,
            sentence=verdict_sentence(summary),
            chart=chart,
            mesh_flows=len(first.flows_of(FlowRole.MESH)),
            header=first.header,
            validation_ms=first.header.validation_ns / MILLISECOND,
            facts=first.facts,
            rows=comparison_rows(summary),
            families=family_rows(summary),
            connections=[row for arm, found in summary.arms.items() for row in connection_rows(arm, found.connections)],
            classes={name: count_rows(summary, name) for name in classes},
            paths=make_path_tables(summary),
            causes=[row for arm, found in summary.arms.items() for row in cause_rows(arm, found.causes)],
            cause_examples=[row for arm, found in summary.arms.items() for row in example_rows(arm, found.causes)],
            worst=[
                _worst_cells(one, summary.accuracy_ms) | {"cause": cause}
                for one, cause in zip(worst, worst_causes(worst), strict=True)
            ],
            load=make_load_tables(summary, {history.header.arm: history.header.trial for history in shown}),
            lost_datagrams={arm: count_lost_datagrams(comparison.runs_of(arm)) for arm in summary.arms},
            drops={arm: found[:PLACES_MAX] for arm, found in drops.items() if found is not None},
            timelines=[(history.header, condense(history)) for history in shown],
            timeline_max=TIMELINE_MAX,
            findings=[group for group in group_findings(summary.findings) if group.check != "comparison"],
        )
    )


def verdict_sentence(summary: Summary) -> str:
    """Return the one sentence that a reader takes away."""
    own = [finding.text for finding in summary.findings if finding.check == "comparison"]
    if own:
        more = f" (and {len(own) - 1} more of the kind)" if len(own) > 1 else ""
        return f"{own[0]}{more}."
    trials = [trial for arm in summary.arms.values() for trial in arm.per_trial]
    parts = [f"{sum(trial.verdict is verdict for trial in trials)} {verdict}" for verdict in Verdict]
    return f"of {plural(len(trials), 'trial')}: {', '.join(parts)}."


def escape_cell(text: object) -> str:
    """Return a text that cannot end a table cell or begin a tag."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _environment(summary: Summary) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        # Escapes HTML templates only; in Markdown the filter `cell` does what is needed.
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        cell=escape_cell,
        plain=lambda value: f"{value:g}",
        count=say_count,
        of=plural,
        ms=lambda value: say_ms(value, summary.accuracy_ms),
        drops=lambda value: say_count(value) if value else NONE,
    )
    return environment


def _worst_cells(worst: WorstFlow, accuracy_ms: float) -> dict[str, str]:
    """Return the cells of one flow."""
    found = worst.measure
    return {
        "run": f"{worst.run.history.header.arm} {worst.run.history.header.trial}",
        "flow": worst.flow.label,
        "lost": f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})",
        "outages": say_count(len(found.outages)),
        "downtime": say_duration(duration_of(found.downtime), accuracy_ms),
        "plbm": say_ms(ms(found.downtime_plbm_ns), accuracy_ms),
        "convergence": say_ms(ms(found.convergence_ns), accuracy_ms),
    }
