"""Stored runs that nothing ran: probe records of any number of nodes, with a known outage, for what judges and reports.

Every zone's route to every node appears in turn after the request. In UNGATED the pool changes before, so a flow to another
zone loses its probes from then until its route is there. Nothing is lost in GATED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hitless.clock import RunClock
from hitless.facts import ClusterFacts, Endpoint, Flow, NodeFacts, NodeState
from hitless.history import RunHeader
from hitless.records import CLOCK_ROW, REFLECTOR_ROW, SENDER_ROW, SKIPPED_ROW, AgentReport, ProbeRecords, Rows
from hitless.store import RunStore
from hitless.words import MILLISECOND, SECOND, Arm, FlowRole, JsonObject, Mode, Nanoseconds, Overlay, Profile
from scenarios.flows import make_flows
from scenarios.mesh import Mesh

_START_NS: Final = 10 * MILLISECOND
_REQUEST_NS: Final = 1_000 * MILLISECOND
_POOL_NS: Final = 1_100 * MILLISECOND
_ROUTES_NS: Final = 2 * SECOND
"""From the request until the last route is there."""
_ONE_WAY_NS: Final = 60_000
_TTL: Final = 61
_ENV: Final = [{"name": "FELIX_IPINIPENABLED", "value": "false"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRun:
    """What is made up."""

    zones: tuple[str, ...]
    """The zone of each node."""
    mesh: Mesh
    ticks: int
    """Probes of a flow."""
    interval_ns: int

    def make_facts(self) -> ClusterFacts:
        """Return the cluster."""
        nodes = tuple(
            NodeFacts(
                name=f"node-{zone}{index + 1}",
                zone=zone,
                address=f"10.{index >> 8}.{index & 0xFF}.10",
                pod_cidr=f"100.{64 + (index >> 8)}.{index & 0xFF}.0/24",
                gateway=f"10.{200 + ord(zone) - ord('a')}.0.1",
            )
            for index, zone in enumerate(self.zones)
        )
        return ClusterFacts(
            backend="lab",
            carrier="ipip",
            nodes=nodes,
            endpoints=tuple(
                Endpoint(name=f"{node.name}-mesh", node=node.name, zone=node.zone, address=node.pod_cidr.replace("0/24", "2"))
                for node in nodes
            ),
            zone_gateways={node.zone: node.gateway for node in nodes},
            underlay_mtu=1500,
            pod_mtu=1480,
            permanent_neighbours=True,
            rp_filter=2,
            versions={},
        )

    def make_flows(self, facts: ClusterFacts) -> tuple[Flow, ...]:
        """Return the flows between nodes."""
        return tuple(flow for flow in make_flows(facts, mesh=self.mesh) if flow.role is FlowRole.MESH)

    def store(self, directory: Path, arm: Arm) -> None:
        """Store the run of one arm."""
        store = RunStore(directory, RunClock())
        facts = self.make_facts()
        flows = self.make_flows(facts)
        store.write_header(_make_header(arm, self.interval_ns))
        store.write_cluster(facts, flows, {})
        for at_ns, name, told in sorted(self._make_events(facts, arm), key=lambda event: event[0]):
            store.events.record(name, t_ns=Nanoseconds(at_ns), **told)
        store.write_records(self._make_records(facts, flows, arm))
        states = tuple(NodeState(node=node.name, routes=(), devices=("eth0",)) for node in facts.nodes)
        store.write_final({}, states, _make_objects(len(self.zones)), ())
        store.close()

    def _make_events(self, facts: ClusterFacts, arm: Arm) -> Iterator[tuple[int, str, JsonObject]]:
        pool_ns, end_ns = _pool_ns(facts, arm), _START_NS + self.ticks * self.interval_ns
        nodes = len(facts.nodes)
        yield 0, "run.started", {}
        yield 100 * MILLISECOND, "run.live", {}
        yield _REQUEST_NS, "switch.requested", {"mode": "NATIVE"}
        began_ns = _REQUEST_NS
        for (zone, node), at_ns in _route_ns(facts).items():
            yield at_ns, "route.created", {"zone": zone, "node": node, "cidr": "100.96.0.0/24", "began_ns": began_ns}
            began_ns = at_ns
        yield pool_ns, "manifest.applied", {"kind": "IPPool", "name": "default", "mode": "NATIVE"}
        for one in facts.nodes:
            told = {"node": one.name, "mode": "NATIVE", "cause": "IPPool", "routes": nodes - 1, "began_ns": pool_ns}
            yield pool_ns + MILLISECOND, "calico.repointed", told
        yield end_ns - SECOND, "run.settled", {}
        yield end_ns, "run.probing_stopped", {}

    def _make_records(self, facts: ClusterFacts, flows: tuple[Flow, ...], arm: Arm) -> ProbeRecords:
        routes, pool_ns = _route_ns(facts), _pool_ns(facts, arm)
        nodes = {end.name: end for end in facts.endpoints}
        sender, log = np.zeros((len(flows), self.ticks), SENDER_ROW), []
        at_ns = _START_NS + np.arange(self.ticks, dtype=np.int64) * self.interval_ns
        for flow, rows in zip(flows, sender, strict=True):
            source, destination = nodes[flow.source], nodes[flow.destination]
            is_lost = np.zeros(self.ticks, dtype=bool)
            if arm is Arm.UNGATED and source.zone != destination.zone:
                is_lost = (at_ns > pool_ns) & (at_ns < routes[source.zone, destination.node])
            rows["flow"], rows["seq"] = flow.id, np.arange(self.ticks)
            rows["send_began_ns"], rows["send_ended_ns"] = at_ns, at_ns + 5_000
            for name, delay_ns in (("reflector_received", 1), ("reflector_sent", 1), ("received", 2)):
                rows[name] = np.where(is_lost, -1, at_ns + delay_ns * _ONE_WAY_NS)
            rows["forward_ttl"] = rows["return_ttl"] = np.where(is_lost, 0, _TTL)
            rows["copies"] = ~is_lost
            log.append(_make_log(rows[~is_lost]))
        pairs = np.zeros(2, CLOCK_ROW)
        pairs["monotonic"] = (0, at_ns[-1])
        pairs["wall"] = pairs["monotonic"] + 1_800_000_000 * SECOND
        return ProbeRecords(
            sender=sender.reshape(-1),
            reflector=np.concatenate(log),
            skipped=np.zeros(0, SKIPPED_ROW),
            clocks={"sender": pairs},
            reports=tuple(
                AgentReport(agent=f"{name}-{role}", counters={}, finished=True)
                for name in nodes
                for role in ("sender", "reflector")
            ),
        )


def _make_log(answered: Rows) -> Rows:
    """Return the reflector's rows of the probes that it answered."""
    log = np.zeros(answered.size, REFLECTOR_ROW)
    log["flow"], log["seq"], log["reflector_seq"] = answered["flow"], answered["seq"], np.arange(answered.size)
    log["received"] = log["sent"] = answered["reflector_received"]
    log["ttl"] = answered["forward_ttl"]
    return log


