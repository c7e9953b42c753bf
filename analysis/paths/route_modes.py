"""Of which mode a node's routes to a peer are, at every time, as the run's events tell.

A change takes time, from `began_ns` to `t_ns`: a packet that was routed meanwhile may have found the old route or the new one,
so the mode is not known then. A cluster whose nodes do not tell when they rewrite their routes is known until the operator's
change can have reached them, and not afterwards. Pure; it looks at no probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag, unique
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.paths.probe_times import Times
from hitless.history import History
from hitless.words import SECOND, Mode

LEAD_NS: Final = SECOND
"""What somebody else changed is seen late, by less than this, and nodes may have acted by then. Source: ours; a watch tells
within milliseconds, and after a lost connection once it is retried."""

ModeBits = npt.NDArray[np.uint8]
"""RouteMode of every element."""


@unique
class RouteMode(IntFlag):
    """What a node's route to a peer may be; both bits: it is not known which."""

    OVERLAY = 1
    NATIVE = 2
    UNKNOWN = 3

    @staticmethod
    def of(mode: Mode) -> RouteMode:
        """Return the bit of a mode."""
        return RouteMode[mode.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeTimeline:
    """The mode of one node's route to one peer over time."""

    edges_ns: Times
    """When it changes, rising."""
    modes: ModeBits
    """RouteMode before the first edge, between every two, and after the last: one more than there are edges."""

    def between(self, since_ns: Times, until_ns: Times) -> ModeBits:
        """Return all that the route may have been from `since_ns` to `until_ns`, both included, element by element."""
        first = np.searchsorted(self.edges_ns, since_ns, "right")
        last = np.maximum(first, np.searchsorted(self.edges_ns, until_ns, "right"))
        found = np.zeros(since_ns.size, dtype=np.uint8)
        for bit in (RouteMode.OVERLAY, RouteMode.NATIVE):
            count = np.concatenate(([0], np.cumsum((self.modes & bit) != 0)))
            found |= np.where(count[last + 1] > count[first], bit, 0).astype(np.uint8)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    began_ns: int
    ended_ns: int
    mode: RouteMode
    """What the routes are afterwards."""
    peers: frozenset[str] | None
    """Nodes whose routes changed; None: all."""


class RouteModes:
    """The modes of all nodes' routes in one run.

    Args:
        history: of the run.
    """

    def __init__(self, history: History) -> None:
        self._start = RouteMode.of(history.header.start_mode)
        self._changes: dict[str, list[_Change]] = {node.name: [] for node in history.facts.nodes}
        has_report = history.first_event("calico.repointed") or history.first_event("calico.cleanup_routes")
        for node, change in _told(history) if has_report else _suspected(history):
            self._changes.setdefault(node, []).append(change)
        self._timelines: dict[tuple[str, str], ModeTimeline] = {}

    def toward(self, node: str, peer: str) -> ModeTimeline:
        """Return the mode of a node's route to a peer; UNKNOWN all the time where the node is none of the cluster's."""
        key = (node, peer)
        if key not in self._timelines:
            self._timelines[key] = self._make(node, peer)
        return self._timelines[key]

    def _make(self, node: str, peer: str) -> ModeTimeline:
        edges: list[int] = []
        modes = [self._start if node in self._changes else RouteMode.UNKNOWN]
        for change in self._changes.get(node, ()):
            if change.peers is None or peer in change.peers:
                began = max(change.began_ns, edges[-1]) if edges else change.began_ns
                edges += [began, max(began, change.ended_ns)]
                modes += [modes[-1] | change.mode, change.mode]
        return ModeTimeline(edges_ns=np.array(edges, dtype=np.int64), modes=np.array(modes, dtype=np.uint8))


def _told(history: History) -> Iterator[tuple[str, _Change]]:
    """Yield the changes that the nodes told of, in order of time.

    cleanup-routes leaves the default route, which is the native path to every peer; where it removes nothing, nothing was
    BIRD's and the node stays as it is. Source: mechanics 1.6, 4.4.
    """
    for event in history.events_named("calico.repointed", "calico.cleanup_routes"):
        facts = event.facts
        is_cleanup = event.name == "calico.cleanup_routes"
        if is_cleanup and not facts["removed"]:
            continue
        yield (
            facts["node"],
            _Change(
                began_ns=facts.get("began_ns", event.t_ns),
                ended_ns=event.t_ns,
                mode=RouteMode.NATIVE if is_cleanup else RouteMode[facts["mode"]],
                peers=frozenset(facts["peers"]) if "peers" in facts else None,
            ),
        )


def _suspected(history: History) -> Iterator[tuple[str, _Change]]:
    """Yield, for nodes that tell nothing, since when their routes may have changed: before the first object said so."""
    asked_ns = None
    for event in history.events:
        if event.name.startswith("gate."):
            asked_ns = event.t_ns  # nothing was written yet
        elif event.name == "manifest.applied" and event.facts.get("mode") not in (None, history.header.start_mode.value):
            since = event.t_ns - LEAD_NS if asked_ns is None else asked_ns
            for node in history.facts.nodes:
                yield node.name, _Change(began_ns=since, ended_ns=since, mode=RouteMode.UNKNOWN, peers=None)
            return
