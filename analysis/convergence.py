"""Convergence times: when a flow used the new path without impairment until the end.

Each has two bounds, a probe apart if the nodes report when they rewrite their routes (`analysis.route_history`).
If that is only inferred from objects, the earliest is the first time that the probes do not exclude, and the latest is when
objects, TTLs and the nodes' final state leave no doubt.

Pure. Definitions and sources: docs/measuring.md; RFC 6412 3.6.3, 3.7.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.paths.ttl import RouteEnds, TtlPaths, paths_of
from analysis.route_history import RouteHistory
from hitless.facts import Flow
from hitless.history import History
from hitless.records import Rows
from hitless.words import IpFamily, Mode, Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """The Route-Specific Convergence Time of a flow (RFC 6412 3.6.3), from the request on."""

    earliest_ns: Nanoseconds | None
    """It cannot have converged before; None: it cannot have converged."""
    latest_ns: Nanoseconds | None
    """It had surely converged by then; None: that is not known."""


NEVER: Final = Convergence(earliest_ns=None, latest_ns=None)


class ConvergenceTimes:
    """The convergence of all flows of one run."""

    def __init__(self, history: History, routes: RouteHistory, ttls: TtlPaths) -> None:
        self._history, self._routes, self._ttls = history, routes, ttls
        self._request = history.request
        self._is_switch = history.header.end_mode is not history.header.start_mode

    @property
    def is_inferred(self) -> bool:
        """Whether the times of route changes are only inferred, because no node told them."""
        return self._request is not None and self._is_switch and self._routes.is_inferred

    def of(self, flow: Flow, rows: Rows, is_impaired: npt.NDArray[np.bool_]) -> Convergence:
        """Return when a flow had converged; NEVER for a flow within a node or in IPv6, or if no change of mode was requested.

        It ends with the first probe from which on every probe is unimpaired, no TTL contradicts the end mode, and both nodes'
        routes are of that mode, held for the validation time.
        """
        if self._request is None or not self._is_switch or not rows.size:
            return NEVER
        ends = self._ttls.ends(flow)
        if ends is None or flow.ip_family is IpFamily.IPV6:
            return NEVER
        end_mode = self._history.header.end_mode
        is_early = is_late = is_impaired
        for node, peer, column in ((ends.sender, ends.reflector, "forward_ttl"), (ends.reflector, ends.sender, "return_ttl")):
            arrival = self._routes.toward(node, peer).arrival(end_mode)
            if arrival is None:
                return NEVER
            is_wrong, is_proven = self._read_ttls(ends, rows, column, end_mode)
            is_early = is_early | is_wrong | (rows["send_began_ns"] < arrival.earliest_ns)
            is_late = is_late | is_early | ((rows["send_began_ns"] < arrival.latest_ns) & ~is_proven)
        return Convergence(earliest_ns=self._end(flow, rows, is_early), latest_ns=self._end(flow, rows, is_late))

    def _read_ttls(
        self, ends: RouteEnds, rows: Rows, column: str, mode: Mode
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which probes cannot have taken a path of a mode in one direction, and which cannot have taken another."""
        is_decided = ends.is_to_pod if column == "forward_ttl" else ends.is_back_to_pod
        if not is_decided:
            return np.zeros(rows.size, dtype=np.bool_), np.zeros(rows.size, dtype=np.bool_)
        allowed, wanted = self._ttls.allowed(ends, rows[column]), np.uint8(paths_of(mode, ends))
        return (allowed & wanted) == 0, (allowed & ~wanted) == 0

    def _end(self, flow: Flow, rows: Rows, is_wrong: npt.NDArray[np.bool_]) -> Nanoseconds | None:
        """Return when the first probe after the last impaired one was answered, if no other followed in the validation time."""
        wrong = np.flatnonzero(is_wrong)
        index = int(wrong[-1]) + 1 if wrong.size else 0
        held_ns = self._history.header.validation_ns - self._history.interval_of(flow)
        if index >= rows.size or int(rows["send_ended_ns"][-1] - rows["send_began_ns"][index]) < held_ns:
            return None
        return Nanoseconds(int(rows["received"][index]) - self._history.origin_ns)
