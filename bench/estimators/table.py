"""The tools' estimated reports as rows of strings, below the measurement."""

from __future__ import annotations

from collections.abc import Iterator

from bench.estimators.estimate import ArmEstimates, Range, Share
from bench.estimators.tools import Unit
from reports.quantities import NONE, Duration, say_duration


def tool_rows(found: ArmEstimates, interval_ms: float) -> Iterator[tuple[str, ...]]:
    """Yield the line of hitless and one a tool: name, how it samples, worst flow, all flows, flows reported, nothing."""
    yield (
        "hitless",
        f"a probe each {interval_ms:g} ms; an outage's two lengths",
        _say_range(found.worst_flow_ms, interval_ms),
        _say_range(found.all_flows_ms, interval_ms),
        f"{found.flows_hit:,}",
        NONE,
    )
    for name, estimate in found.tools.items():
        yield (
            name,
            estimate.does,
            say_range(estimate.worst_flow, estimate.unit),
            say_range(estimate.all_flows, estimate.unit),
            say_mean(estimate.flows_reported),
            say_share(estimate.nothing),
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


def _say_range(found: Range | None, interval_ms: float) -> str:
    if found is None:
        return NONE
    return say_duration(Duration(shortest=found[0], likely=None, longest=found[1]), interval_ms)
