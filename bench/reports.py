"""How long ten million probes take to be judged and rendered, and how much memory: from stored files to the last report.

The records are synthetic: a cluster of 30 nodes in two zones whose 870 flows are probed for half a minute in each arm. The
measurement is `hitless judge` in a process of its own, as its user runs it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from bench.question import Question
from bench.tables import Table
from hitless.clock import RunClock
from hitless.errors import BugError
from hitless.facts import ClusterFacts, Endpoint, Flow, NodeFacts, NodeState
from hitless.history import RunHeader
from hitless.records import CLOCK_ROW, REFLECTOR_ROW, SENDER_ROW, SKIPPED_ROW, AgentReport, ProbeRecords, Rows
from hitless.store import RunStore
from hitless.words import MILLISECOND, SECOND, Arm, FlowId, FlowRole, JsonObject, Mode, Nanoseconds, Overlay, Profile

PROBES: Final = 10_000_000
PROBES_QUICK: Final = 2_000_000
NODES: Final = 30
INTERVAL_NS: Final = 5 * MILLISECOND
_START_NS: Final = 10 * MILLISECOND
_REQUEST_NS: Final = 1_000 * MILLISECOND
_POOL_NS: Final = 1_100 * MILLISECOND
_ROUTE_NS: Final = 10 * MILLISECOND
_ONE_WAY_NS: Final = 60_000
_TTL: Final = 61
_ENV: Final = [{"name": "FELIX_IPINIPENABLED", "value": "false"}]
_OBJECTS: Final[tuple[JsonObject, ...]] = (
    {"kind": "IPPool", "metadata": {"name": "default-ipv4-ippool"}, "spec": {"ipipMode": "Never", "vxlanMode": "Never"}},
    {
        "kind": "DaemonSet",
        "metadata": {"name": "calico-node"},
        "spec": {"template": {"spec": {"containers": [{"name": "calico-node", "env": _ENV}]}}},
        "status": {"updatedNumberScheduled": NODES, "desiredNumberScheduled": NODES},
    },
)


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - as every question
    probes = PROBES_QUICK if is_quick else PROBES
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as name:
        folder = Path(name)
        for arm in Arm:
            _store_run(folder / f"{arm.lower()}-1", arm, probes // len(Arm))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(  # noqa: S603 - fixed words and a path of our own
            [sys.executable, "-m", "commands.main", "judge", name], capture_output=True, text=True, check=False
        )
        took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        page = folder / "report.html"
        if not page.exists():
            raise BugError(f"`hitless judge` of synthetic records wrote no report: {done.stdout[-300:]}{done.stderr[-300:]}")
        return {
            "probes": probes,
            "flows": NODES * (NODES - 1),
            "took_s": round(took_s, 1),
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
            "memory_mb": after.ru_maxrss // 1024,
            "page_kb": page.stat().st_size // 1000,
            "verdict": json.loads((folder / "verdict.json").read_bytes())["verdict"],
        }


def _show(answer: JsonObject) -> tuple[Table, ...]:
    columns = ("probes", "flows", "took s", "CPU s", "memory MB", "page kB", "verdict")
    keys = ("probes", "flows", "took_s", "cpu_s", "memory_mb", "page_kb", "verdict")
    row = tuple(f"{answer[key]:,}" if isinstance(answer[key], int) else str(answer[key]) for key in keys)
    note = "Memory: the largest resident set of any process that the benchmark waited for so far."
    return (Table(title="Judging and rendering stored records", columns=columns, rows=(row,), note=note),)


def _store_run(directory: Path, arm: Arm, probes: int) -> None:
    """Store a run in which UNGATED loses what goes to another zone from the IPPool's change until its route is there."""
    store = RunStore(directory, RunClock())
    facts = _facts()
    flows = _flows(facts)
    ticks = probes // len(flows)
    store.write_header(_header(arm))
    store.write_cluster(facts, flows, {})
    for at_ns, name, told in sorted(_events(facts, arm, ticks), key=lambda event: event[0]):
        store.events.record(name, t_ns=Nanoseconds(at_ns), **told)
    store.write_records(_records(facts, flows, arm, ticks))
    states = tuple(NodeState(node=node.name, routes=(), devices=("eth0",)) for node in facts.nodes)
    store.write_final({}, states, _OBJECTS, ())
    store.close()


def _facts() -> ClusterFacts:
    nodes = tuple(
        NodeFacts(
            name=f"node-{'ab'[index % 2]}{index // 2 + 1}",
            zone="ab"[index % 2],
            address=f"10.250.{index % 2}.{index // 2 + 10}",
            pod_cidr=f"100.96.{index}.0/24",
            gateway=f"10.250.{index % 2}.1",
        )
        for index in range(NODES)
    )
    endpoints = tuple(
        Endpoint(name=f"{node.name}-mesh", node=node.name, zone=node.zone, address=node.pod_cidr.replace("0/24", "2"))
        for node in nodes
    )
    return ClusterFacts(
        backend="lab",
        carrier="ipip",
        nodes=nodes,
        endpoints=endpoints,
        zone_gateways={"a": "10.250.0.1", "b": "10.250.1.1"},
        underlay_mtu=1500,
        pod_mtu=1480,
        permanent_neighbours=True,
        rp_filter=2,
        versions={},
    )


