"""Indications for and against a candidate: coincidence in time, and the kernel's counters.

An indication has odds: how many times more likely it is if the candidate did it than if it was something unknown that
came at a random time. That two instants fall into a window of a few milliseconds by chance is rare, and how rare follows
from the window, the number of such instants and the time that was probed. What the model forbids (the flow was answered
although it must have been down) is not impossible, as models are wrong, but a hundred times less likely. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from analysis.causes.candidates import Candidate, KernelCounter
from analysis.causes.segments import Segment
from analysis.interval import Interval
from hitless.words import MILLISECOND, SECOND, JsonObject, Nanoseconds

ODDS_MAX: Final = 1000.0
"""Of one coincidence: clocks and models are not better than that. Chosen here."""
FORBIDDEN: Final = 0.01
"""Odds of what the model says cannot be. Chosen here."""
LAG_NS: Final = Nanoseconds(1 * SECOND)
"""A candidate may begin or stop to drop later than its event by this: a cloud's consistency, a lost ARP request."""
LAGGED: Final = 0.05
"""Of the odds, where the effect came later than its cause. Chosen here."""
LASTED: Final = 3.0
"""Odds where both lasted until the probing ended. Chosen here."""
EXACTLY: Final = 4.0
"""Odds where exactly those flows were hit that a cause would hit. Chosen here."""
COUNTED_MAX: Final = 50.0
"""Odds where a counter accounts for every loss that it could be about. Chosen here."""
NOT_COUNTED: Final = 0.001
"""Odds where the counter that would have moved did not. Chosen here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indication:
    """One fact that speaks for or against a cause."""

    text: str
    odds: float
    """How many times more likely it is if this is the cause; below 1: it speaks against it."""
    facts: JsonObject
    """The same for machines; times in ms of the run clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What coincidence is measured against."""

    probed_ns: int
    """How long the flow was probed."""
    origin_ns: int
    """From where texts count, the operator's request."""

    def chance(self, window_ns: int, instants: int) -> float:
        """Return how likely one of a number of random instants falls into a window."""
        return min(1.0, max(1, instants) * max(1, window_ns) / max(1, self.probed_ns))

    def say(self, ns: int) -> str:
        """Return an instant in words."""
        return f"{(ns - self.origin_ns) / MILLISECOND:+.1f} ms"


def can_have(candidate: Candidate, segment: Segment) -> bool:
    """Return whether a candidate was there when the first probe of a segment was dropped; no cause comes after its effect."""
    is_begun = candidate.began.earliest_ns <= segment.first.latest_ns
    return is_begun and (candidate.ended is None or candidate.ended.latest_ns >= segment.first.earliest_ns)


def weigh_times(candidate: Candidate, segment: Segment, instants: int, scale: Scale) -> tuple[Indication, ...]:
    """Return what the beginning and the end of both say.

    Args:
        candidate: one that `can_have` done it.
        segment: the losses.
        instants: how many candidates of its kind the flow had: each might have coincided.
        scale: of the flow.
    """
    found = (_weigh_onset(candidate, segment, instants, scale), _weigh_end(candidate, segment, instants, scale))
    return tuple(indication for indication in found if indication is not None)


def weigh_counter(counter: KernelCounter, moved: int, eligible: int, share: float) -> Indication:
    """Return what a counter says.

    Args:
        counter: the counter.
        moved: by how much it moved.
        eligible: lost probes that it could be about, those that something else explains left out.
        share: how likely it is that these losses are among them; see `analysis.causes.apportion`.
    """
    odds = COUNTED_MAX if share >= 1 else max(NOT_COUNTED, min(COUNTED_MAX, share / (1 - share)))
    where = ", ".join(sorted(counter.places))
    text = f"{counter.name} of {where} moved by {moved:,}; {eligible:,} lost probes could be among them, these to {share:.0%}"
    facts: JsonObject = {"counter": counter.name, "moved": moved, "eligible": eligible, "share": share}
    return Indication(text=text, odds=odds, facts=facts)


