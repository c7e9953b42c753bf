"""Services: did connections through a Service survive, and could new ones be made?

What reaches a pod through a Service may be masqueraded on its way: from outside by a node's port with externalTrafficPolicy
Cluster, and from a node's own network. The kernel forgets a masqueraded connection when its output device changes, even if the
routes are perfect, and what comes on it afterwards is answered with RST: an open connection ends the moment the tunnel is left
(docs/mechanics.md 4.5). A ClusterIP from a pod is DNAT alone and survives. So these flows have a check of their own: what is
found here is no matter of the routes, and no gate can prevent it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from analysis.connections import Complaint
from analysis.evidence import Evidence
from checks.check import Limits, make_check
from checks.complaints import BUDGET_OF, judge_connections
from hitless.facts import Flow
from hitless.verdicts import Finding
from hitless.words import FlowClass, FlowRole, FlowSet

MASQUERADED: Final = frozenset({FlowSet.NODE_PORT, FlowSet.HOST_CLUSTER_IP})
"""Sets whose source is rewritten by the node that they pass first."""


@make_check(
    "services",
    # All of them: an application that uses a Service minds each. Numbers over all flows through Services; null: any.
    budgets=dict.fromkeys(BUDGET_OF.values(), 0),
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Judge the connections of each set and class of flows through Services."""
    return judge_connections(
        evidence,
        (FlowRole.SERVICE,),
        limits,
        _name_code,
        what="nothing was probed through a Service",
        code_unprobed="service-not-probed",
        code_good="services-served",
    )


def _name_code(flow: Flow, complaint: Complaint) -> str:
    if complaint is Complaint.RESET and flow.flow_class is FlowClass.TCP_ESTABLISHED and flow.flow_set in MASQUERADED:
        return "masqueraded-reset"
    return f"service-{complaint.value}"
