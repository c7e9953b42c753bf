"""Bounds of the time at which every probe and its answer were routed, to look up the nodes' routes at that time.

The sending node routes a packet between the system call and its arrival at the other end. A packet that arrived nowhere is
bounded by the largest delay of its flow, as the drops in docs/measuring.md are. Pure, no loop over probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.classify import Probes
from analysis.route_history import Times
from hitless.records import NONE_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Earliest and latest time at which a probe and its answer were on their way, on the clock that dates the events."""

    out_since_ns: Times
    out_until_ns: Times
    back_since_ns: Times
    """For a probe that was lost on the way out: when its answer could have left."""
    back_until_ns: Times


def probe_spans(probes: Probes) -> Spans:
    """Return when every probe of a flow was on its way.

    If neither an answer nor the reflector's log tells when the reflector received it (ICMP, TCP), both directions share the
    whole round trip.
    """
    rows, bound = probes.rows, probes.run_clock_bound_ns
    is_trusted = rows["corrupted"] == 0  # the times in a corrupted answer prove nothing
    seen = _first_known(np.where(is_trusted, rows["reflector_received"], NONE_NS), probes.reflector_sent)
    left = _first_known(np.where(is_trusted, rows["reflector_sent"], NONE_NS), probes.reflector_sent)
    received = _first_known(np.where(rows["copies"] > 0, rows["received"], NONE_NS))
    out_max_ns, back_max_ns = _largest_delays_ns(probes)
    out_limit = rows["send_ended_ns"] + out_max_ns
    back_limit = np.where(left == NONE_NS, out_limit, left + probes.clock_bound_ns) + back_max_ns
    at_reflector = np.where(seen == NONE_NS, NONE_NS, seen + probes.clock_bound_ns)
    from_reflector = np.where(left == NONE_NS, NONE_NS, left - probes.clock_bound_ns)
    out_since = rows["send_began_ns"] - bound
    out_until = _first_known(at_reflector, received, out_limit) + bound
    back_since = _first_known(from_reflector, rows["send_began_ns"]) - bound
    back_until = _first_known(received, back_limit) + bound
    return Spans(
        out_since_ns=out_since,
        out_until_ns=np.maximum(out_since, out_until),
        back_since_ns=back_since,
        back_until_ns=np.maximum(back_since, back_until),
    )


def _first_known(*times: Times) -> Times:
    """Return the first of several times that is known, element by element; NONE_NS where none is."""
    found = times[0]
    for other in times[1:]:
        found = np.where(found == NONE_NS, other, found)
    return np.asarray(found, dtype=np.int64)


def _largest_delays_ns(probes: Probes) -> tuple[int, int]:
    """Return the largest delay out and back; both the largest round trip where the reflector tells no times."""
    rows = probes.rows
    if np.any(rows["reflector_received"] != NONE_NS) or not rows.size:
        return probes.forward_delay_max_ns, probes.return_delay_max_ns
    intact = (rows["copies"] > 0) & (rows["corrupted"] == 0) & ~probes.is_late
    round_trip_ns = int(np.max(rows["received"] - rows["send_began_ns"], initial=0, where=intact))
    return round_trip_ns, round_trip_ns
