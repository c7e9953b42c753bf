"""Connections: did those between pods survive, and could new ones be opened?

TCP retransmits lost packets: an application sees an outage as a stall, a slow connection, or finally a broken one. Continuity
counts messages that were not answered in time, for every class of flow; this check judges the connections.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.connections import Complaint
from analysis.evidence import Evidence
from checks.check import Limits, make_check
from checks.complaints import BUDGET_OF, judge_connections
from hitless.verdicts import Finding
from hitless.words import FlowRole


@make_check(
    "connections",
    # Numbers over all TCP flows between pods; null: any.
    budgets={name: 0 for complaint, name in BUDGET_OF.items() if complaint is not Complaint.LOST},
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Judge the connections of each set and class of TCP flows between pods of different nodes, and from pods to nodes."""
    return judge_connections(
        evidence,
        (FlowRole.POD, FlowRole.HOST),
        limits,
        lambda _flow, complaint: f"connection-{complaint.value}",
        what="no connections were probed between pods",
        code_unprobed="connections-not-probed",
        code_good="connections-held",
    )