def weigh_breadth(hit: int, exposed: int, own: int, all_lost: int) -> Indication:
    """Return what it says who else was hit at the same time.

    Args:
        hit: flows that were hit at the time and could have been by this.
        exposed: flows that would have been hit by this.
        own: probes lost at the time that it could have lost.
        all_lost: all probes lost at the time.
    """
    share = hit / exposed * own / all_lost
    odds = EXACTLY if share == 1 else max(FORBIDDEN, share**2)
    text = f"{hit} of the {exposed} flows that it would hit were down, and {own:,} of {all_lost:,} losses at the time are its"
    return Indication(text=text, odds=odds, facts={"hit": hit, "exposed": exposed, "own": own, "lost": all_lost})


def _weigh_onset(candidate: Candidate, segment: Segment, instants: int, scale: Scale) -> Indication | None:
    began, onset = candidate.began, segment.onset
    if onset is None:
        return None
    if began.meets(onset):
        text = f"it began as {candidate.begin_text} at {scale.say(began.latest_ns)}"
        return _coincidence(text, began, onset, instants, scale)
    facts: JsonObject = {"began_ms": began.latest_ns / MILLISECOND, "onset_ms": onset.earliest_ns / MILLISECOND}
    if candidate.is_begin_free:
        # That it lay in the time in which that could happen made it a candidate; it is no evidence once more.
        return Indication(text="what began it left no event", odds=1.0, facts=facts)
    lag_ns = onset.earliest_ns - began.latest_ns
    odds = FORBIDDEN
    if lag_ns <= LAG_NS:
        odds = max(odds, LAGGED * min(ODDS_MAX, 1 / scale.chance(2 * lag_ns + onset.length_ns, instants)))
    text = f"the flow was still answered {lag_ns / MILLISECOND:,.1f} ms after {candidate.begin_text}"
    return Indication(text=text, odds=odds, facts=facts)


def _weigh_end(candidate: Candidate, segment: Segment, instants: int, scale: Scale) -> Indication | None:
    ended, end = candidate.ended, segment.end
    if segment.is_open:
        return _weigh_lasting(candidate, scale)
    if end is None:
        return None
    if ended is not None and ended.meets(end):
        text = f"it ended as {candidate.end_text or 'that ended'} at {scale.say(ended.latest_ns)}"
        return _coincidence(text, ended, end, instants, scale)
    if ended is None or ended.earliest_ns > end.latest_ns:
        if candidate.is_end_free:
            return None
        text = f"the flow was answered again at {scale.say(end.latest_ns)} although nothing had ended that"
        return Indication(text=text, odds=FORBIDDEN, facts={"end_ms": end.latest_ns / MILLISECOND})
    lag_ns = end.earliest_ns - ended.latest_ns
    text = f"it lasted {lag_ns / MILLISECOND:,.1f} ms longer than that: {candidate.end_text or 'that ended'}"
    odds = 4 * LAGGED if lag_ns <= LAG_NS else FORBIDDEN
    return Indication(text=text, odds=odds, facts={"ended_ms": ended.latest_ns / MILLISECOND})


def _weigh_lasting(candidate: Candidate, scale: Scale) -> Indication:
    """Return what it says that nothing passed any more until the probing ended."""
    ended = candidate.ended
    if ended is None:
        odds = 1.0 if candidate.is_end_free else LASTED
        return Indication(text="both lasted until the probing ended", odds=odds, facts={})
    text = f"it lasted on although {candidate.end_text or 'that ended'} at {scale.say(ended.latest_ns)}"
    return Indication(text=text, odds=FORBIDDEN, facts={"ended_ms": ended.latest_ns / MILLISECOND})


def _coincidence(text: str, instant: Interval, window: Interval, instants: int, scale: Scale) -> Indication:
    chance = scale.chance(window.length_ns + instant.length_ns, instants)
    odds = min(ODDS_MAX, 1 / chance)
    width_ms = window.length_ns / MILLISECOND
    return Indication(
        text=f"{text}, which is known to {width_ms:.1f} ms: by chance one time in {odds:,.0f}",
        odds=odds,
        facts={"at_ms": instant.latest_ns / MILLISECOND, "window_ms": width_ms, "chance": chance},
    )