def _flows(facts: ClusterFacts) -> tuple[Flow, ...]:
    names = [end.name for end in facts.endpoints]
    pairs = [(a, b) for a in names for b in names if a != b]
    return tuple(Flow(id=FlowId(number), source=a, destination=b, role=FlowRole.MESH) for number, (a, b) in enumerate(pairs, 1))


def _header(arm: Arm) -> RunHeader:
    return RunHeader(
        scenario="synthetic",
        arm=arm,
        trial=1,
        profile=Profile.FAST,
        overlay=Overlay.IPIP,
        start_mode=Mode.OVERLAY,
        wanted_mode=Mode.NATIVE,
        end_mode=Mode.NATIVE,
        interval_ns=Nanoseconds(INTERVAL_NS),
        forwarding_delay_threshold_ns=Nanoseconds(2 * SECOND),
        validation_ns=Nanoseconds(500 * MILLISECOND),
        checks={"continuity": {"downtime_ms": 0}, "convergence": {}, "ordering": {}},
        mutant=None,
    )


def _route_ns(facts: ClusterFacts) -> dict[tuple[str, str], int]:
    """Return when the route of each zone to each node was there: one after the other from the request on."""
    order = [(zone, node.name) for node in facts.nodes for zone in facts.zone_gateways]
    return {key: _REQUEST_NS + (number + 1) * _ROUTE_NS for number, key in enumerate(order)}


def _pool_ns(facts: ClusterFacts, arm: Arm) -> int:
    return _POOL_NS if arm is Arm.UNGATED else max(_route_ns(facts).values()) + 20 * MILLISECOND


def _events(facts: ClusterFacts, arm: Arm, ticks: int) -> Iterator[tuple[int, str, JsonObject]]:
    pool_ns, end_ns = _pool_ns(facts, arm), _START_NS + ticks * INTERVAL_NS
    yield 0, "run.started", {}
    yield 100 * MILLISECOND, "run.live", {}
    yield _REQUEST_NS, "switch.requested", {"mode": "NATIVE"}
    for (zone, node), at_ns in _route_ns(facts).items():
        yield at_ns, "route.created", {"zone": zone, "node": node, "cidr": "100.96.0.0/24", "began_ns": at_ns - _ROUTE_NS}
    yield pool_ns, "manifest.applied", {"kind": "IPPool", "name": "default", "mode": "NATIVE"}
    for one in facts.nodes:
        told = {"node": one.name, "mode": "NATIVE", "cause": "IPPool", "routes": NODES - 1, "began_ns": pool_ns}
        yield pool_ns + MILLISECOND, "calico.repointed", told
    yield end_ns - SECOND, "run.settled", {}
    yield end_ns, "run.probing_stopped", {}


def _records(facts: ClusterFacts, flows: tuple[Flow, ...], arm: Arm, ticks: int) -> ProbeRecords:
    routes, pool_ns = _route_ns(facts), _pool_ns(facts, arm)
    nodes = {end.name: end for end in facts.endpoints}
    sender, log = np.zeros((len(flows), ticks), SENDER_ROW), []
    at_ns = _START_NS + np.arange(ticks, dtype=np.int64) * INTERVAL_NS
    for flow, rows in zip(flows, sender, strict=True):
        source, destination = nodes[flow.source], nodes[flow.destination]
        is_lost = np.zeros(ticks, dtype=bool)
        if arm is Arm.UNGATED and source.zone != destination.zone:
            is_lost = (at_ns > pool_ns) & (at_ns < routes[source.zone, destination.node])
        rows["flow"], rows["seq"] = flow.id, np.arange(ticks)
        rows["send_began_ns"], rows["send_ended_ns"] = at_ns, at_ns + 5_000
        for name, delay_ns in (("reflector_received", 1), ("reflector_sent", 1), ("received", 2)):
            rows[name] = np.where(is_lost, -1, at_ns + delay_ns * _ONE_WAY_NS)
        rows["forward_ttl"] = rows["return_ttl"] = np.where(is_lost, 0, _TTL)
        rows["copies"] = ~is_lost
        log.append(_log(rows[~is_lost]))
    pairs = np.zeros(2, CLOCK_ROW)
    pairs["monotonic"] = (0, at_ns[-1])
    pairs["wall"] = pairs["monotonic"] + 1_800_000_000 * SECOND
    return ProbeRecords(
        sender=sender.reshape(-1),
        reflector=np.concatenate(log),
        skipped=np.zeros(0, SKIPPED_ROW),
        clocks={"sender": pairs},
        reports=tuple(AgentReport(agent=name, counters={}, finished=True) for name in ("sender", "reflector")),
    )


def _log(answered: Rows) -> Rows:
    """Return the reflector's rows of the probes that it answered."""
    log = np.zeros(answered.size, REFLECTOR_ROW)
    log["flow"], log["seq"], log["reflector_seq"] = answered["flow"], answered["seq"], np.arange(answered.size)
    log["received"] = log["sent"] = answered["reflector_received"]
    log["ttl"] = answered["forward_ttl"]
    return log


REPORTS: Final = Question(
    name="reports",
    text="How long do ten million probes take to be judged and rendered, and how much memory?",
    ask=_ask,
    show=_show,
)
