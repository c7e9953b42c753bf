"""Candidates: what was broken according to the events, from when to when, and the flows that it could affect.

A candidate was there; whether it dropped packets is not known. `analysis.causes.explanations` weighs that. Here are also the
faults of a run, and the times in which the next hops of two nodes break the path between them. The kernel's named counters give
the reason of a drop: sums over the run, without times (`History.moved`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from analysis.bounds import START, Interval, instant_of
from analysis.route_history import NextHop, RouteHistory, RouteStep
from hitless.history import History
from hitless.words import JsonObject

MUST: Final = 5.0
"""Odds, before any evidence, of a candidate that drops every packet that passes it. Chosen here."""


@unique
class CauseKind(StrEnum):
    """Why packets were lost, in the order in which reports list it. Source: mechanics 4.3-4.5, 5.1."""

    POOL_BEFORE_ROUTES = "pool-before-routes"
    """A node re-pointed its routes to the gateway while the cloud had no route to the peer: cross-subnet loss."""
    CLEANUP_BEFORE_ROUTES = "cleanup-before-routes"
    """cleanup-routes left a node only its default route while the cloud had no route to the peer: same-subnet loss, and
    cross-subnet loss if the roll came before the pool."""
    WITHDRAWAL_BEFORE_ROUTES = "withdrawal-before-routes"
    """BIRD withdrew the routes of peers after their graceful restart while the cloud had none: same-subnet loss."""
    ROUTE_DELETED = "route-deleted"
    """A cloud route that was in use went away."""
    POD_OUTSIDE_CIDR = "pod-outside-cidr"
    """The pod's address is outside its node's podCIDR: no cloud route can ever cover it (VXLAN with calico-ipam)."""
    REVERSE_PATH_FILTER = "reverse-path-filter"
    """The two nodes are of different modes and the receiver's rp_filter is strict."""
    TUNNEL_GONE = "tunnel-gone"
    """The sender encapsulates and the receiver has no tunnel device any more."""
    TOO_LARGE = "too-large"
    """The packets are larger than the MTU of the tunnel or of a node's interface, and must not be fragmented."""
    MASQUERADE_CHANGED = "masquerade-changed"
    """The output device of a masqueraded flow changed, which ends its conntrack entry."""
    FAULT = "fault"
    """A fault that the scenario injected."""
    POD_ROLL = "pod-roll"
    """A calico-node pod was replaced. No mechanism is known by which that drops packets."""
    LATE = "late"
    """The answers came after the Forwarding Delay Threshold: nothing was dropped."""
    INSTRUMENT = "instrument"
    """The machine or the probers, not the network under test."""
    UNEXPLAINED = "unexplained"
    """No candidate accounts for it. A blackhole, for example, leaves neither an event nor a counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCounter:
    """A kernel counter that moves when a candidate drops packets."""

    name: str
    """Such as `TcpExt.IPReversePathFilter`."""
    places: frozenset[str]
    """The namespaces where it would move; together they make one count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something that was broken for a while and could have dropped packets in one direction between two nodes."""

    kind: CauseKind
    subject: str
    """What exactly, such as `route of zone a to node-b1`."""
    text: str
    """How it loses packets, in words."""
    began: Interval = START
    ended: Interval | None = None
    """None: not before the run's end."""
    begin_text: str = "the run's start"
    """What began it."""
    end_text: str = ""
    """What ended it."""
    is_begin_free: bool = False
    """It may have begun to drop packets at any time after `began`, without an event."""
    is_end_free: bool = False
    """It may have stopped dropping packets at any time before `ended`."""
    prior: float = MUST
    """Odds against `unexplained` before any evidence."""
    counter: KernelCounter | None = None
    """The kernel counter that counts its drops; None: there is none."""


Condition = Callable[[NextHop, NextHop], bool]
"""Takes a node's next hop for a peer and the peer's for the node; returns whether the path is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault of the run."""

    name: str
    options: JsonObject
    """Empty in runs that were recorded before faults had options."""
    began: Interval
    ended: Interval | None
    """None: not cured."""


def list_faults(history: History) -> Iterator[InjectedFault]:
    """Yield the faults of a run, each with the first cure after it that names the same options, or none."""
    for event in history.events_named("fault.injected"):
        name, options = str(event.facts["fault"]), event.facts.get("options")
        cured = (
            one
            for one in history.events_named("fault.cured")
            if one.facts["fault"] == name and one.facts.get("options", options) == options and one.t_ns >= event.t_ns
        )
        cure = next(cured, None)
        yield InjectedFault(
            name=name,
            options=options or {},
            began=instant_of(event),
            ended=None if cure is None else instant_of(cure),
        )


def find_times(hops: RouteHistory, node: str, peer: str, is_broken: Condition) -> Iterator[tuple[Interval, Interval | None]]:
    """Yield when a condition began and ceased to hold; if it held from the start, it began at the run's start."""
    here, there = hops.toward(node, peer), hops.toward(peer, node)
    now = [here.first, there.first]
    began = START if is_broken(*now) else None
    steps: list[tuple[RouteStep, int]] = [(step, 0) for step in here.steps] + [(step, 1) for step in there.steps]
    for step, side in sorted(steps, key=lambda entry: (entry[0].at.latest_ns, entry[0].at.earliest_ns)):
        now[side] = step.next_hop
        if is_broken(*now) and began is None:
            began = step.at
        elif began is not None and not is_broken(*now):
            yield began, step.at
            began = None
    if began is not None:
        yield began, None
