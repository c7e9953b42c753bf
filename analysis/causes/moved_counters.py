"""Movement of the kernel's named counters, which give the reason of a drop. They are sums over the run, without times.

The ledger (analysis.ledger) balances all of them; the attribution asks for one at a time. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hitless.history import History


class MovedCounters:
    """The counters of one run."""

    def __init__(self, history: History) -> None:
        self._before, self._after = history.counters_before, history.counters_after

    @property
    def places(self) -> frozenset[str]:
        """The namespaces that were read before and after; empty where the cluster has no counters."""
        return frozenset(self._after.keys() & self._before.keys())

    def of(self, counter: str, places: Iterable[str]) -> int | None:
        """Return by how much a counter moved in some namespaces together; None: one of them does not have it."""
        found = [self._at(counter, place) for place in places]
        return None if None in found or not found else sum(moved for moved in found if moved is not None)

    def _at(self, counter: str, place: str) -> int | None:
        before: Mapping[str, int] = self._before.get(place, {})
        after: Mapping[str, int] = self._after.get(place, {})
        if counter not in after or place not in self._before:
            return None
        return after[counter] - before.get(counter, 0)
