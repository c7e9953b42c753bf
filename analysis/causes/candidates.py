"""Candidates: what the events say was broken, from when to when, and which flows it could have hit.

A candidate is a candidate: it is known to have been there, not to have dropped anything. What makes it a cause is weighed in
`analysis.causes.indications`. Nothing here computes anything but the meeting of two lengths of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, Final

from analysis.interval import Interval

MUST: Final = 5.0
"""Odds of a candidate that must lose what passes it, before any evidence. Chosen here."""


@unique
class CauseKind(StrEnum):
    """Why packets were lost; in the order of a report. Source: mechanics 4.3-4.5, 5.1."""

    POOL_BEFORE_ROUTES = "pool-before-routes"
    """A node re-pointed its routes to the gateway while the cloud had no route to the peer: cross-subnet loss."""
    CLEANUP_BEFORE_ROUTES = "cleanup-before-routes"
    """cleanup-routes left a node its default route alone while the cloud had no route to the peer: same-subnet loss, and to
    other subnets where the roll came before the pool."""
    WITHDRAWAL_BEFORE_ROUTES = "withdrawal-before-routes"
    """BIRD withdrew routes of peers whose graceful restart was over while the cloud had none: same-subnet loss."""
    ROUTE_DELETED = "route-deleted"
    """A cloud route that was in use went away."""
    POD_OUTSIDE_CIDR = "pod-outside-cidr"
    """The pod's address is outside its node's podCIDR: no cloud route can ever cover it (VXLAN with calico-ipam)."""
    REVERSE_PATH_FILTER = "reverse-path-filter"
    """The two nodes are of different modes and the receiver's rp_filter is strict."""
    TUNNEL_GONE = "tunnel-gone"
    """The sender encapsulates and the receiver has no tunnel device any more."""
    TOO_LARGE = "too-large"
    """The packets are larger than the tunnel takes, and may not be cut."""
    MASQUERADE_CHANGED = "masquerade-changed"
    """The output device of a masqueraded flow changed, which ends its conntrack entry."""
    FAULT = "fault"
    """A fault that the scenario injected."""
    POD_ROLL = "pod-roll"
    """A calico-node pod was replaced; by what means that drops packets is not known."""
    LATE = "late"
    """The answers came after the Forwarding Delay Threshold: nothing was dropped."""
    INSTRUMENT = "instrument"
    """The machine or the probers, not the network under test."""
    UNEXPLAINED = "unexplained"
    """Nothing that is known accounts for it; a blackhole leaves neither an event nor a counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCounter:
    """A kernel counter that moves when a candidate drops packets."""

    name: str
    """Such as `TcpExt.IPReversePathFilter`."""
    places: frozenset[str]
    """The namespaces where it would move; together they make one count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something that was broken for a while, and could have lost what went one way between two nodes."""

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
    """It may have begun to drop at any time after `began`: what made it do so left no event."""
    is_end_free: bool = False
    """It may have stopped dropping at any time before `ended`."""
    prior: float = MUST
    """Odds against `unexplained` before any evidence."""
    counter: KernelCounter | None = None
    """None: no counter tells."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for machines: JSON values."""
