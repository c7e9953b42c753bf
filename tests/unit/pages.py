"""The page of a comparison as lines of text: a table row is `| cell | cell |`, a fold's title `## title`."""

from __future__ import annotations

from html.parser import HTMLParser

from analysis.comparison import Comparison
from reports.page import render_page
from reports.summary import summarise

_CELLS = frozenset({"td", "th"})
_BLOCKS = frozenset({"p", "h1", "h2", "h3", "summary", "caption", "li", "tr", "dt", "dd"})
_SILENT = frozenset({"script", "style", "title"})


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._silent = 0

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.lines.append({"summary": "## ", "caption": "### ", "tr": "| "}.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in _SILENT
        if tag in _CELLS:
            self.lines[-1] += " | "
        elif tag in _BLOCKS:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.lines[-1] += " ".join(data.split()) if data.strip() else ""


def page_lines(comparison: Comparison) -> list[str]:
    """Return the lines of the page of a comparison, without those that are empty."""
    reader = _Reader()
    reader.feed(render_page(comparison, summarise(comparison)))
    return [line.strip() for line in reader.lines if line.strip()]


def page_text(comparison: Comparison) -> str:
    """Return the same as one text."""
    return "\n".join(page_lines(comparison)) + "\n"
