"""Ordering: did every cloud route exist before the overlay was removed?

This is the purpose of the gate, judged without a single probe: a late route is a fault even if no packet needed it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.cloud_routes import CloudRoutes
from analysis.evidence import Evidence
from checks.check import Limits, make_check
from hitless.plural import plural
from hitless.verdicts import Finding, failure, note
from hitless.words import Kind, Mode, Nanoseconds


@make_check("ordering")  # no budget: any late route fails
def check(evidence: Evidence, _: Limits) -> Iterable[Finding]:
    """Compare the time of each route of each zone's table with the instant from which packets need it."""
    history = evidence.history
    gone = _overlay_gone(evidence)
    if history.header.start_mode is not Mode.OVERLAY or gone is None:
        yield note("not-applicable", "not applicable: the overlay was never removed")
        return
    instant_ns, what = gone
    pairs = [(zone, node.name) for zone in sorted(history.facts.zone_gateways) for node in history.facts.nodes]
    answers = [_judge_route(evidence.cloud_routes, zone, node, instant_ns) for zone, node in pairs]
    late = [finding for finding, _ in answers if finding is not None]
    yield from late
    if not late:
        margins_ns = [margin_ns for _, margin_ns in answers if margin_ns is not None]
        youngest = f"the newest for {min(margins_ns) / 1e6:.1f} ms" if margins_ns else "since before the run"
        text = f"all {plural(len(pairs), 'route')} existed when the overlay was removed ({what}), {youngest}"
        yield note("routes-first", text, t_ns=instant_ns)


def _overlay_gone(evidence: Evidence) -> tuple[Nanoseconds, str] | None:
    """Return the earliest instant from which a node may send natively, and its event; None: there was none.

    The IPPool's apply is the cause and a node's new routes are its effect. Where the first node acts before the apply is seen
    to end, the effect is dated first, so the earlier of both counts. Source: docs/mechanics.md 4.3.
    """
    instants = [
        (event.t_ns, "the IPPool changed")
        for event in evidence.history.events_named("manifest.applied")
        if event.facts.get("kind") == Kind.IP_POOL and event.facts.get("mode") == Mode.NATIVE
    ]
    step = evidence.routes.departure()
    if step is not None:
        instants.append((step.at.earliest_ns, step.text))
    return min(instants, default=None)


def _judge_route(routes: CloudRoutes, zone: str, node: str, gone_ns: Nanoseconds) -> tuple[Finding | None, int | None]:
    """Return the finding where the route was late, or how long it had existed at `gone_ns` where that is known."""
    is_missing, steps = routes.toward(zone, node)
    since_ns: Nanoseconds | None = None
    created_ns: Nanoseconds | None = None
    for step in steps:
        if step.at.latest_ns <= gone_ns:
            is_missing, since_ns = step.is_missing, step.at.latest_ns
        elif not step.is_missing and created_ns is None:
            created_ns = step.at.latest_ns
    if not is_missing:
        return None, None if since_ns is None else gone_ns - since_ns
    where = f"the route to {node} in the table of zone {zone}"
    if created_ns is None:
        text = f"{where} did not exist when the overlay was removed, and was never created"
        return failure("route-missing", text, t_ns=gone_ns), None
    text = f"{where} was created {(created_ns - gone_ns) / 1e6:.1f} ms after the overlay was removed"
    return failure("route-late", text, t_ns=created_ns), None
