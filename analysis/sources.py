"""From which address a flow's probes came to their reflector: the pod's own, or what a masquerade made of it.

natOutgoing gives packets from pods to nodes the node's address in overlay mode; in native mode the nodes' own network is a pool
of its own and spared, so that nodes see pods' addresses (docs/mechanics.md 4.3). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.instrument import span
from hitless.facts import Flow
from hitless.history import History
from hitless.records import NO_ADDRESS, decode_address
from hitless.words import Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSource:
    """One stretch of a flow in which its reflector saw one source address."""

    flow: Flow
    address: str
    is_rewritten: bool
    """Whether that is not the source's own."""
    first_ns: Nanoseconds
    """Run clock: when the first probe of the stretch was received."""


def seen_sources(history: History, flow: Flow) -> tuple[SeenSource, ...]:
    """Return the source addresses of a flow in order of time; empty where no reflector logged it."""
    log = history.records.reflector[span(history.records.reflector["flow"], flow.id)]
    log = log[log["source"] != NO_ADDRESS]
    if not log.size:
        return ()
    own = next(endpoint.address_of(flow.ip_family) for endpoint in history.facts.endpoints if endpoint.name == flow.source)
    borders = [0, *(np.flatnonzero(log["source"][1:] != log["source"][:-1]) + 1).tolist()]
    return tuple(
        SeenSource(
            flow=flow,
            address=(address := decode_address(log["source"][first])),
            is_rewritten=address != own,
            first_ns=Nanoseconds(int(log["received"][first])),
        )
        for first in borders
    )
