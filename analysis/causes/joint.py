"""Evidence from all losses of a run together: which flows were hit at the same time, and what the kernel counted.

If a candidate's own times tell nothing (a filter was made strict, and no event says when), the flows that were hit do: it must
have hit every flow that it could hit, and no other flow was hit at that time. A counter is a sum over the run. It must account
for all losses that it could have counted and that nothing else explains. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from analysis.causes.apportion import apportion
from analysis.causes.budgets import keep_budgets
from analysis.causes.candidates import Candidate, CauseKind, KernelCounter
from analysis.causes.explanations import Explanation
from analysis.causes.finder import CandidateFinder
from analysis.causes.indications import weigh_breadth, weigh_counter
from analysis.causes.segments import Way
from hitless.facts import Flow
from hitless.words import FlowId, FlowRole

_Key = tuple[CauseKind, str]
_Exposed = dict[_Key, list[tuple[FlowId, Candidate]]]


def weigh_together(explanations: Sequence[Explanation], finder: CandidateFinder, flows: Sequence[Flow]) -> None:
    """Add the evidence that only the explanations of a whole run give together."""
    if any(likelihood.candidate.is_begin_free for explanation in explanations for likelihood in explanation.likelihoods):
        exposed = _find_exposed(finder, flows)
        for group in _group(explanations):
            _weigh_breadth(group, exposed)
    _weigh_counters(explanations, finder)
    keep_budgets(explanations, finder.moved)


def _find_exposed(finder: CandidateFinder, flows: Sequence[Flow]) -> _Exposed:
    """Return the flows that each candidate without known times could hit, with its times there."""
    exposed: _Exposed = {}
    for flow in flows:
        if flow.role is not FlowRole.CALIBRATION:
            for candidate in (candidate for way in (Way.OUT, Way.BACK) for candidate in finder.of(flow, way)):
                if candidate.is_begin_free:
                    exposed.setdefault((candidate.kind, candidate.subject), []).append((flow.id, candidate))
    return exposed


def _weigh_breadth(group: Sequence[Explanation], exposed: _Exposed) -> None:
    since_ns = min(explanation.segment.first.latest_ns for explanation in group)
    until_ns = max(explanation.segment.last.earliest_ns for explanation in group)
    lost = sum(explanation.segment.lost for explanation in group)
    claimed: defaultdict[_Key, list[Explanation]] = defaultdict(list)
    for explanation in group:
        for key in {likelihood.key for likelihood in explanation.likelihoods if likelihood.candidate.is_begin_free}:
            claimed[key].append(explanation)
    for key, own in claimed.items():
        could = {
            flow
            for flow, candidate in exposed.get(key, ())
            if candidate.began.latest_ns <= since_ns and (candidate.ended is None or candidate.ended.earliest_ns >= until_ns)
        }
        hit = {explanation.flow for explanation in own}
        evidence = weigh_breadth(len(hit), len(could | hit), sum(explanation.segment.lost for explanation in own), lost)
        for likelihood in (
            likelihood for explanation in own for likelihood in explanation.likelihoods if likelihood.key == key
        ):
            likelihood.evidence.append(evidence)


def _weigh_counters(explanations: Sequence[Explanation], finder: CandidateFinder) -> None:
    eligible: defaultdict[KernelCounter, list[Explanation]] = defaultdict(list)
    for explanation in explanations:
        explained = explanation.explained
        likelihoods = explanation.likelihoods if explained is None else (explained,)
        for counter in {likelihood.candidate.counter for likelihood in likelihoods if likelihood.candidate.counter is not None}:
            eligible[counter].append(explanation)
    for counter, about in eligible.items():
        moved = finder.moved.of(counter.name, counter.places)
        if moved is None:
            continue
        groups = _group(about)
        sizes = [max(1, sum(explanation.segment.lost - explanation.segment.late for explanation in group)) for group in groups]
        for group, share in zip(groups, apportion(moved, sizes), strict=True):
            evidence = weigh_counter(counter, moved, sum(sizes), share)
            for likelihood in (
                likelihood
                for explanation in group
                for likelihood in explanation.likelihoods
                if likelihood.candidate.counter == counter
            ):
                likelihood.counted = evidence


def _group(explanations: Sequence[Explanation]) -> list[list[Explanation]]:
    """Group the explanations by time: each overlaps with another one of its group."""
    groups: list[list[Explanation]] = []
    until_ns = 0
    for explanation in sorted(explanations, key=lambda explanation: explanation.segment.first.earliest_ns):
        if not groups or explanation.segment.first.earliest_ns > until_ns:
            groups.append([])
        groups[-1].append(explanation)
        until_ns = max(until_ns, explanation.segment.last.latest_ns)
    return groups
