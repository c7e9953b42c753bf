"""Events: facts that happened at a time.

An event has a name from the list below, a run-clock time and facts with keys, never prose with numbers in it. Checks, reports
and the attribution read them, so names and fact keys are a contract:

| name | facts |
|---|---|
| `run.started`, `run.live`, `run.settled`, `run.timed_out`, `run.interrupted`, `run.probing_stopped` | |
| `calibration.not_possible` | |
| `calibration.pulsed` | flow, drop_began_ns, drop_done_ns, restore_began_ns, restore_done_ns: its blackhole's two changes |
| `load.live` | clients (names of the pods with users): every user has been answered |
| `switch.requested` | mode (the wanted Mode). The Convergence Event Instant (RFC 6412 3.2.2) |
| `gate.not_applicable` | reason |
| `gate.held` | missing (list of node names; None: not known), error, retry_ns (back-off until the next look; None: not known) |
| `gate.opened` | held_ns (0: never held), nodes |
| `reconcile.failed` | actor, error, retry_ns |
| `manifest.applied` | kind, name, mode (the Mode it renders) or None |
| `object.deleted` | kind, name |
| `object.written` | kind, name, after_ns (not there yet then), waited_us (`read_waited_us`; None: not known): by a program |
| `condition.written` | node, status, reason, actor (a participant or a field manager, such as calico-node) |
| `condition.dropped` | node, reason, actor: the admission policy dropped the write |
| `condition.removed` | node, reason, actor |
| `route.created`, `route.deleted` | zone, cidr, node, began_ns (the call's start; t_ns is its end) |
| `route.accepted` | zone, cidr, node, began_ns: the API created a route that packets do not follow yet |
| `route.failed` | zone, cidr, node, error |
| `routes.synced` | nodes: every table has every route and every condition says so |
| `controller.scaled` | name, replicas |
| `roll.started`, `roll.finished` | generation |
| `pod.deleted`, `pod.created`, `pod.ready` | node, pod |
| `calico.cleanup_routes` | node, removed (count), began_ns |
| `calico.felix_started` | node |
| `calico.repointed` | node, mode, cause, routes (count), peers (names; absent: all), began_ns: its routes were rewritten |
| `fault.injected` | fault, options (as the scenario has them; `node` is its name in the cluster), began_ns |
| `fault.cured` | fault, options, began_ns |

The participants of every cluster record `roll.*` and `pod.*`. A cluster or an observer that sees the nodes' routes records
`calico.repointed` and `calico.cleanup_routes`, too. analysis/route_history.py describes both and what is inferred without
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from hitless.words import JsonObject, Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One recorded fact."""

    t_ns: Nanoseconds
    """Run clock. For something that takes time this is its end; the fact `began_ns` has its start."""
    name: str
    """From the list of this module."""
    facts: JsonObject = field(default_factory=dict)
    """The facts: JSON values only."""

    def as_json(self) -> JsonObject:
        """Return the event as one JSON object, whose keys are the fields."""
        return {"t_ns": int(self.t_ns), "name": self.name, "facts": self.facts}


class Recorder(Protocol):
    """Records events. Every double writes to it and to nothing else."""

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        """Record an event at `t_ns` (default: now on the run clock) and return it."""
