"""Builders of small histories, written by hand as Jepsen's checker tests are: a few events, a string of probes per flow.

A string of probes has one character a tick: `.` answered, `X` lost on the way out, `f` lost on the way back, `L` late,
`D` answered twice, `R` overtaken by its successor, `C` corrupted, `E` refused by the kernel, blank: no probe.
Nothing here reads a clock or the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hitless.events import Event
from hitless.facts import ClusterFacts, Endpoint, Flow, NodeFacts, NodeState
from hitless.history import History, RunHeader
from hitless.records import CLOCK_ROW, REFLECTOR_ROW, SENDER_ROW, SKIPPED_ROW, AgentReport, ProbeRecords, Rows
from hitless.words import MILLISECOND, SECOND, Arm, FlowId, FlowRole, JsonObject, Mode, Nanoseconds, Overlay, Profile
from tests.clocks import ms

INTERVAL_NS: Final = 5 * MILLISECOND
START_NS: Final = 10 * MILLISECOND
"""When the first probe of every flow is sent."""
ONE_WAY_NS: Final = 50_000
THRESHOLD_NS: Final = 2 * SECOND
VALIDATION_NS: Final = 50 * MILLISECOND
TUNNEL_TTL: Final = 253
ROUTER_TTL: Final = 252


def event(at_ms: float, name: str, /, **facts: Any) -> Event:  # noqa: ANN401 - JSON
    return Event(t_ns=ms(at_ms), name=name, facts=facts)


def node_facts(zones: str = "ab", nodes_per_zone: int = 2) -> tuple[NodeFacts, ...]:
    return tuple(
        NodeFacts(
            name=f"node-{zone}{number}",
            zone=zone,
            address=f"10.250.{index}.{number + 9}",
            pod_cidr=f"100.96.{index * nodes_per_zone + number - 1}.0/24",
            gateway=f"10.250.{index}.1",
        )
        for index, zone in enumerate(zones)
        for number in range(1, nodes_per_zone + 1)
    )


def facts(zones: str = "ab", nodes_per_zone: int = 2) -> ClusterFacts:
    nodes = node_facts(zones, nodes_per_zone)
    endpoints = tuple(
        Endpoint(name=f"{node.name}-{pod}", node=node.name, zone=node.zone, address=node.pod_cidr.replace("0/24", str(last)))
        for node in nodes
        for last, pod in ((2, "mesh"), (3, "control"))
    )
    return ClusterFacts(
        backend="lab",
        carrier="vxlan-gpe",
        nodes=nodes,
        endpoints=endpoints,
        zone_gateways={zone: f"10.250.{index}.1" for index, zone in enumerate(zones)},
        underlay_mtu=1516,
        pod_mtu=1480,
        permanent_neighbours=False,
        rp_filter=2,
        versions={"kernel": "6.18.5", "python": "3.11.2", "hitless": "0.1.0"},
    )


def mesh_flows(cluster: ClusterFacts) -> tuple[Flow, ...]:
    """Every ordered pair of nodes, then one control flow a node."""
    names = [node.name for node in cluster.nodes]
    pairs = [(f"{a}-mesh", f"{b}-mesh", FlowRole.MESH) for a in names for b in names if a != b]
    pairs += [(f"{name}-mesh", f"{name}-control", FlowRole.CONTROL) for name in names]
    return tuple(
        Flow(id=FlowId(index), source=source, destination=destination, role=role)
        for index, (source, destination, role) in enumerate(pairs, 1)
    )


def pair_of_flows() -> tuple[Flow, ...]:
    """One flow between zones and one control flow: enough for most questions."""
    return (
        Flow(id=FlowId(1), source="node-a1-mesh", destination="node-b1-mesh", role=FlowRole.MESH),
        Flow(id=FlowId(2), source="node-a1-mesh", destination="node-a1-control", role=FlowRole.CONTROL),
    )


def probes(flow: int, pattern: str, *, ttls: str | None = None, interval_ns: int = INTERVAL_NS) -> tuple[Rows, Rows]:
    """Return the sender's and the reflector's rows of one flow.

    `ttls` has one character a tick as well: `t` tunnel, `r` router; default: tunnel all the time.
    """
    marks = np.frombuffer(pattern.encode(), "S1")
    sent = marks != b" "
    ticks = np.flatnonzero(sent)
    marks = marks[sent]
    rows = np.zeros(marks.size, SENDER_ROW)
    rows["flow"], rows["seq"] = flow, np.arange(marks.size)
    rows["send_began_ns"] = START_NS + ticks * interval_ns
    rows["send_ended_ns"] = rows["send_began_ns"] + 5_000
    rows["send_errno"] = np.where(marks == b"E", 105, 0)
    reached = ~np.isin(marks, [b"X", b"E"])
    answered = reached & (marks != b"f")
    delay_ns = np.full(marks.size, 2 * ONE_WAY_NS)
    delay_ns[marks == b"L"] = THRESHOLD_NS + MILLISECOND
    delay_ns[marks == b"R"] = interval_ns + 4 * ONE_WAY_NS
    rows["received"] = np.where(answered, rows["send_began_ns"] + delay_ns, -1)
    rows["reflector_received"] = np.where(answered, rows["send_began_ns"] + ONE_WAY_NS, -1)
    rows["reflector_sent"] = np.where(answered, rows["send_began_ns"] + ONE_WAY_NS, -1)
    path = np.frombuffer((ttls or "t" * len(pattern)).encode(), "S1")[ticks]
    ttl = np.where(path == b"r", ROUTER_TTL, TUNNEL_TTL)
    rows["forward_ttl"] = rows["return_ttl"] = np.where(answered, ttl, 0)
    rows["copies"] = np.where(answered, np.where(marks == b"D", 2, 1), 0)
    rows["corrupted"] = marks == b"C"
    log = np.zeros(np.count_nonzero(reached), REFLECTOR_ROW)
    log["flow"], log["seq"] = flow, rows["seq"][reached]
    log["received"] = log["sent"] = rows["send_began_ns"][reached] + ONE_WAY_NS
    log["ttl"], log["reflector_seq"] = ttl[reached], np.arange(log.size)
    return rows, log


def clock_pairs(*offsets_us: float, every_ns: int = SECOND, width_ns: int = 500) -> Rows:
    """Return one pair a second with these offsets of the wall clock."""
    pairs = np.zeros(len(offsets_us), CLOCK_ROW)
    pairs["monotonic"] = np.arange(len(offsets_us)) * every_ns
    pairs["wall"] = pairs["monotonic"] + 1_800_000_000 * SECOND + np.array(offsets_us) * 1_000
    pairs["width"] = width_ns
    return pairs


def report(agent: str = "sender", *, finished: bool = True, **counters: int) -> AgentReport:
    return AgentReport(agent=agent, counters=counters, finished=finished)


def records(
    flows: Mapping[int, str],
    *,
    ttls: Mapping[int, str] | None = None,
    skipped: Iterable[int] = (),
    clocks: Mapping[str, Rows] | None = None,
    reports: tuple[AgentReport, ...] = (report("sender"), report("reflector")),
) -> ProbeRecords:
    """Return the records of some flows; `skipped` are ticks."""
    tables = [probes(flow, pattern, ttls=(ttls or {}).get(flow)) for flow, pattern in sorted(flows.items())]
    due = START_NS + np.array(sorted(skipped), dtype=np.int64) * INTERVAL_NS
    missed = np.zeros(due.size, SKIPPED_ROW)
    missed["due"], missed["woke"] = due, due + 2 * INTERVAL_NS
    return ProbeRecords(
        sender=np.concatenate([sender for sender, _ in tables]) if tables else np.zeros(0, SENDER_ROW),
        reflector=np.concatenate([log for _, log in tables]) if tables else np.zeros(0, REFLECTOR_ROW),
        skipped=missed,
        clocks={"sender": clock_pairs(0, 0)} if clocks is None else clocks,
        reports=reports,
    )


def header(**changes: Any) -> RunHeader:  # noqa: ANN401 - any field
    plain = RunHeader(
        scenario="plain-switch",
        arm=Arm.GATED,
        trial=1,
        profile=Profile.FAST,
        overlay=Overlay.IPIP,
        start_mode=Mode.OVERLAY,
        wanted_mode=Mode.NATIVE,
        end_mode=Mode.NATIVE,
        interval_ns=Nanoseconds(INTERVAL_NS),
        forwarding_delay_threshold_ns=Nanoseconds(THRESHOLD_NS),
        validation_ns=Nanoseconds(VALIDATION_NS),
        checks={"continuity": {}},
        mutant=None,
    )
    return replace(plain, **changes)


def pool(mode: Mode, *, name: str = "default-ipv4-ippool", disabled: bool = False) -> JsonObject:
    ipip = "Always" if mode is Mode.OVERLAY else "Never"
    spec = {"cidr": "100.96.0.0/11", "ipipMode": ipip, "vxlanMode": "Never", "disabled": disabled}
    return {"kind": "IPPool", "metadata": {"name": name}, "spec": spec}


def daemon_set(mode: Mode, *, updated: int = 4, desired: int = 4) -> JsonObject:
    env = [{"name": "FELIX_IPINIPENABLED", "value": "true" if mode is Mode.OVERLAY else "false"}]
    template = {"spec": {"containers": [{"name": "calico-node", "env": env}]}}
    status = {"updatedNumberScheduled": updated, "desiredNumberScheduled": desired}
    return {"kind": "DaemonSet", "metadata": {"name": "calico-node"}, "spec": {"template": template}, "status": status}


def node_object(name: str, status: str = "False", reason: str = "RouteCreated") -> JsonObject:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": status, "reason": reason}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


def native_state(node: NodeFacts) -> NodeState:
    routes: tuple[JsonObject, ...] = (
        {"dst": "default", "type": "unicast", "protocol": 3, "dev": "eth0", "via": node.gateway},
        {"dst": f"{node.pod_cidr[:-4]}2/32", "type": "unicast", "protocol": 3, "dev": "cali1"},
    )
    return NodeState(node=node.name, routes=routes, devices=("lo", "eth0", "tunl0", "cali1"))


def tunnel_route(peer: NodeFacts) -> JsonObject:
    return {"dst": peer.pod_cidr, "type": "unicast", "protocol": 12, "dev": "tunl0", "encap_dst": peer.address}


def overlay_state(node: NodeFacts, peers: Iterable[NodeFacts]) -> NodeState:
    native = native_state(node)
    blackhole: JsonObject = {"dst": node.pod_cidr, "type": "blackhole", "protocol": 12}
    return replace(native, routes=(*native.routes, blackhole, *(tunnel_route(peer) for peer in peers if peer != node)))


def repointed(
    at_ms: float,
    *nodes: str,
    mode: Mode = Mode.NATIVE,
    cause: str = "IPPool",
    took_ms: float = 1,
    peers: Sequence[str] | None = None,
) -> list[Event]:
    """These nodes, or all four, have rewritten their routes: those to these peers, or all of them."""
    told: JsonObject = {"mode": mode.value, "cause": cause, "routes": len(peers or "abc"), "began_ns": ms(at_ms - took_ms)}
    which = {} if peers is None else {"peers": list(peers)}
    names = nodes or [node.name for node in node_facts()]
    return [event(at_ms, "calico.repointed", node=name, **told, **which) for name in names]


def cleaned(at_ms: float, node: str, removed: int = 4, *, took_ms: float = 1) -> Event:
    return event(at_ms, "calico.cleanup_routes", node=node, removed=removed, began_ns=ms(at_ms - took_ms))


def with_calico(told: History, *changes: Event) -> History:
    """Replace what the nodes did."""
    kept = [one for one in told.events if not one.name.startswith("calico.")]
    return replace(told, events=tuple(sorted([*kept, *changes], key=lambda one: one.t_ns)))


def switch_events(*, pool_ms: float = 100, settled_ms: float = 200, stopped_ms: float = 300) -> tuple[Event, ...]:
    """A whole switch: live at 40 ms, requested at 50, routes from 60 on, IPPool at `pool_ms`, then the roll."""
    nodes = node_facts()
    routes = [
        event(60 + index, "route.created", zone=zone, cidr=node.pod_cidr, node=node.name, began_ns=ms(59 + index))
        for index, (zone, node) in enumerate((zone, node) for zone in "ab" for node in nodes)
    ]
    return tuple(
        sorted(
            [
                event(0, "run.started"),
                event(40, "run.live"),
                event(50, "switch.requested", mode="NATIVE"),
                *routes,
                event(pool_ms, "manifest.applied", kind="IPPool", name="default-ipv4-ippool", mode="NATIVE"),
                *repointed(pool_ms + 2),
                event(pool_ms + 5, "roll.started", generation=2),
                event(settled_ms - 5, "roll.finished", generation=2),
                event(settled_ms, "run.settled"),
                event(stopped_ms, "run.probing_stopped"),
            ],
            key=lambda one: one.t_ns,
        )
    )


QUIET: Final = "." * 58
"""A flow that lost nothing from 10 ms to 300 ms."""
SWITCHED: Final = "t" * 19 + "r" * 39
"""The TTLs of a flow that takes the router from 105 ms on."""


def history(**changes: Any) -> History:  # noqa: ANN401 - any field
    """A gated switch of two zones with two nodes that lost nothing; `changes` replace fields."""
    cluster = facts()
    plain = History(
        header=header(),
        facts=cluster,
        flows=pair_of_flows(),
        events=switch_events(),
        records=records({1: QUIET, 2: QUIET}, ttls={1: SWITCHED}),
        counters_before={},
        counters_after={},
        final_nodes=tuple(native_state(node) for node in cluster.nodes),
        final_objects=(
            *(node_object(node.name) for node in cluster.nodes),
            pool(Mode.NATIVE),
            pool(Mode.NATIVE, name="no-snat-for-node-cidr", disabled=True),
            daemon_set(Mode.NATIVE),
        ),
        errors=(),
    )
    return replace(plain, **changes)


def held(**changes: Any) -> History:  # noqa: ANN401 - any field
    """The gate held until the end: everything is as it was."""
    cluster = facts()
    events = [
        one for one in switch_events() if one.name in ("run.started", "run.live", "switch.requested", "run.probing_stopped")
    ]
    events += [event(55, "gate.held", missing=["node-b2"], error="waiting for routes", retry_ns=5), event(200, "run.timed_out")]
    kept = history(
        header=header(end_mode=Mode.OVERLAY),
        events=tuple(sorted(events, key=lambda one: one.t_ns)),
        records=records({1: QUIET, 2: QUIET}),
        final_nodes=tuple(overlay_state(node, cluster.nodes) for node in cluster.nodes),
        final_objects=(*(node_object(node.name) for node in cluster.nodes), pool(Mode.OVERLAY), daemon_set(Mode.OVERLAY)),
    )
    return replace(kept, **changes)


def lost(first: int, count: int, mark: str = "X", ticks: int = len(QUIET)) -> str:
    """A string of probes with one hole."""
    return "." * first + mark * count + "." * (ticks - first - count)
