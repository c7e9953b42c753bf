"""The double of calico-node: the effects of one node's pod on the node's network, and their times.

Two things move it, both of them objects in the API. The IPPool's mode reaches every node within half a second and rewrites the
routes while the old pod still runs; a pod that is being replaced may be dead by then, and its routes stay in the tunnel until
cleanup-routes. The DaemonSet's roll replaces the pod: BIRD dies, cleanup-routes takes BIRD's routes away, Felix makes its first
apply, Calico is up, the pod becomes Ready. The double decides when; the plane does it to the kernel.

Source: docs/mechanics.md 4.3, 4.4, 5.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum, unique
from typing import Final

from clusters.lab.calico.datastore import CalicoPod, Datastore, make_status
from clusters.lab.calico.plane import NodePlane, RouteChange
from clusters.lab.calico.writers import Bird, FelixVxlan
from clusters.lab.kube import MemoryKube
from gardener.conditions import calico_is_down, calico_is_up, dated
from gardener.manifests.admission import CALICO_NODE_USER
from gardener.timings import Timings
from hitless.calico import CALICO_NODE, TUNNEL_DEVICES
from hitless.clock import read_wall_time
from hitless.errors import ApiUnavailableError, BugError, NotFoundError
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.words import JsonObject, Kind, Mode, Nanoseconds, Overlay

LAST_WORD_SKEW_MAX: Final = 0.75
"""A slower node's calico-node is dead before it has written CalicoIsDown. Source: observed, 3 of 4 wrote it."""
CLEANUP_BATCHES_MAX: Final = 4
"""cleanup-routes deletes a route at a time; here in this many batches, so that a large mesh costs no more wake-ups."""


@unique
class _Step(Enum):
    """What is still to come after a pod was replaced."""

    STOP = "the old pod's containers end"
    CLEANUP = "init container cleanup-routes"
    START = "containers start; Felix applies for the first time"
    UP = "Felix and BIRD are ready; CalicoIsUp"
    READY = "the readiness probe answers"


