"""The suspects of each stretch of losses, with all the evidence against them: what `hitless.causes` makes a judgement of.

Times first, for each stretch by itself. Counters last, as they are sums of the whole run: a counter is asked to account for all
losses that it could be about and that nothing else explains. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hitless.evidence import NOT_COUNTED, Evidence, Scale, can_have, weigh_counter, weigh_times
from hitless.history import History
from hitless.measure import Outage, classify_flow
from hitless.ports import Flow
from hitless.segments import Segment, split
from hitless.suspects import Suspects
from hitless.troubles import CauseKind, Reason, Trouble, make_span
from hitless.words import FlowRole

CERTAIN: Final = 0.9
"""A score from which on a loss counts as explained, so that no counter need be about it. Ours."""
MUST: Final = 5.0
"""Odds of a trouble that must lose what passes it, before any evidence. Ours."""


@dataclass(slots=True, kw_only=True)
class Charge:
    """One suspect of one segment."""

    trouble: Trouble
    evidence: list[Evidence]
    """First what is to be proven."""

    @property
    def weight(self) -> float:
        """Odds against `unexplained`, after the evidence so far."""
        weight = MUST if self.trouble.prior >= 1 else self.trouble.prior
        for evidence in self.evidence:
            weight *= evidence.odds
        return weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One segment of an outage with all its suspects."""

    segment: Segment
    charges: tuple[Charge, ...]

    @property
    def total(self) -> float:
        """The odds of all, `unexplained` with its 1 among them."""
        return 1.0 + sum(charge.weight for charge in self.charges)

    @property
    def explained(self) -> Charge | None:
        """The suspect that accounts for it by its times, whatever the counters say."""
        total = self.total
        found = (one for one in self.charges if one.weight / total >= CERTAIN and not one.trouble.is_begin_free)
        return next(found, None)


def charge_outages(
    history: History, flow: Flow, outages: Sequence[Outage], suspects: Suspects
) -> Iterator[tuple[Outage, tuple[Case, ...]]]:
    """Yield every outage of a flow with a case a segment; counters are not heard yet."""
    probes = classify_flow(history, flow)
    request = history.first_event("switch.requested")
    before = probes.rows["before"]
    scale = Scale(probed_ns=int(before[-1] - before[0]), origin_ns=0 if request is None else request.t_ns)
    for outage in outages:
        segments = split(outage, probes)
        yield outage, tuple(_charge(flow, segment, suspects.of(flow, segment.way), scale) for segment in segments)


def hear_counters(cases: Sequence[Case], suspects: Suspects) -> None:
    """Add what the counters say to the cases of a whole run."""
    eligible: defaultdict[Reason, int] = defaultdict(int)
    for case in cases:
        explained = case.explained
        charges = case.charges if explained is None else (explained,)
        for reason in {charge.trouble.reason for charge in charges if charge.trouble.reason is not None}:
            eligible[reason] += case.segment.lost - case.segment.late
    moved = {reason: suspects.moved.of(reason.counter, reason.places) for reason in eligible}
    for charge in (charge for case in cases for charge in case.charges):
        counter = charge.trouble.reason
        count = None if counter is None else moved.get(counter)
        if counter is not None and count is not None:
            charge.evidence.append(weigh_counter(counter, count, eligible[counter]))


def _charge(flow: Flow, segment: Segment, troubles: Sequence[Trouble], scale: Scale) -> Case:
    instants = Counter(trouble.kind for trouble in troubles)
    charges = [
        Charge(
            trouble=trouble,
            evidence=[
                Evidence(text=trouble.text, odds=1.0, facts=dict(trouble.facts)),
                *weigh_times(trouble, segment, instants[trouble.kind], scale),
            ],
        )
        for trouble in troubles
        if can_have(trouble, segment)
    ]
    if flow.role is FlowRole.CONTROL:
        text = "no switch can touch a flow within a node"
        charges.append(_own_charge(CauseKind.INSTRUMENT, "a control flow", text, 1.0))
    if segment.late:
        text = f"{segment.late:,} of {segment.lost:,} answers came after the threshold: nobody dropped them"
        charges.append(_own_charge(CauseKind.LATE, "the answers", text, segment.late / segment.lost))
    return Case(segment=segment, charges=tuple(charges))


def _own_charge(kind: CauseKind, subject: str, text: str, share: float) -> Charge:
    """Return a suspect that the losses themselves name, with the share of them that do."""
    odds = 1 / NOT_COUNTED if share >= 1 else share / (1 - share)
    trouble = Trouble(kind=kind, subject=subject, text=text, began=make_span(0, 0), ended=None, begin_text="")
    return Charge(trouble=trouble, evidence=[Evidence(text=text, odds=odds, facts={"share": share})])
