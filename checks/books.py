"""Books: does the kernel account for every lost probe?

If no counter of the lab shows a lost probe, the instrument lost it or the ledger is wrong. Do not trust the number until that
is understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from analysis.evidence import Evidence
from analysis.ledger import Ledger
from checks.budgets import read_budgets
from hitless.plural import plural
from hitless.verdicts import Finding
from hitless.words import IpFamily, JsonObject, Verdict

NAME: Final = "books"
IS_VALIDITY: Final = False
BUDGETS: Final[Mapping[str, float | None]] = {
    "lost_unexplained": 0,  # probes; null: any
}
"""Budget name to its default."""


def check(evidence: Evidence, budgets: JsonObject) -> Iterable[Finding]:
    """Balance lost probes of all IPv4 flows, control flows included, against the drops of all namespaces."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    ledger = evidence.ledger
    if ledger is None:
        text = "not available: this cluster has no counters of every namespace between two pods"
        yield Finding(verdict=Verdict.PASS, code="counters-not-available", text=text)
        return
    if any(flow.ip_family is IpFamily.IPV6 for flow in evidence.history.flows):
        text = "the books are of IPv4: no lost IPv6 probe is in them"
        yield Finding(verdict=Verdict.PASS, code="ipv6-not-balanced", text=text)
    limit = limits["lost_unexplained"]
    if limit is not None and ledger.lost_unexplained > limit:
        text = f"{ledger.lost_unexplained} of {plural(ledger.lost, 'lost probe')} not accounted for: {_drops(ledger)}"
        yield Finding(verdict=Verdict.INCONCLUSIVE, code="loss-unexplained", text=text)
        return
    text = f"{plural(ledger.lost, 'probe')} lost; {_drops(ledger)}"
    yield Finding(verdict=Verdict.PASS, code="books-balanced", text=text)
    if ledger.surplus:
        text = (
            f"the kernel dropped {plural(ledger.surplus, 'packet')} beyond the lost probes: other traffic, or answers to copies"
        )
        yield Finding(verdict=Verdict.PASS, code="drops-surplus", text=text)


def _drops(ledger: Ledger) -> str:
    """Describe the kernel's drops by kind of place."""
    kinds = {
        "on input": sum(place.input_drops for place in ledger.places),
        "on output": sum(place.output_drops for place in ledger.places),
        "at sockets": sum(place.socket_drops for place in ledger.places),
        "on links": ledger.link_drops,
        "of them counted twice, in a tunnel": ledger.tunnel_drops,
    }
    parts = ", ".join(f"{count} {where}" for where, count in kinds.items() if count)
    text = f"the kernel dropped {plural(ledger.dropped, 'packet')} ({parts})" if parts else "the kernel dropped nothing"
    unknown = ledger.refusals_unknown
    return f"{text}; it may have refused up to {unknown} more packets of the nodes' own senders" if unknown else text
