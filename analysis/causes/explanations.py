"""The candidates of each segment of an outage, weighed by their times: the input of `attribution`.

`analysis.causes.joint` adds what all segments of a run show together. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.causes.candidates import MUST, Candidate, CauseKind
from analysis.causes.finder import CandidateFinder
from analysis.causes.indications import NOT_COUNTED, Indication, Scale, can_have, weigh_times
from analysis.causes.segments import Segment, Splitter, Way
from analysis.classify import Probes
from analysis.interval import make_interval
from analysis.measure import Outage
from hitless.facts import Flow
from hitless.history import History
from hitless.words import FlowId, FlowRole, Nanoseconds

CERTAIN: Final = 0.9
"""From this score on a loss counts as explained and no other counter has to account for it. Chosen here."""


@dataclass(slots=True, kw_only=True)
class Likelihood:
    """One candidate of one segment."""

    candidate: Candidate
    evidence: list[Indication]
    """The claim first."""
    counted: Indication | None = None
    """The indication of the kernel's counter; None: no counter tells."""
    budget: float = 1.0
    """Factor that keeps the claimed losses within the counter's movement; see `analysis.causes.budgets`."""

    @property
    def weight(self) -> float:
        """Odds against `unexplained`, after the evidence so far."""
        weight = self.candidate.prior * self.budget
        for evidence in self.all_evidence:
            weight *= evidence.odds
        return weight

    @property
    def all_evidence(self) -> tuple[Indication, ...]:
        """All evidence."""
        return (*self.evidence, *filter(None, [self.counted]))

    @property
    def key(self) -> tuple[CauseKind, str]:
        """What identifies the candidate."""
        return self.candidate.kind, self.candidate.subject


@dataclass(slots=True, kw_only=True)
class Explanation:
    """One segment of an outage with all its candidates."""

    flow: FlowId
    interval_ns: Nanoseconds
    """Time between two probes of the flow."""
    segment: Segment
    likelihoods: tuple[Likelihood, ...]
    unexplained: float = 1.0
    """Odds of an unknown cause."""

    @property
    def total(self) -> float:
        """The odds of all, `unexplained` among them."""
        return self.unexplained + sum(likelihood.weight for likelihood in self.likelihoods)

    @property
    def explained(self) -> Likelihood | None:
        """The candidate that certainly accounts for it."""
        total = self.total
        return next((likelihood for likelihood in self.likelihoods if likelihood.weight / total >= CERTAIN), None)


def explain_outages(
    history: History, flow: Flow, outages: Sequence[Outage], probes: Probes, finder: CandidateFinder
) -> Iterator[tuple[Outage, tuple[Explanation, ...]]]:
    """Yield every outage of a flow with an explanation for each of its segments."""
    sent_ns = probes.rows["send_began_ns"]
    scale = Scale(probed_ns=int(sent_ns[-1] - sent_ns[0]), origin_ns=history.origin_ns)
    splitter = Splitter(probes)
    candidates = {way: finder.of(flow, way) for way in Way}
    for outage in outages:
        explanations = []
        for whole in splitter.split(outage):
            parts = splitter.cut(whole, _find_takeovers(whole, candidates[whole.way]))
            explanations += [_explain(history, flow, part, candidates[whole.way], scale) for part in parts]
        yield outage, tuple(explanations)


def _find_takeovers(segment: Segment, candidates: Sequence[Candidate]) -> list[int]:
    """Return when further candidates began that must have dropped all later packets of a flow that was already down."""
    return [
        candidate.began.latest_ns
        for candidate in candidates
        if candidate.prior >= MUST
        and not candidate.is_begin_free
        and candidate.began.earliest_ns > segment.first.latest_ns
        and (candidate.ended is None or candidate.ended.latest_ns >= segment.last.earliest_ns)
    ]


def _explain(history: History, flow: Flow, segment: Segment, candidates: Sequence[Candidate], scale: Scale) -> Explanation:
    instants = Counter(candidate.kind for candidate in candidates)
    likelihoods = [
        Likelihood(
            candidate=candidate,
            evidence=[
                Indication(text=candidate.text, odds=1.0),
                *weigh_times(candidate, segment, instants[candidate.kind], scale),
            ],
        )
        for candidate in candidates
        if can_have(candidate, segment)
    ]
    if flow.role is FlowRole.CONTROL:
        text = "no switch can touch a flow within a node"
        likelihoods.append(_own_likelihood(CauseKind.INSTRUMENT, "a control flow", text, 1.0))
    if segment.late:
        text = f"{segment.late:,} of {segment.lost:,} answers came after the threshold: they were not dropped"
        likelihoods.append(_own_likelihood(CauseKind.LATE, "the answers", text, segment.late / segment.lost))
    return Explanation(flow=flow.id, interval_ns=history.interval_of(flow), segment=segment, likelihoods=tuple(likelihoods))


def _own_likelihood(kind: CauseKind, subject: str, text: str, share: float) -> Likelihood:
    """Return a candidate that the losses themselves show, weighed by the share of them that do."""
    odds = 1 / NOT_COUNTED if share >= 1 else share / (1 - share)
    candidate = Candidate(kind=kind, subject=subject, text=text, began=make_interval(0, 0), ended=None, begin_text="")
    return Likelihood(candidate=candidate, evidence=[Indication(text=text, odds=odds)])
