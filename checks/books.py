"""Books: does the kernel account for every lost probe?

If no counter of the lab shows a lost probe, the instrument lost it or the ledger is wrong. Do not trust the number until that
is understood.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.evidence import Evidence
from analysis.ledger import Ledger
from checks.check import Limits, make_check
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, note
from hitless.words import IpFamily


@make_check(
    "books",
    budgets={
        "lost_unexplained": 0,  # probes; null: any
    },
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Balance lost probes of all IPv4 flows, control flows included, against the drops of all namespaces."""
    ledger = evidence.ledger
    if ledger is None:
        yield note(
            "counters-not-available", "not available: this cluster does not count packets in every namespace between two pods"
        )
        return
    if any(flow.ip_family is IpFamily.IPV6 for flow in evidence.history.flows):
        yield note("ipv6-not-balanced", "the books cover IPv4 only; lost IPv6 probes are not in them")
    limit = limits["lost_unexplained"]
    if limit is not None and ledger.lost_unexplained > limit:
        text = f"{ledger.lost_unexplained} of {plural(ledger.lost, 'lost probe')} not accounted for: {_drops(ledger)}"
        yield doubt("loss-unexplained", text)
        return
    text = f"{plural(ledger.lost, 'probe')} lost; {_drops(ledger)}"
    yield note("books-balanced", text)
    if ledger.surplus:
        text = (
            f"the kernel dropped {plural(ledger.surplus, 'packet')} beyond the lost probes: other traffic, or answers to copies"
        )
        yield note("drops-surplus", text)


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
    return f"{text}; it may also have refused up to {plural(unknown, 'packet')} of the nodes' own senders" if unknown else text
