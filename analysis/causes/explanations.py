"""The candidates of each segment of an outage, weighed by their times: the input of `attribution`.

An indication speaks for or against a candidate. It has odds: how many times more likely it is if the candidate is the cause
than if an unknown cause acted at a random time. What the model forbids (the flow was answered although it must have been down)
is a hundred times less likely, not impossible: models may be wrong. `analysis.causes.attribution` adds what all segments of a
run show together. Definitions: docs/measuring.md, Causes. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.bounds import Interval
from analysis.causes.candidates import MUST, Candidate, CauseKind, KernelCounter
from analysis.causes.finder import CandidateFinder
from analysis.causes.segments import Segment, Splitter
from analysis.classify import Probes, Way
from analysis.measure import Outage
from hitless.facts import Flow
from hitless.history import History
from hitless.words import MILLISECOND, SECOND, FlowId, FlowRole, Nanoseconds

ODDS_MAX: Final = 1000.0
"""Largest odds of one coincidence, because clocks and models are no better. Chosen here."""
FORBIDDEN: Final = 0.01
"""Odds of what the model forbids. Chosen here."""
LAG_NS: Final = Nanoseconds(1 * SECOND)
"""A candidate may start or stop dropping packets this long after its event: a cloud's consistency, a lost ARP request."""
LAGGED: Final = 0.05
"""Factor on the odds if the effect came later than its cause. Chosen here."""
LASTED: Final = 3.0
"""Odds if both lasted until the probing ended. Chosen here."""
EXACTLY: Final = 4.0
"""Odds if exactly the flows were hit that the candidate would hit. Chosen here."""
COUNTED_MAX: Final = 50.0
"""Odds if a counter accounts for every loss that it could have counted. Chosen here."""
NOT_COUNTED: Final = 0.001
"""Odds if the counter that should have moved did not. Chosen here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indication:
    """One fact that speaks for or against a cause."""

    text: str
    odds: float
    """How many times more likely it is if this is the cause; below 1: it speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The times that coincidence is measured against."""

    probed_ns: int
    """How long the flow was probed."""
    origin_ns: int
    """Zero of the times in texts: the operator's request."""

    def chance(self, window_ns: int, instants: int) -> float:
        """Return the probability that one of a number of random instants falls into a window."""
        return min(1.0, max(1, instants) * max(1, window_ns) / max(1, self.probed_ns))

    def say(self, ns: int) -> str:
        """Return an instant in words."""
        return f"{(ns - self.origin_ns) / MILLISECOND:+.1f} ms"


def can_have(candidate: Candidate, segment: Segment) -> bool:
    """Return whether a candidate was there when the first probe of a segment was dropped: no cause follows its effect."""
    is_begun = candidate.began.earliest_ns <= segment.first.latest_ns
    return is_begun and (candidate.ended is None or candidate.ended.latest_ns >= segment.first.earliest_ns)


def weigh_counter(counter: KernelCounter, moved: int, eligible: int, share: float) -> Indication:
    """Weigh by how much a counter `moved`, out of the lost probes that it could have counted and that nothing else explains.

    `share` is the probability that it counted these losses; see `analysis.causes.attribution`.
    """
    odds = COUNTED_MAX if share >= 1 else max(NOT_COUNTED, min(COUNTED_MAX, share / (1 - share)))
    where = ", ".join(sorted(counter.places))
    counted = f"it could have counted {eligible:,} lost probes, and counted these with probability {share:.0%}"
    text = f"{counter.name} of {where} moved by {moved:,}; {counted}"
    return Indication(text=text, odds=odds)


def weigh_breadth(hit: int, exposed: int, own: int, all_lost: int) -> Indication:
    """Weigh which flows were hit at the same time.

    Of the flows that the candidate would hit (`exposed`), `hit` were hit; of all probes lost then, it could have dropped `own`.
    """
    share = hit / exposed * own / all_lost
    odds = EXACTLY if share == 1 else max(FORBIDDEN, share**2)
    text = f"{hit} of the {exposed} flows that it affects were down; it could have caused {own:,} of {all_lost:,} losses"
    return Indication(text=text, odds=odds)


