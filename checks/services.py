"""Services: did connections through a Service survive, and could new ones be made?

What reaches a pod through a Service may be masqueraded on its way: from outside by a node's port with externalTrafficPolicy
Cluster, and from a node's own network. The kernel forgets a masqueraded connection when its output device changes, even if the
routes are perfect, and what comes on it afterwards is answered with RST: an open connection ends the moment the tunnel is left
(docs/mechanics.md 4.5). A ClusterIP from a pod is DNAT alone and survives. So these flows have a check of their own: what is
found here is no matter of the routes, and no gate can prevent it.
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

NAME: Final = "services"
IS_VALIDITY: Final = False
BUDGETS: Final[Mapping[str, float | None]] = dict.fromkeys(BUDGET_OF.values(), 0)
"""All of them: an application that uses a Service minds each. Numbers over all flows through Services; null: any."""
MASQUERADED: Final = frozenset({FlowSet.NODE_PORT, FlowSet.HOST_CLUSTER_IP})
"""Sets whose source is rewritten by the node that they pass first."""


def check(evidence: Evidence, budgets: JsonObject) -> Iterable[Finding]:
    """Judge the connections of each set and class of flows through Services."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    measures = evidence.connections
    flows = [(flow, measures[flow.id]) for flow in evidence.history.flows_of(FlowRole.SERVICE) if flow.id in measures]
    if not flows:
        text = "not applicable: nothing was probed through a Service"
        yield Finding(verdict=Verdict.PASS, code="not-applicable", text=text)
        return
    yield from say_unprobed(flows, "service-not-probed")
    yield from judge_complaints(flows, limits, tuple(BUDGET_OF), _name_code)
    if not any(measure.complaints for _, measure in flows):
        text = f"{count_opened(flows)}; none was cut, refused, slow or stalled"
        yield Finding(verdict=Verdict.PASS, code="services-served", text=text)


def _name_code(flow_set: FlowSet, flow_class: FlowClass, complaint: Complaint) -> str:
    if complaint is Complaint.RESET and flow_class is FlowClass.TCP_ESTABLISHED and flow_set in MASQUERADED:
        return "masqueraded-reset"
    return f"service-{complaint.value}"
