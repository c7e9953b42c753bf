"""When a flow had converged: the new path, unimpaired, for good.

Pure. Definitions and sources: docs/measuring.md; RFC 6412 3.6.3, 3.7.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitless.facts import Flow
from hitless.history import History
from hitless.records import Rows
from hitless.words import Mode, Nanoseconds


def convergence_ns(flow: Flow, rows: Rows, is_impaired: npt.NDArray[np.bool_], history: History) -> Nanoseconds | None:
    """Return the Route-Specific Convergence Time (RFC 6412 3.6.3) of a flow, or None where it never converged.

    It ends with the first probe from which on every probe is unimpaired and both nodes' routes are of the wanted mode, held for
    the validation time. Where the received TTLs tell paths apart, they must have stopped changing as well.
    """
    header, request = history.header, history.first_event("switch.requested")
    if request is None or header.end_mode is header.start_mode or not rows.size:
        return None
    nodes = {endpoint.name: endpoint.node for endpoint in history.facts.endpoints}
    arrived = [_arrival_ns(history, nodes[name]) for name in (flow.source, flow.destination)]
    if None in arrived:
        return None
    since = max(value for value in arrived if value is not None)
    is_wrong = is_impaired | (rows["send_began_ns"] < since)
    has_router_hop = nodes_differ_in_zone(flow, history)
    for column in ("forward_ttl", "return_ttl"):
        ttls = rows[column]
        if has_router_hop and ttls.size:
            is_wrong = is_wrong | (ttls != ttls[-1])
    wrong = np.flatnonzero(is_wrong)
    index = int(wrong[-1]) + 1 if wrong.size else 0
    if index >= rows.size or int(
        rows["send_ended_ns"][-1] - rows["send_began_ns"][index]
    ) < header.validation_ns - history.interval_of(flow):
        return None
    return Nanoseconds(int(rows["received"][index]) - request.t_ns)


def nodes_differ_in_zone(flow: Flow, history: History) -> bool:
    """Return whether a flow crosses the router natively, where the TTL tells native from overlay."""
    zones = {endpoint.name: endpoint.zone for endpoint in history.facts.endpoints}
    return zones[flow.source] != zones[flow.destination]


def _arrival_ns(history: History, node: str) -> Nanoseconds | None:
    """Return since when a node's routes to all its peers are of the end mode for good, or None where they are not."""
    peers = len(history.facts.nodes) - 1
    since: Nanoseconds | None = None
    changed = 0
    for event in history.events_named("calico.repointed", "calico.cleanup_routes"):
        is_cleanup = event.name == "calico.cleanup_routes"
        if event.facts["node"] != node or (is_cleanup and not event.facts["removed"]):
            continue  # Where nothing was BIRD's, cleanup-routes removes nothing and the node stays as it is.
        # cleanup-routes leaves the default route: the native path to every peer.
        mode = Mode.NATIVE if is_cleanup else Mode(event.facts["mode"])
        if mode is not history.header.end_mode:
            since, changed = None, 0
        elif since is None:
            # Felix writes a route when it hears of the peer: one after the other.
            changed += peers if is_cleanup else event.facts["routes"]
            since = event.t_ns if changed >= peers else None
    return since