def _make_header(arm: Arm, interval_ns: int) -> RunHeader:
    return RunHeader(
        scenario="synthetic",
        arm=arm,
        trial=1,
        profile=Profile.FAST,
        overlay=Overlay.IPIP,
        start_mode=Mode.OVERLAY,
        wanted_mode=Mode.NATIVE,
        end_mode=Mode.NATIVE,
        interval_ns=Nanoseconds(interval_ns),
        forwarding_delay_threshold_ns=Nanoseconds(2 * SECOND),
        validation_ns=Nanoseconds(500 * MILLISECOND),
        checks={"continuity": {"downtime_ms": 0}, "convergence": {}, "ordering": {}},
        mutant=None,
    )


def _make_objects(nodes: int) -> tuple[JsonObject, ...]:
    return (
        {"kind": "IPPool", "metadata": {"name": "default-ipv4-ippool"}, "spec": {"ipipMode": "Never", "vxlanMode": "Never"}},
        {
            "kind": "DaemonSet",
            "metadata": {"name": "calico-node"},
            "spec": {"template": {"spec": {"containers": [{"name": "calico-node", "env": _ENV}]}}},
            "status": {"updatedNumberScheduled": nodes, "desiredNumberScheduled": nodes},
        },
    )


def _route_ns(facts: ClusterFacts) -> dict[tuple[str, str], int]:
    """Return when the route of each zone to each node was there: one after the other from the request on."""
    order = [(zone, node.name) for node in facts.nodes for zone in facts.zone_gateways]
    return {key: _REQUEST_NS + (number + 1) * _ROUTES_NS // len(order) for number, key in enumerate(order)}


def _pool_ns(facts: ClusterFacts, arm: Arm) -> int:
    return _POOL_NS if arm is Arm.UNGATED else max(_route_ns(facts).values()) + 20 * MILLISECOND
