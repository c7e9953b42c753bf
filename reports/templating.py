"""The templates of reports: what every one of them may use. Only this module imports jinja2."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hitless.plural import plural
from reports.quantities import NONE, say_count, say_ms
from reports.summary import Summary

TEMPLATES: Final = Path(__file__).parent / "templates"


def make_environment(summary: Summary, *, escapes: bool) -> Environment:
    """Return the environment that renders a summary.

    Args:
        summary: gives durations their accuracy interval.
        escapes: whether every text is escaped for HTML; in Markdown the filter `cell` does what is needed.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=escapes,  # noqa: S701 - Markdown is no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        cell=escape_cell,
        plain=lambda value: f"{value:g}",
        count=say_count,
        cells=lambda row: tuple(getattr(row, field.name) for field in fields(row)),
        of=plural,
        ms=lambda value: say_ms(value, summary.accuracy_ms),
        drops=lambda value: say_count(value) if value else NONE,
    )
    return environment


def escape_cell(text: object) -> str:
    """Return a text that cannot end a table cell of Markdown or begin a tag."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
