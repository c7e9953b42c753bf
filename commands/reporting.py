"""Writing what the reports package renders: the effects at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.judged import Comparison
from commands.arms import ArmOutcome
from hitless.errors import WorldError
from hitless.store import write_json
from reports.chart import render_html, render_svg
from reports.markdown import render_markdown
from reports.summary import Summary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and where."""

    summary: Summary
    summary_path: Path
    report_path: Path


def write_comparison(comparison: Comparison, directory: Path, *, has_rule: bool = True) -> Written:
    """Write `summary.json`, `report.md`, `chart.svg` and `chart.html` into the comparison's folder.

    Args:
        comparison: the judged runs.
        directory: the folder.
        has_rule: whether the comparison's own rule gives the verdict; False: trials of one arm alone.

    Raises:
        WorldError: the folder cannot be written to.
    """
    summary = summarise(comparison, has_rule=has_rule)
    summary_path, report_path = directory / "summary.json", directory / "report.md"
    texts = {
        directory / "chart.svg": render_svg(comparison),
        directory / "chart.html": render_html(comparison),
        report_path: render_markdown(comparison, summary, chart="chart.svg"),
    }
    write_json(summary_path, summary.as_json())
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            message = f"cannot write {path}: {error.strerror or error}"
            raise WorldError(message) from error
    return Written(summary=summary, summary_path=summary_path, report_path=report_path)


def write_arm(outcome: ArmOutcome) -> Path:
    """Write the same for one arm of one scenario; return the report's path."""
    scenario = outcome.runs[0].history.header.scenario
    return write_comparison(Comparison(scenario=scenario, runs=outcome.runs), outcome.directory, has_rule=False).report_path
