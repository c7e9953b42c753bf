"""What all losses of a run say together: who else was hit at the same time, and what the kernel counted.

Where a trouble's own times tell nothing (somebody made a filter strict, and no event says when), its victims do: it must have
hit everybody whom it could hit, and nobody else was hit just then. And a counter, which is a sum over the run, must account for
all losses that it could be about and that nothing else explains; once one of them is explained it is asked again. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from analysis.causes.apportion import apportion
from analysis.causes.charges import Case
from analysis.causes.evidence import weigh_breadth, weigh_counter
from analysis.causes.segments import Way
from analysis.causes.suspects import Suspects
from analysis.causes.troubles import CauseKind, Reason, Trouble
from hitless.facts import Flow
from hitless.words import FlowId, FlowRole

_ROUNDS_MAX: Final = 5
_Key = tuple[CauseKind, str]
_Exposed = dict[_Key, list[tuple[FlowId, Trouble]]]


def hear_together(cases: Sequence[Case], suspects: Suspects, flows: Sequence[Flow]) -> None:
    """Add what the cases of a whole run say together."""
    if any(charge.trouble.is_begin_free for case in cases for charge in case.charges):
        exposed = _find_exposed(suspects, flows)
        for group in _group(cases):
            _hear_breadth(group, exposed)
    explained: list[_Key | None] = []
    for _ in range(_ROUNDS_MAX):
        before, explained = explained, [None if case.explained is None else case.explained.key for case in cases]
        if explained == before:
            break
        _hear_counters(cases, suspects)


def _find_exposed(suspects: Suspects, flows: Sequence[Flow]) -> _Exposed:
    """Return for each suspect whose times tell nothing the flows that it could hit, with its times there."""
    exposed: _Exposed = {}
    for flow in flows:
        if flow.role is not FlowRole.CALIBRATION:
            for trouble in (trouble for way in (Way.OUT, Way.BACK) for trouble in suspects.of(flow, way)):
                if trouble.is_begin_free:
                    exposed.setdefault((trouble.kind, trouble.subject), []).append((flow.id, trouble))
    return exposed


def _hear_breadth(group: Sequence[Case], exposed: _Exposed) -> None:
    since_ns = min(case.segment.first.latest_ns for case in group)
    until_ns = max(case.segment.last.earliest_ns for case in group)
    lost = sum(case.segment.lost for case in group)
    charged: defaultdict[_Key, list[Case]] = defaultdict(list)
    for case in group:
        for key in {charge.key for charge in case.charges if charge.trouble.is_begin_free}:
            charged[key].append(case)
    for key, own in charged.items():
        could = {
            flow
            for flow, trouble in exposed.get(key, ())
            if trouble.began.latest_ns <= since_ns and (trouble.ended is None or trouble.ended.earliest_ns >= until_ns)
        }
        hit = {case.flow for case in own}
        evidence = weigh_breadth(len(hit), len(could | hit), sum(case.segment.lost for case in own), lost)
        for charge in (charge for case in own for charge in case.charges if charge.key == key):
            charge.evidence.append(evidence)


def _hear_counters(cases: Sequence[Case], suspects: Suspects) -> None:
    eligible: defaultdict[Reason, list[Case]] = defaultdict(list)
    for case in cases:
        explained = case.explained
        charges = case.charges if explained is None else (explained,)
        for reason in {charge.trouble.reason for charge in charges if charge.trouble.reason is not None}:
            eligible[reason].append(case)
    for reason, about in eligible.items():
        moved = suspects.moved.of(reason.counter, reason.places)
        if moved is None:
            continue
        groups = _group(about)
        sizes = [max(1, sum(case.segment.lost - case.segment.late for case in group)) for group in groups]
        uncounted = [sum(_uncounted(case, reason) for case in group) for group in groups]
        for group, share in zip(groups, apportion(moved, sizes, uncounted), strict=True):
            evidence = weigh_counter(reason, moved, sum(sizes), share)
            for charge in (charge for case in group for charge in case.charges if charge.trouble.reason == reason):
                charge.counted = evidence


def _uncounted(case: Case, reason: Reason) -> int:
    """Return how many of a case's losses may be missing in a count: at least one where it is blind at all, never all."""
    return min(case.segment.lost - 1, -(-reason.blind_ns // case.interval_ns)) if reason.blind_ns else 0


def _group(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the cases by what happened together: each overlaps in time with another one of its group."""
    groups: list[list[Case]] = []
    until_ns = 0
    for case in sorted(cases, key=lambda case: case.segment.first.earliest_ns):
        if not groups or case.segment.first.earliest_ns > until_ns:
            groups.append([])
        groups[-1].append(case)
        until_ns = max(until_ns, case.segment.last.latest_ns)
    return groups
