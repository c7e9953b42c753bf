"""Sources: from which address did nodes and Services' pods see their callers, and did that change?

A changed source is no loss, but what filters by it (a resolver's access list, a firewall) decides again: docs/mechanics.md
4.3, L5. So it is said, and fails a run only where a budget asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.evidence import Evidence
from analysis.sources import SeenSource, seen_sources
from checks.check import Limits, make_check
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, note
from hitless.words import FlowRole, Verdict


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
        text = f"no probe of {plural(len(asked), 'flow')} was logged at the other end: their source addresses are not known"
        yield doubt("source-unknown", text)
    for family, flows in families.items():
        changed = [seen for seen in flows if len({stretch.address for stretch in seen}) > 1]
        always = sum(all(stretch.is_rewritten for stretch in seen) for seen in flows)
        never = sum(not any(stretch.is_rewritten for stretch in seen) for seen in flows)
        text = (
            f"{family}: {always} of {plural(len(flows), 'flow')} always came from a rewritten address, "
            f"{never} always from the source's own"
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
