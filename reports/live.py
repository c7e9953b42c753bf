"""The live view of a run: modes of its nodes, cloud routes, loss per second, and the flows that lose most.

Fed with events and settled probes as they come; pure. It judges nothing: a probe counts as lost here when it is not answered
within SETTLE_NS, and the verdict uses the complete records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analysis.cloud_routes import changed_routes, is_route_there
from hitless.events import Event
from hitless.facts import ClusterFacts, Flow
from hitless.history import RunHeader
from hitless.plural import plural
from hitless.records import NONE_NS, Rows
from hitless.words import SECOND, FlowRole, Mode

SETTLE_NS: Final = SECOND // 2
"""How long an answer is waited for. Chosen here: a hundred times what a round trip takes, and soon enough to look at."""
WORST_MAX: Final = 5
COLUMNS: Final = 24
"""Characters of a sparkline."""
_BARS: Final = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Present state of the run, in words."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """Name and value: phase, gate, modes, routes, loss."""
    worst: tuple[tuple[str, int, str], ...]
    """Flow, lost probes, and its loss over the time of the run as a sparkline."""


@dataclass(kw_only=True)
class LiveRun:
    """The known part of one run."""

    header: RunHeader
    facts: ClusterFacts | None = None
    """None: the cluster is not up yet."""
    flows: tuple[Flow, ...] = ()
    last: Event | None = None
    modes: dict[str, Mode] = field(default_factory=dict)
    """Node to the mode that it told of last."""
    routes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Zone and node to whether the route exists. One that no event told of exists if `is_synced`, or in a native start."""
    is_synced: bool = False
    """Whether the route controller has reported that all routes exist."""
    gate: str = "not asked yet"
    offered: Counter[int] = field(default_factory=Counter)
    """Second of the run to settled probes."""
    lost: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Flow to the times of its lost probes, ns."""

    def feed_events(self, events: Iterable[Event]) -> None:
        """Take events in, in order of time."""
        for event in events:
            self.last = event
            facts = event.facts
            self.routes.update(dict.fromkeys(changed_routes(event), is_route_there(event)))
            if event.name == "routes.synced":
                self.is_synced = True
            elif event.name == "calico.repointed" and facts.get("mode") in set(Mode):
                self.modes[facts["node"]] = Mode(facts["mode"])
            elif event.name == "calico.cleanup_routes" and facts.get("removed") != 0:
                self.modes[facts["node"]] = Mode.NATIVE
            elif event.name.startswith("gate."):
                self.gate = _say_gate(event)

    def feed_probes(self, rows: Rows) -> None:
        """Take in probes whose answers have had their time: SENDER_ROW."""
        judged = {flow.id for flow in self.flows if flow.role in (FlowRole.MESH, FlowRole.POD, FlowRole.HOST)}
        rows = rows[np.isin(rows["flow"], list(judged)) & (rows["send_errno"] == 0)]
        seconds, counts = np.unique(rows["send_began_ns"] // SECOND, return_counts=True)
        self.offered.update(dict(zip(seconds.tolist(), counts.tolist(), strict=True)))
        lost = rows[rows["received"] == NONE_NS]
        for flow, at in zip(lost["flow"].tolist(), lost["send_began_ns"].tolist(), strict=True):
            self.lost[flow].append(at)

    def look(self) -> Look:
        """Return what can be said now."""
        header, nodes = self.header, [] if self.facts is None else [node.name for node in self.facts.nodes]
        places = [(zone, node) for zone in (() if self.facts is None else self.facts.zone_gateways) for node in nodes]
        is_there = self.is_synced or header.start_mode is Mode.NATIVE
        now_s = max([*self.offered, 0 if self.last is None else self.last.t_ns // SECOND])
        native = sum(self.modes.get(node, header.start_mode) is Mode.NATIVE for node in nodes)
        settled_s = max(self.offered, default=0)
        lost_now = sum(at // SECOND == settled_s for times in self.lost.values() for at in times)
        facts = (
            ("time", f"{now_s} s"),
            ("last event", "none" if self.last is None else self.last.name),
            ("gate", self.gate),
            ("native", f"{native} of {plural(len(nodes), 'node')}"),
            ("cloud routes", f"{sum(self.routes.get(place, is_there) for place in places)} of {len(places)}"),
            ("lost in the last second", f"{lost_now:,} of {self.offered[settled_s]:,}" if self.offered else "not known yet"),
            ("lost so far", f"{sum(map(len, self.lost.values())):,} of {self.offered.total():,}"),
        )
        labels = {int(flow.id): flow.label for flow in self.flows}
        worst = sorted(self.lost.items(), key=lambda item: (-len(item[1]), item[0]))[:WORST_MAX]
        return Look(
            title=f"{header.scenario} {header.arm} trial {header.trial}",
            facts=facts,
            worst=tuple((labels[flow], len(times), self._sparkline(times)) for flow, times in worst),
        )

    def _sparkline(self, times: Sequence[int]) -> str:
        first, last = min(self.offered, default=0) * SECOND, (max(self.offered, default=0) + 1) * SECOND
        counts, _ = np.histogram(times, bins=COLUMNS, range=(first, last))
        steps = np.ceil(counts / max(int(counts.max()), 1) * (len(_BARS) - 1)).astype(int)
        return "".join(_BARS[step] for step in steps)


def say_line(look: Look) -> str:
    """Return a look in one line, for what is no terminal."""
    worst = f"; worst {look.worst[0][0]} |{look.worst[0][2]}|" if look.worst else ""
    return f"{look.title}: {'; '.join(f'{name} {value}' for name, value in look.facts)}{worst}"


def _say_gate(event: Event) -> str:
    if event.name == "gate.held":
        missing = event.facts.get("missing")
        return "holds" if missing is None else f"holds, {plural(len(missing), 'node')} missing"
    if event.name == "gate.opened":
        return f"opened after {event.facts.get('held_ns', 0) / SECOND:.1f} s"
    return "not applicable"
