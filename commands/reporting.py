"""Stores a verdict, then renders its reports.

The verdict is stored before anything is rendered, and the exit code follows from it alone. If a renderer crashes, only its own
file is missing: the reason is printed, and the others go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from analysis.comparison import Comparison
from commands.arms import ArmOutcome
from hitless.errors import WorldError
from hitless.store import write_json
from hitless.words import JsonObject, Verdict
from reports.page import render_markdown, render_page
from reports.picture import render_svg
from reports.prometheus import render_prometheus
from reports.summary import Summary, summarise

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a comparison's folder."""

    verdict: Verdict
    """Stored before anything was rendered."""
    summary: Summary | None
    """None: neither it nor `summary.json` could be made."""
    page_path: Path | None
    """The page, `report.html`; None: it could not be made."""
    document: JsonObject
    """For `--format json`: the summary, or without one the verdict with its findings."""


def write_comparison(comparison: Comparison, directory: Path, *, must_store: bool = True) -> Written:
    """Write `verdict.json` and `summary.json`, then `report.html`, `chart.svg` and `report.md`, each as far as it can be made.

    Args:
        comparison: the judged runs.
        directory: of the files.
        must_store: whether a folder that is not writable is an error; otherwise only the verdict is printed.

    Raises:
        WorldError: the verdict cannot be written.
    """
    decision = comparison.decision
    settled: JsonObject = {"verdict": decision.verdict, "findings": [asdict(finding) for finding in decision.findings]}
    try:
        write_json(directory / "verdict.json", settled)
    except WorldError as error:
        if must_store:
            raise
        sys.stderr.write(f"hitless: {error}; nothing is stored; the verdict is not affected\n")
        summary = attempt(directory / "summary.json", lambda: summarise(comparison))
        document = settled if summary is None else summary.as_json()
        return Written(verdict=decision.verdict, summary=summary, page_path=None, document=document)
    summary_path, page_path, picture_path, report_path = (
        directory / name for name in ("summary.json", "report.html", "chart.svg", "report.md")
    )
    for path in (summary_path, page_path, picture_path, report_path):
        path.unlink(missing_ok=True)

    def summarise_and_store() -> Summary:
        summary = summarise(comparison)
        write_json(summary_path, summary.as_json())
        return summary

    def render(path: Path, make: Callable[[], str]) -> Path:
        path.write_text(make(), encoding="utf-8")
        return path

    summary = attempt(summary_path, summarise_and_store)
    if summary is None:
        attempt(picture_path, lambda: render(picture_path, lambda: render_svg(comparison)))
        return Written(verdict=decision.verdict, summary=None, page_path=None, document=settled)
    page = attempt(page_path, lambda: render(page_path, lambda: render_page(comparison, summary)))
    picture = attempt(picture_path, lambda: render(picture_path, lambda: render_svg(comparison)))
    names = {"picture": None if picture is None else picture.name, "page": None if page is None else page.name}
    attempt(report_path, lambda: render(report_path, lambda: render_markdown(comparison, summary, **names)))
    return Written(verdict=decision.verdict, summary=summary, page_path=page, document=summary.as_json())


def write_arm(outcome: ArmOutcome) -> Written:
    """Write the same for one arm of one scenario."""
    return write_comparison(Comparison(runs=outcome.runs, has_rule=False), outcome.directory)


def write_prometheus(path: Path | None, summary: Summary | None) -> None:
    """Write the figures where they were asked for, whole or not at all: a collector may read at any time."""
    if path is not None and summary is not None:
        part = path.with_name(f".{path.name}.part")
        attempt(path, lambda: (part.write_text(render_prometheus(summary), encoding="utf-8"), part.replace(path)))


def attempt(path: Path, make: Callable[[], Made]) -> Made | None:
    """Return the result; if it could not be made, None, with a line on standard error."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - no error may change the verdict
        reason = " ".join(str(error).split())
        sys.stderr.write(
            f"hitless: {path.name} was not written: {type(error).__name__}: {reason}; the verdict is not affected\n"
        )
        with suppress(OSError):  # a folder that cannot be written to
            path.unlink(missing_ok=True)
        return None
