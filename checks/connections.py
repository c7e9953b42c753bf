"""Connections: did those between pods survive, and could new ones be opened?

TCP retransmits lost packets: an application sees an outage as a stall, a slow connection, or finally a broken one. Continuity
counts messages that were not answered in time, for every class of flow; this check judges the connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from analysis.connections import Complaint
from analysis.evidence import Evidence
from checks.budgets import read_budgets
from checks.complaints import BUDGET_OF, count_opened, judge_complaints, say_unprobed
from hitless.verdicts import Finding
from hitless.words import FlowClass, FlowRole, FlowSet, JsonObject, Verdict

NAME: Final = "connections"
IS_VALIDITY: Final = False
COMPLAINTS: Final = tuple(complaint for complaint in BUDGET_OF if complaint is not Complaint.LOST)
BUDGETS: Final[Mapping[str, float | None]] = dict.fromkeys((BUDGET_OF[complaint] for complaint in COMPLAINTS), 0)
"""Numbers over all TCP flows between pods; null: any."""


def check(evidence: Evidence, budgets: JsonObject) -> Iterable[Finding]:
    """Judge the connections of each set and class of TCP flows between pods of different nodes, and from pods to nodes."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    measures, roles = evidence.connections, (FlowRole.POD, FlowRole.HOST)
    flows = [(flow, measures[flow.id]) for flow in evidence.history.flows_of(*roles) if flow.id in measures]
    if not flows:
        text = "not applicable: no connections were probed between pods"
        yield Finding(verdict=Verdict.PASS, code="not-applicable", text=text)
        return
    yield from say_unprobed(flows, "connections-not-probed")
    yield from judge_complaints(flows, limits, COMPLAINTS, _name_code)
    if not any(measure.count(complaint) for _, measure in flows for complaint in COMPLAINTS):
        text = f"{count_opened(flows)}; none was cut, refused, slow or stalled"
        yield Finding(verdict=Verdict.PASS, code="connections-held", text=text)


def _name_code(_flow_set: FlowSet, _flow_class: FlowClass, complaint: Complaint) -> str:
    return f"connection-{complaint.value}"
