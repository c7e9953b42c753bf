"""What the tools would have said, as rows of strings: each tool below what we measured."""

from __future__ import annotations

from dataclasses import dataclass

from reports.estimators.estimate import Range, Share
from reports.estimators.tools import Unit
from reports.quantities import NONE, say_bounds
from reports.summary import ArmSummary, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """One line of an arm's table."""

    tool: str
    does: str
    """How it samples and what it reports."""
    worst_flow: str
    all_flows: str
    flows_reported: str
    nothing: str


def tool_rows(summary: Summary, arm: ArmSummary) -> tuple[ToolRow, ...]:
    """Return our own line and one a tool."""
    found = arm.estimators
    ours = ToolRow(
        tool="hitless",
        does=f"a probe each {summary.interval_ms:g} ms; an outage's two lengths",
        worst_flow=say_bounds(found.worst_flow_ms, summary.accuracy_ms),
        all_flows=say_bounds(found.all_flows_ms, summary.accuracy_ms),
        flows_reported=f"{found.flows_hit:,}",
        nothing=NONE,
    )
    return (
        ours,
        *(
            ToolRow(
                tool=name,
                does=estimate.does,
                worst_flow=say_range(estimate.worst_flow, estimate.unit),
                all_flows=say_range(estimate.all_flows, estimate.unit),
                flows_reported=say_mean(estimate.flows_reported),
                nothing=say_share(estimate.nothing),
            )
            for name, estimate in found.tools.items()
        ),
    )


def say_range(found: Range | None, unit: Unit) -> str:
    """Return a range in a tool's unit, or `>=` its least where a flow had no end."""
    if found is None:
        return NONE
    least, most = found
    if most is None:
        return f">= {least:,.0f} {unit}"
    return f"{least:,.0f} {unit}" if least == most else f"{least:,.0f} to {most:,.0f} {unit}"


def say_mean(found: Share) -> str:
    """Return between which two numbers a mean lies."""
    least, most = (f"{value:,.1f}" for value in found)
    return least if least == most else f"{least} to {most}"


def say_share(found: Share) -> str:
    """Return between which two percentages a probability lies."""
    least, most = (f"{value:.1%}" for value in found)
    return least if least == most else f"{least} to {most}"