def _weigh_onset(candidate: Candidate, segment: Segment, instants: int, scale: Scale) -> Iterator[Indication]:
    """Compare the beginnings; `instants`: candidates of its kind that the flow had, each might have coincided."""
    began, onset = candidate.began, segment.onset
    if onset is None:
        return
    if began.meets(onset):
        text = f"it began as {candidate.begin_text} at {scale.say(began.latest_ns)}"
        yield _coincidence(text, began, onset, instants, scale)
    elif candidate.is_begin_free:
        # Only the time made it a candidate, so the time must not count as evidence again.
        yield Indication(text="no event marks its beginning", odds=1.0)
    else:
        lag_ns = onset.earliest_ns - began.latest_ns
        odds = FORBIDDEN
        if lag_ns <= LAG_NS:
            odds = max(odds, LAGGED * min(ODDS_MAX, 1 / scale.chance(2 * lag_ns + onset.length_ns, instants)))
        text = f"the flow was still answered {lag_ns / MILLISECOND:,.1f} ms after {candidate.begin_text}"
        yield Indication(text=text, odds=odds)


def _weigh_end(candidate: Candidate, segment: Segment, instants: int, scale: Scale) -> Iterator[Indication]:
    """Compare the ends; of an open segment no probe passed any more until the probing ended."""
    ended, end, end_text = candidate.ended, segment.end, candidate.end_text or "that ended"
    if segment.is_open and ended is None:
        yield Indication(text="both lasted until probing ended", odds=1.0 if candidate.is_end_free else LASTED)
    elif segment.is_open and ended is not None:
        yield Indication(text=f"it continued although {end_text} at {scale.say(ended.latest_ns)}", odds=FORBIDDEN)
    elif end is None:
        return
    elif ended is not None and ended.meets(end):
        yield _coincidence(f"it ended as {end_text} at {scale.say(ended.latest_ns)}", ended, end, instants, scale)
    elif ended is None or ended.earliest_ns > end.latest_ns:
        if not candidate.is_end_free:
            text = f"the flow was answered again at {scale.say(end.latest_ns)}, before this had ended"
            yield Indication(text=text, odds=FORBIDDEN)
    else:
        lag_ns = end.earliest_ns - ended.latest_ns
        text = f"it lasted another {lag_ns / MILLISECOND:,.1f} ms after {end_text}"
        yield Indication(text=text, odds=4 * LAGGED if lag_ns <= LAG_NS else FORBIDDEN)


def _coincidence(text: str, instant: Interval, window: Interval, instants: int, scale: Scale) -> Indication:
    chance = scale.chance(window.length_ns + instant.length_ns, instants)
    odds = min(ODDS_MAX, 1 / chance)
    width_ms = window.length_ns / MILLISECOND
    return Indication(
        text=f"{text}, known to {width_ms:.1f} ms; a coincidence has a chance of 1 in {odds:,.0f}",
        odds=odds,
    )


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
    """Factor that keeps the claimed losses within the counter's movement; see `analysis.causes.attribution`."""

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
        """Identity of the candidate."""
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
                *_weigh_onset(candidate, segment, instants[candidate.kind], scale),
                *_weigh_end(candidate, segment, instants[candidate.kind], scale),
            ],
        )
        for candidate in candidates
        if can_have(candidate, segment)
    ]
    if flow.role is FlowRole.CONTROL:
        text = "a switch cannot affect a flow within a node"
        likelihoods.append(_own_likelihood(CauseKind.INSTRUMENT, "a control flow", text, 1.0))
    if segment.late:
        text = f"{segment.late:,} of {segment.lost:,} answers came after the threshold: they were not dropped"
        likelihoods.append(_own_likelihood(CauseKind.LATE, "the answers", text, segment.late / segment.lost))
    return Explanation(flow=flow.id, interval_ns=history.interval_of(flow), segment=segment, likelihoods=tuple(likelihoods))


def _own_likelihood(kind: CauseKind, subject: str, text: str, share: float) -> Likelihood:
    """Return a candidate that the losses themselves show, weighed by the share of them that do."""
    odds = 1 / NOT_COUNTED if share >= 1 else share / (1 - share)
    candidate = Candidate(kind=kind, subject=subject, text=text)
    return Likelihood(candidate=candidate, evidence=[Indication(text=text, odds=odds)])
