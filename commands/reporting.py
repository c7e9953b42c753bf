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
from hitless.words import JsonObject
from reports.page import render_markdown, render_page
from reports.picture import render_svg
from reports.prometheus import render_prometheus
from reports.summary import Summary, summarise

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What could be made of a comparison whose verdict is stored."""

    summary: Summary | None
    """None: neither it nor `summary.json` could be made."""
    page_path: Path | None
    """The page, `report.html`; None: it could not be made."""


def write_comparison(comparison: Comparison, directory: Path, *, must_store: bool = True) -> Written:
    """Write `verdict.json` and `summary.json`, then `report.html`, `chart.svg` and `report.md`, each as far as it can be made.

    If nothing must be stored, a folder that is not writable is no error.

    Raises:
        WorldError: the verdict cannot be written.
    """
    try:
        write_json(directory / "verdict.json", describe_decision(comparison))
    except WorldError as error:
        if must_store:
            raise
        sys.stderr.write(f"hitless: {error}; nothing is stored; the verdict is not affected\n")
        return Written(summary=attempt(directory / "summary.json", lambda: summarise(comparison)), page_path=None)
    for name in ("summary.json", "report.html", "chart.svg", "report.md"):
        (directory / name).unlink(missing_ok=True)

    def render(name: str, make: Callable[[], str]) -> str | None:
        path = directory / name
        return name if attempt(path, lambda: path.write_text(make(), encoding="utf-8")) else None

    def summarise_and_store() -> Summary:
        summary = summarise(comparison)
        write_json(directory / "summary.json", summary.as_json())
        return summary

    summary = attempt(directory / "summary.json", summarise_and_store)
    page = None if summary is None else render("report.html", lambda: render_page(comparison, summary))
    picture = render("chart.svg", lambda: render_svg(comparison))
    if summary is not None:
        render("report.md", lambda: render_markdown(comparison, summary, picture=picture, page=page))
    return Written(summary=summary, page_path=None if page is None else directory / page)


def describe_decision(comparison: Comparison) -> JsonObject:
    """Return the document `verdict.json`."""
    decision = comparison.decision
    return {"verdict": decision.verdict, "findings": [asdict(finding) for finding in decision.findings]}


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
