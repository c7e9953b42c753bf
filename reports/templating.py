"""The templates of reports, their filters, and texts for other programs. Only this module imports jinja2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hitless.plural import plural
from reports.quantities import say_count, say_duration, say_ms

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, *, accuracy_ms: float = 0.0, **facts: object) -> str:
    """Return the text that a template renders from the facts that it names.

    In `*.html.j2` every text is escaped; in Markdown the filter `cell` does what is needed. The accuracy interval is what the
    filter `ms` writes behind durations.
    """
    text: str = _make_environment(accuracy_ms, escapes=".html" in template).get_template(template).render(**facts)
    return text


def read_asset(name: str) -> Markup:
    """Return a file of the page as it stands: it is written here, and has no end tag in it."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours, not a record's


def _make_environment(accuracy_ms: float, *, escapes: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
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
        of=plural,
        some=lambda count: say_count(count or None),
        ms=lambda value: say_ms(value, accuracy_ms),
        duration=lambda found: say_duration(found, accuracy_ms),
    )
    environment.globals["style"] = read_asset("page.css")
    return environment


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(escape_cell, line))} |" for line in lines]


def escape_cell(text: object) -> str:
    """Return a text that cannot end a table cell of Markdown or begin a tag."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def annotate(level: str, title: str, text: str) -> str:
    """Return a workflow command of GitHub Actions, which the runner shows beside the change: notice, warning or error.

    Source: GitHub's documentation, "Workflow commands for GitHub Actions"; escapes as in actions/toolkit,
    packages/core/src/command.ts.
    """
    text, title = (part.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for part in (text, f"hitless {title}"))
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"