class CalicoNode:
    """calico-node on one node; a Participant.

    `skew` is how slow this node is among the others to see a changed pool, from 0 (the first) to 1 (the last).
    """

    def __init__(
        self,
        *,
        facts: NodeFacts,
        peers: frozenset[str],
        plane: NodePlane,
        kube: MemoryKube,
        datastore: Datastore,
        recorder: Recorder,
        timings: Timings,
        skew: float,
    ) -> None:
        self._facts = facts
        self._plane = plane
        self._kube = kube
        self._datastore = datastore
        self._recorder = recorder
        self._timings = timings
        has_vxlan = plane.overlay is Overlay.VXLAN
        pool_skew_ns = timings.vxlan_skew_ns_max if has_vxlan else timings.pool_skew_ns_max
        self._pool_delay_ns = Nanoseconds(timings.pool_seen_ns + round(skew * pool_skew_ns))
        self.is_lingering = False
        """Whether the containers of a replaced pod outlive its successor's cleanup-routes; a fault sets it."""
        self._has_last_word = skew <= LAST_WORD_SKEW_MAX
        self._cleanup: deque[list[str]] = deque()
        self._cleaned: list[RouteChange] = []
        self._bird_started_ns = Nanoseconds(0)
        self._has_waited = False
        self._pool_due_ns: Nanoseconds | None = None
        self._steps: list[tuple[Nanoseconds, _Step]] = []
        self._bird = Bird(plane, peers, recorder, timings)
        self._felix: FelixVxlan | None = None
        if has_vxlan:
            restart_ns = Nanoseconds(round(skew * timings.felix_restart_ns_max))
            self._felix = FelixVxlan(plane, peers, recorder, facts, kube, restart_ns)
        self._adopt()

    @property
    def name(self) -> str:
        """Unique in the run."""
        return f"calico-node/{self._facts.name}"

    @property
    def watches(self) -> frozenset[Kind]:
        """Pods (its own and those of its peers), the pool, and for VXLAN the tunnel addresses of the Nodes."""
        watched = {Kind.POD, Kind.IP_POOL, Kind.DAEMON_SET}
        return frozenset(watched if self._felix is None else watched | {Kind.NODE})

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Do what is due; see Participant. While the API is away, what does not need it goes on."""
        is_reachable = self._datastore.refresh()
        self._follow_pod(now_ns, is_reachable=is_reachable)
        due = [self._take_steps(now_ns, is_reachable=is_reachable)]
        if self._is_running:
            due.append(self._see_pool(now_ns))
            due.append(self._bird.reconcile(self._mode, self._datastore.birds, now_ns))
            due.append(self._reconcile_felix(now_ns))
            # Felix's ipsets of pools follow the pools, not the routes (masq_mgr.go).
            self._plane.set_pools(masqueraded=self._pools.masqueraded, spared=self._pools.spared)
        return min((next_ns for next_ns in due if next_ns is not None), default=None)

    def is_settled(self) -> bool:
        """Return whether the pod has the DaemonSet's template and is Ready, and the routes are what template and pool say."""
        if not self._datastore.refresh():
            return False
        pod, pools = self._datastore.pod(self._facts.name), self._datastore.pools
        if pod is None or self._pod is None or pod.name != self._pod.name:
            return pod is None and self._pod is None and not self._steps and self._datastore.template is None
        is_rolled = pod.template == self._datastore.template and pod.is_ready and not self._steps
        return (
            is_rolled
            and self._pools == pools
            and self._bird.is_settled(pools.mode, self._datastore.birds)
            and (self._felix is None or self._felix.is_settled(is_enabled=self._has_vxlan, vteps=self._datastore.vteps))
        )

    @property
    def _mode(self) -> Mode:
        """The mode of the pools, as this node sees them."""
        return self._pools.mode

    @property
    def _has_vxlan(self) -> bool:
        """Whether Felix encapsulates: the pool decides unless the environment refuses."""
        return (
            self._mode is Mode.OVERLAY and self._pod is not None and self._pod.environment.get("FELIX_VXLANENABLED") != "false"
        )

    def _adopt(self) -> None:
        """Take the node over in its present state: a pod whose containers run has written its routes long ago."""
        self._datastore.refresh()
        self._pools = self._datastore.pools
        self._plane.set_pools(masqueraded=self._pools.masqueraded, spared=self._pools.spared)
        pod = self._datastore.pod(self._facts.name)
        self._is_running = pod is not None and pod.is_started
        self._pod: CalicoPod | None = pod if self._is_running else None
        if self._pod is not None and self._pod.has_bird:
            self._bird.adopt(self._mode, self._datastore.birds)
        if self._felix is not None:
            self._felix.adopt(is_enabled=self._has_vxlan, has_device=self._has_device())

    def _has_device(self) -> bool:
        return TUNNEL_DEVICES[self._plane.overlay] in self._plane.state().devices

    def _follow_pod(self, now_ns: Nanoseconds, *, is_reachable: bool) -> None:
        """Notice that the node's pod is another one: the old containers are to end, the new ones to begin."""
        old, self._pod = self._pod, self._datastore.pod(self._facts.name)
        if (old and old.name) == (self._pod and self._pod.name):
            return
        # The kubelet grants the preStop hook a second even at grace period 0: it writes if the API answers soon enough.
        has_last_word = self._has_last_word and self._is_running and is_reachable
        if old is not None and old.backend != "none" and has_last_word:
            self._write_condition(calico_is_down())
        self._steps = self._plan_steps(self._pod, now_ns)

    def _plan_steps(self, pod: CalicoPod | None, changed_ns: Nanoseconds) -> list[tuple[Nanoseconds, _Step]]:
        """List what comes after the pod changed. The old containers live on for a while: grace 0 still means a second."""
        timings, steps = self._timings, []
        self._cleanup.clear()
        self._cleaned.clear()
        if self._is_running:
            pending = [due_ns for due_ns, step in self._steps if step is _Step.STOP]
            stop_ns = timings.felix_start_ns if self.is_lingering else timings.containers_stop_ns
            steps.append((min([*pending, Nanoseconds(changed_ns + stop_ns)]), _Step.STOP))
        if pod is not None:
            if pod.has_cleanup:
                steps.append((Nanoseconds(changed_ns + timings.cleanup_routes_ns), _Step.CLEANUP))
            steps.append((Nanoseconds(changed_ns + timings.felix_start_ns), _Step.START))
            steps.append((Nanoseconds(changed_ns + timings.calico_up_ns), _Step.UP))
            steps.append((Nanoseconds(changed_ns + timings.ready_ns), _Step.READY))
        # Old containers end before new ones that start at the same time: the sort is stable.
        return sorted(steps, key=lambda each: each[0])

    def _take_steps(self, now_ns: Nanoseconds, *, is_reachable: bool) -> Nanoseconds | None:
        """Take the steps that are due; a start and being ready wait for the API, whose return wakes the double."""
        while self._steps:
            due_ns, step = self._steps[0]
            if due_ns > now_ns:
                return due_ns
            if step is _Step.UP and self._waits_for_peers(now_ns):
                return Nanoseconds(self._bird_started_ns + self._timings.bird_alone_ns)
            if step in (_Step.START, _Step.UP, _Step.READY) and not is_reachable:
                return None
            del self._steps[0]
            self._take(step, now_ns)
        return None

    def _take(self, step: _Step, now_ns: Nanoseconds) -> None:
        match step, self._pod:
            case _Step.STOP, _:  # the old pod's containers; the kernel keeps their routes
                self._bird.die()
                self._is_running, self._pool_due_ns = False, None
            case _Step.CLEANUP, _:
                self._clean_up(now_ns)
            case _, None:
                raise BugError(f"{self.name} was told to start a pod that it does not have")
            case _Step.START, pod:
                self._start(pod, now_ns)
            case _Step.UP, pod:
                if pod.backend != "none":
                    self._write_condition(calico_is_up())
            case _Step.READY, pod:
                self._write_status(pod, is_ready=True)
                self._recorder.record("pod.ready", node=self._facts.name, pod=pod.name)

    def _clean_up(self, now_ns: Nanoseconds) -> None:
        """Delete BIRD's routes in at most CLEANUP_BATCHES_MAX batches; the last deletes whatever is left."""
        if not self._cleaned and not self._cleanup:
            peers = sorted(self._bird.routes)
            size = max(1, -(-len(peers) // CLEANUP_BATCHES_MAX))
            self._cleanup.extend(peers[start : start + size] for start in range(0, len(peers), size))
        if self._cleanup:
            batch = self._cleanup.popleft()
            self._cleaned.append(self._plane.withdraw(batch))
            self._bird.lose_routes(batch, now_ns)
            self._steps.insert(0, (Nanoseconds(now_ns + len(batch) * self._timings.cleanup_route_ns), _Step.CLEANUP))
            return
        last = self._plane.cleanup_routes()
        changes, self._cleaned = [*self._cleaned, last], []
        self._bird.lose_routes(None, now_ns)
        self._recorder.record(
            "calico.cleanup_routes",
            t_ns=last.ended_ns,
            node=self._facts.name,
            removed=sum(change.routes for change in changes),
            began_ns=int(changes[0].began_ns),
        )

    def _start(self, pod: CalicoPod, now_ns: Nanoseconds) -> None:
        """Start Felix and, where the backend has it, BIRD; both begin with the pool as it is now."""
        self._is_running = True
        self._pools = self._datastore.pools
        if self._felix is not None:
            self._felix.start(is_enabled=self._has_vxlan)
        elif pod.environment.get("FELIX_IPINIPENABLED") == "true" and not self._has_device():
            self._plane.set_tunnel(present=True)
        if pod.backend == "bird":
            self._bird.start(self._mode, now_ns)
            self._bird_started_ns = now_ns
        self._write_status(pod, is_ready=False)
        self._recorder.record("calico.felix_started", node=self._facts.name)

    def _waits_for_peers(self, now_ns: Nanoseconds) -> bool:
        """Return whether BIRD is not ready: sessions are missing, and it has not waited long enough to do without them."""
        is_alone = self._bird.is_running and not self._bird.is_meshed
        waits = is_alone and now_ns < self._bird_started_ns + self._timings.bird_alone_ns
        if self._has_waited and not waits:
            # The kubelet notices this with the same delay as without the wait.
            delay_ns = self._timings.ready_ns - self._timings.calico_up_ns
            self._steps = [(Nanoseconds(max(due_ns, now_ns + delay_ns)), step) for due_ns, step in self._steps]
            self._steps[0] = (now_ns, _Step.UP)
        self._has_waited = waits
        return waits

    def _see_pool(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Notice a changed pool after this node's delay; returns when it will be noticed."""
        if self._datastore.pools == self._pools:
            self._pool_due_ns = None
        elif self._pool_due_ns is None:
            self._pool_due_ns = Nanoseconds(now_ns + self._pool_delay_ns)
        if self._pool_due_ns is not None and self._pool_due_ns <= now_ns:
            old, self._pools = self._pools, self._datastore.pools
            self._pool_due_ns = None
            if self._pools.spared > old.spared:
                self._bird.plan_rewrite(now_ns)
        return self._pool_due_ns

    def _reconcile_felix(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        if self._felix is None or self._pod is None:
            return None
        try:
            return self._felix.reconcile(is_enabled=self._has_vxlan, vteps=self._datastore.vteps, now_ns=now_ns)
        except ApiUnavailableError:
            return None

    def _write_status(self, pod: CalicoPod, *, is_ready: bool) -> None:
        document = {"kind": Kind.POD.value, "metadata": {"name": pod.name}, "status": make_status(is_ready=is_ready)}
        self._kube.replace_status(document, actor=f"system:node:{self._facts.name}")

    def _write_condition(self, condition: JsonObject) -> None:
        """Write NetworkUnavailable; an admission policy may keep the old one, which only the answer shows."""
        node, reason = self._facts.name, condition["reason"]
        try:
            answer = self._kube.merge_condition(node, dated(condition, read_wall_time()), actor=CALICO_NODE_USER)
        except NotFoundError:
            return  # The Node left the cluster, and its pod with it: there is nothing to write to.
        kept = [item for item in answer.get("status", {}).get("conditions", []) if item["type"] == condition["type"]]
        if any(item.get("reason") == reason for item in kept):
            self._recorder.record("condition.written", node=node, status=condition["status"], reason=reason, actor=CALICO_NODE)
        else:
            self._recorder.record("condition.dropped", node=node, reason=reason, actor=CALICO_NODE)


def make_calico_nodes(
    nodes: Sequence[NodeFacts],
    planes: Mapping[str, NodePlane],
    *,
    kube: MemoryKube,
    recorder: Recorder,
    timings: Timings,
) -> tuple[CalicoNode, ...]:
    """Return the doubles of all nodes, with one view of the API and skews that differ.

    Call it once the pods exist (`start_pods`) and before anything changes: the doubles take the present state as settled.
    """
    datastore = Datastore(kube)
    names = frozenset(node.name for node in nodes)
    skews = make_skews(sorted(names))
    return tuple(
        CalicoNode(
            facts=node,
            peers=names - {node.name},
            plane=planes[node.name],
            kube=kube,
            datastore=datastore,
            recorder=recorder,
            timings=timings,
            skew=skews[node.name],
        )
        for node in nodes
    )


def make_skews(names: Sequence[str]) -> dict[str, float]:
    """Return name to a fraction from 0 to 1: evenly spread, shuffled by a hash, and the same in every run."""
    shuffled = sorted(names, key=lambda name: hashlib.sha256(f"skew {name}".encode()).digest())
    return {name: position / max(1, len(shuffled) - 1) for position, name in enumerate(shuffled)}
