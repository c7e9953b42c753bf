"""Tables of a question, made from its stored answer alone, so that no number in the docs is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from hitless.errors import UsageError


@unique
class BenchFormat(StrEnum):
    """What the benchmark prints on standard output."""

    TEXT = "text"
    """Tables, each as soon as it is known."""
    MARKDOWN = "markdown"
    """The same tables as docs/benchmarks.md has them."""
    JSON = "json"
    """What is stored in bench.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What the columns mean and what was aimed at."""


def to_markdown(table: Table) -> str:
    """Return a table as Markdown, title and note around it."""
    lines = [f"**{table.title}**", "", _markdown_row(table.columns), "|---|" + "---:|" * (len(table.columns) - 1)]
    lines += [_markdown_row(row) for row in table.rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def fill_in(text: str, answers: Mapping[str, str], where: str) -> str:
    """Put Markdown between the markers `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` of a document, for every name.

    Args:
        text: the document.
        answers: question to what stands between its markers from now on.
        where: names the document in messages.

    Raises:
        UsageError: a pair of markers is missing.
    """
    for name, answer in answers.items():
        opening, closing = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        pattern = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
        if not pattern.search(text):
            raise UsageError(where=where, found=f"no {opening} with {closing} behind it", expected="both, each once")
        text = pattern.sub(lambda _, body=f"{opening}\n{answer}{closing}": body, text, count=1)  # type: ignore[misc]
    return text
