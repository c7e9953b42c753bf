"""The Markdown report of a comparison, for a pull request: at most 60 lines and one picture; the page has the rest. Pure."""

from __future__ import annotations

from typing import Final

from analysis.comparison import Comparison
from hitless.plural import plural
from reports.extracts import group_findings
from reports.limits import limits
from reports.summary import Summary
from reports.table import headline_rows, identity, verdict_sentence
from reports.templating import render

CAUSES_MAX: Final = 5
"""An arm."""
FINDINGS_MAX: Final = 8


def render_markdown(comparison: Comparison, summary: Summary, *, picture: str | None = None, page: str | None = None) -> str:
    """Return the report as GitHub-flavoured Markdown.

    Args:
        comparison: the runs that the summary was made of.
        summary: their summary.
        picture: address of the picture as seen from the report; None: there is none.
        page: address of the page; None: there is none.
    """
    findings = [group for group in group_findings(summary.findings) if group.check != "comparison"]
    topology = summary.topology
    tested = (
        f"{plural(topology.nodes, 'node')} in {plural(topology.zones, 'zone')}",
        f"a probe every {summary.interval_ms:g} ms per flow",
        *(f"{name} {value}" for name, value in identity(summary)),
    )
    return render(
        "report.md.j2",
        accuracy_ms=summary.accuracy_ms,
        summary=summary,
        sentence=verdict_sentence(summary),
        picture=picture,
        page=page,
        headline=headline_rows(summary),
        identity="; ".join(tested),
        causes=[
            (
                arm,
                one.cause,
                f"{one.outages:,}",
                f"{one.downtime_share:.1%}",
                f"trial {one.example.trial}: {one.example.flow}: {'; '.join(one.example.evidence[:1])}",
            )
            for arm, found in summary.arms.items()
            for one in found.causes[:CAUSES_MAX]
        ],
        findings=findings[:FINDINGS_MAX],
        findings_count=len(findings),
        limits=limits(summary, comparison.runs[0].history),
    )
