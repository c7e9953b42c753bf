"""Candidates: what the events say was broken, from when to when, and which flows it could have hit.

A candidate was there; whether it dropped packets is not known. `analysis.causes.indications` weighs that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from analysis.interval import Interval

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
    began: Interval
    ended: Interval | None
    """None: not before the run's end."""
    begin_text: str
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
