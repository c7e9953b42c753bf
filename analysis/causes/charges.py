"""The suspects of each stretch of losses, with what its times say of each: what `attribution` makes a judgement of.

What all stretches of a run say together (`analysis.causes.hearing`) comes on top. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.causes.evidence import NOT_COUNTED, Evidence, Scale, can_have, weigh_times
from analysis.causes.segments import Segment, Splitter, Way
from analysis.causes.suspects import Suspects
from analysis.causes.troubles import MUST, CauseKind, Trouble, make_span
from analysis.measure import Outage, classify_flow
from hitless.facts import Flow
from hitless.history import History
from hitless.words import FlowId, FlowRole, Nanoseconds

CERTAIN: Final = 0.9
"""A score from which on a loss counts as explained, so that no counter need be about it. Ours."""


@dataclass(slots=True, kw_only=True)
class Charge:
    """One suspect of one segment."""

    trouble: Trouble
    evidence: list[Evidence]
    """First what is to be proven."""
    counted: Evidence | None = None
    """What the kernel's counter says, as long as it stands."""

    @property
    def weight(self) -> float:
        """Odds against `unexplained`, after the evidence so far."""
        weight = self.trouble.prior
        for evidence in self.heard:
            weight *= evidence.odds
        return weight

    @property
    def heard(self) -> tuple[Evidence, ...]:
        """All evidence."""
        return (*self.evidence, *filter(None, [self.counted]))

    @property
    def key(self) -> tuple[CauseKind, str]:
        """Who is charged."""
        return self.trouble.kind, self.trouble.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One segment of an outage with all its suspects."""

    flow: FlowId
    interval_ns: Nanoseconds
    """Time between two probes of the flow."""
    segment: Segment
    charges: tuple[Charge, ...]

    @property
    def total(self) -> float:
        """The odds of all, `unexplained` with its 1 among them."""
        return 1.0 + sum(charge.weight for charge in self.charges)

    @property
    def explained(self) -> Charge | None:
        """The suspect that certainly accounts for it."""
        total = self.total
        return next((charge for charge in self.charges if charge.weight / total >= CERTAIN), None)


def charge_outages(
    history: History, flow: Flow, outages: Sequence[Outage], suspects: Suspects
) -> Iterator[tuple[Outage, tuple[Case, ...]]]:
    """Yield every outage of a flow with a case a segment."""
    probes = classify_flow(history, flow)
    request = history.first_event("switch.requested")
    before = probes.rows["send_began_ns"]
    scale = Scale(probed_ns=int(before[-1] - before[0]), origin_ns=0 if request is None else request.t_ns)
    splitter = Splitter(probes)
    troubles = {way: suspects.of(flow, way) for way in Way}
    for outage in outages:
        cases = []
        for whole in splitter.split(outage):
            parts = splitter.cut(whole, _find_takeovers(whole, troubles[whole.way]))
            cases += [_charge(history, flow, part, troubles[whole.way], scale) for part in parts]
        yield outage, tuple(cases)


def _find_takeovers(segment: Segment, troubles: Sequence[Trouble]) -> list[int]:
    """Return when troubles began, while others had already broken the flow, that must have lost what came after."""
    return [
        trouble.began.latest_ns
        for trouble in troubles
        if trouble.prior >= MUST
        and not trouble.is_begin_free
        and trouble.began.earliest_ns > segment.first.latest_ns
        and (trouble.ended is None or trouble.ended.earliest_ns >= segment.last.latest_ns)
    ]


def _charge(history: History, flow: Flow, segment: Segment, troubles: Sequence[Trouble], scale: Scale) -> Case:
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
    return Case(flow=flow.id, interval_ns=history.interval_of(flow), segment=segment, charges=tuple(charges))


def _own_charge(kind: CauseKind, subject: str, text: str, share: float) -> Charge:
    """Return a suspect that the losses themselves name, with the share of them that do."""
    odds = 1 / NOT_COUNTED if share >= 1 else share / (1 - share)
    trouble = Trouble(kind=kind, subject=subject, text=text, began=make_span(0, 0), ended=None, begin_text="")
    return Charge(trouble=trouble, evidence=[Evidence(text=text, odds=odds, facts={"share": share})])
