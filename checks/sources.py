"""Sources: which source addresses did nodes and Services' pods see, and did these change?

natOutgoing gives packets from pods to nodes the node's address in overlay mode; in native mode the nodes' own network is a pool
of its own and spared, so that nodes see pods' addresses (docs/mechanics.md 4.3). A changed source is no loss, but what filters
by it (a resolver's access list, a firewall) decides again: docs/mechanics.md L5. So it is said, and fails a run only where a
budget asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.evidence import Evidence
from analysis.instrument import of_flow
from checks.check import Limits, make_check
from hitless.facts import Flow
from hitless.history import History
from hitless.plural import plural
from hitless.records import NO_ADDRESS, decode_address
from hitless.verdicts import Finding, doubt, note
from hitless.words import FlowRole, Nanoseconds, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSource:
    """One stretch of a flow in which its reflector saw one source address."""

    flow: Flow
    address: str
    is_rewritten: bool
    """Whether that is not the source's own."""
    first_ns: Nanoseconds
    """Run clock: when the first probe of the stretch was received."""


def seen_sources(history: History, flow: Flow) -> tuple[SeenSource, ...]:
    """Return the source addresses of a flow in order of time; empty if no reflector logged it."""
    log = of_flow(history.records.reflector, flow)
    log = log[log["source"] != NO_ADDRESS]
    if not log.size:
        return ()
    own = next(endpoint.address_of(flow.ip_family) for endpoint in history.facts.endpoints if endpoint.name == flow.source)
    borders = [0, *(np.flatnonzero(log["source"][1:] != log["source"][:-1]) + 1).tolist()]
    return tuple(
        SeenSource(
            flow=flow,
            address=(address := decode_address(log["source"][first])),
            is_rewritten=address != own,
            first_ns=Nanoseconds(int(log["received"][first])),
        )
        for first in borders
    )


@make_check(
    "sources",
    budgets={
        "changed": None,  # flows whose source address changed during the run; null: any
    },
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Say for each family of host and Service flows how its source looked from the other end."""
    limit = limits["changed"]
    asked = evidence.history.flows_of(FlowRole.HOST, FlowRole.SERVICE)
    families: dict[str, list[tuple[SeenSource, ...]]] = {}
    for flow in asked:
        if seen := seen_sources(evidence.history, flow):
            families.setdefault(flow.family, []).append(seen)
    if limit is not None and asked and not families:
        text = f"the other end logged no probe of {plural(len(asked), 'flow')}, so their source addresses are not known"
        yield doubt("source-unknown", text)
    for family, flows in families.items():
        changed = [seen for seen in flows if len({stretch.address for stretch in seen}) > 1]
        always = sum(all(stretch.is_rewritten for stretch in seen) for seen in flows)
        never = sum(not any(stretch.is_rewritten for stretch in seen) for seen in flows)
        text = (
            f"{family}: {always} of {plural(len(flows), 'flow')} always came from a rewritten address, "
            f"{never} always from the source's own address"
        )
        if not changed:
            yield note("source-kept", text)
            continue
        first, *_, last = changed[0]
        text += f"; {len(changed)} changed, such as {first.flow.label} from {first.address} to {last.address}"
        is_over = limit is not None and len(changed) > limit
        yield Finding(
            verdict=Verdict.FAIL if is_over else Verdict.PASS,
            code="source-changed",
            text=f"{text}; allowed: {limit:g}" if is_over else text,
            flow=first.flow.id,
            t_ns=changed[0][1].first_ns,
        )
