"""Limits of a comparison, as sentences: events that it could not have seen. Pure. The sentences are templates/limits.txt.j2."""

from __future__ import annotations

from hitless.history import History
from reports.summary import Summary
from reports.templating import render


def limits(summary: Summary, first: History) -> list[str]:
    """Return the sentences; `first` is any run of the comparison."""
    text = render(
        "limits.txt.j2",
        summary=summary,
        facts=first.facts,
        nodes_left=_nodes_not_probed(first),
        classes=len({name for arm in summary.arms.values() for name in arm.classes}),
        interpreted=sum(report.inner_loop == "python" for report in first.records.reports),
    )
    return [" ".join(sentence.split()) for sentence in text.split("\n\n")]


def _nodes_not_probed(run: History) -> list[str]:
    """Return the nodes whose pods take part in no flow, such as those that leave permanently."""
    probed = {end for flow in run.flows for end in (flow.source, flow.destination)}
    nodes = {end.node for end in run.facts.endpoints if end.name in probed}
    return sorted({end.node for end in run.facts.endpoints if end.is_pod} - nodes)
