"""A kind cluster running Calico as a cluster: docker, router, kind, Calico and probers, put together.

Everything that it creates names this process as its owner and is always removed, unless it is to be kept.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final, Protocol, TypeVar

from clusters.faults import common_faults, node_faults, restore
from clusters.kind.bring_up import POLL_S, CalicoStart, ClusterApi
from clusters.kind.config import KindOptions, digest_spec, make_spec
from clusters.kind.docker import Docker, find_docker
from clusters.kind.images import find_images
from clusters.kind.kept import find_defect, find_standing, in_use, remove_cluster
from clusters.kind.machine import kernel_capabilities
from clusters.kind.nodes import KindMachines, count_strays, make_docker_rescue, read_counters, read_state
from clusters.kind.programs import KindNodes, find_programs
from clusters.kind.route_watch import RouteWatch
from clusters.kind.router import UNDERLAY_MTU, CloudNetwork
from clusters.kind.spec import NodePlan, make_plan
from clusters.kind.versions import KIND_VERSION, PROBER_IMAGE, calico_images
from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.node_objects import TUNNEL_OCTETS, read_parts, read_tunnel_address
from clusters.kubernetes.pod_host import KubePodHost
from clusters.kubernetes.prober import KindProber
from clusters.kubernetes.prober_manifests import PodRole, ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from gardener.doubles.cloud import Cloud
from hitless.calico import CALICO_NODE
from hitless.clock import wait_until
from hitless.errors import HitlessError, WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, Endpoint, NodeFacts, NodeState
from hitless.faults import FaultTable
from hitless.objects import name_of
from hitless.plural import plural
from hitless.ports import Clock, Participant, Prober
from hitless.words import MILLISECOND, Capability, FlowSet, Kind, Mode, Nanoseconds
from scenarios.flows import capabilities_of
from scenarios.plan import Case
from switches.doubles import initial_objects
from switches.observer import CalicoObserver

_POD_CIDR_S: Final = 60
_LOOK_AFTER_NS: Final = Nanoseconds(150 * MILLISECOND)
"""Time before the observer's next look. A look makes four requests, which would delay what the double of
gardener-resource-manager applies meanwhile."""
_AT_ONCE_MAX: Final = 8
"""Number of nodes that are connected or read at the same time; each step starts a docker client."""
T = TypeVar("T")


class ProberHandle(Prober, Protocol):
    """A Prober that has to be brought into the cluster first; `clusters.kubernetes.prober.KindProber` is one."""

    def deploy(self, nodes: Sequence[NodeFacts]) -> tuple[Endpoint, ...]:
        """Place the probers on all nodes; return their endpoints. Raises WorldError."""

    def remove(self) -> None:
        """Remove them. Safe to call twice."""


Connect = Callable[[Path], tuple[ClusterApi, ProberHandle]]
"""Connects to the API server of a kubeconfig, without sending anything yet."""


class CalicoCluster:
    """Implements the Cluster port; see `hitless.ports.Cluster`.

    Raises:
        UsageError: the scenario or an option does not fit kind.
    """

    def __init__(
        self, options: KindOptions, case: Case, clock: Clock, *, docker: Docker, connect: Connect, tell: Callable[[str], None]
    ) -> None:
        self._options, self._case, self._clock = options, case, clock
        self._docker, self._connect, self._tell = docker, connect, tell
        self._spec = make_spec(case, options)
        self._plan = make_plan(self._spec)
        self._kube: ClusterApi | None = None
        self._prober: ProberHandle | None = None
        self._cloud: Cloud | None = None
        self._faults: FaultTable | None = None
        self._machines: KindMachines | None = None
        self._nodes: KindNodes | None = None
        self._facts: tuple[NodeFacts, ...] = ()
        self._lock = contextlib.ExitStack()
        self._is_whole = False
        """Whether it came up."""
        self._is_wired = False
        """Whether its nodes are up and connected: only then may it be kept."""

    @property
    def kube(self) -> ClusterApi:
        """The cluster's API. Raises WorldError while it is down."""
        return _present(self._kube)

    @property
    def routes(self) -> Cloud:
        """The cloud's route tables, with the cloud's behaviour around them. Raises WorldError while the cluster is down."""
        return _present(self._cloud)

    calibrator = None
    """No part of a kind cluster drops a single flow at a known time."""
    load = None
    """No part of a kind cluster runs Locust."""

    @property
    def prober(self) -> ProberHandle:
        """Its prober. Raises WorldError while the cluster is down."""
        return _present(self._prober)

    @property
    def faults(self) -> FaultTable:
        """Its faults. Raises WorldError while the cluster is down."""
        return _present(self._faults)

    def capabilities(self) -> frozenset[Capability]:
        """Return what this machine's kernel offers to kind's nodes."""
        return kernel_capabilities()

    def up(self) -> ClusterFacts:
        """Bring the cluster up, or take a kept one into use, with Calico and probers running. Raises WorldError."""
        try:
            return self._up()
        except BaseException as error:
            self._is_whole = False
            # After an error the user may examine a cluster that was to be kept; after an interrupt everything is removed.
            self._is_wired = self._is_wired and isinstance(error, HitlessError)
            if self._is_wired and self._options.keep:
                self._tell(f"the cluster {self._spec.name} is kept; remove it with `hitless kind down`")
            try:
                self.down()
            except WorldError as second:
                error.add_note(f"cleaning up failed, too: {second}")
            raise

    def down(self) -> None:
        """Take everything down, or with --keep-cluster only the probers. Safe to call twice."""
        kube, prober, nodes = self._kube, self._prober, self._nodes
        self._kube = self._prober = self._nodes = None
        self._cloud = self._faults = None
        try:
            if prober is not None and self._is_whole:
                prober.stop()
                if self._options.keep:
                    prober.remove()
        finally:
            if kube is not None:
                kube.stop()
            try:
                if nodes is not None and not (self._options.keep and self._is_wired):
                    # kind comes last, since it removes all nodes at the same time (see `remove_containers`).
                    try:
                        remove_cluster(self._docker, self._plan.name)
                    finally:
                        nodes.delete()
            finally:
                self._is_whole = self._is_wired = False
                self._lock.close()

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return what records real Calico and the nodes' routes, and holds the run until its roll is over."""
        watch = RouteWatch(self._docker, self._facts, recorder, self._clock, _present(self._machines).left)
        self._lock.callback(watch.close)
        return (CalicoObserver(self.kube, recorder, _LOOK_AFTER_NS), watch)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return the counters of every node and of the router that say why something is wrong; see `clusters.kind.nodes`."""
        router = self._plan.router
        names = [*(node.name for node in self._plan.nodes), router]
        with ThreadPoolExecutor(_AT_ONCE_MAX) as pool:
            read = pool.map(lambda name: read_counters(self._docker, name, is_node=name != router), names)
            return dict(zip(names, read, strict=True))

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node, in the order of the facts."""
        with ThreadPoolExecutor(_AT_ONCE_MAX) as pool:
            return tuple(pool.map(lambda node: read_state(self._docker, node.name), self._plan.nodes))

    def _up(self) -> ClusterFacts:
        spec, docker = self._spec, self._docker
        docker.version()
        kind, kubectl = find_programs(self._options)
        self._lock.enter_context(in_use(spec.name))
        images = find_images(docker, spec.image, calico_images(spec.calico_version))
        spec = self._spec = replace(spec, image=images.node)
        nodes = KindNodes(spec, kind, kubectl)
        network = CloudNetwork(
            docker, self._plan, image=images.router, configuration=digest_spec(spec), keep=self._options.keep
        )
        machines = self._machines = KindMachines(docker, network, self._plan)
        self._make_containers(nodes, network, machines, images.to_load)
        self._is_wired = True
        kube, prober = self._connect(nodes.kubeconfig)
        self._kube, self._prober = kube, prober
        facts = self._find_nodes(kube)
        tables = network.tables(facts)
        tables.clear()
        start = CalicoStart(self._case, kube, tables, clock=self._clock, tell=self._tell)
        start.bring(facts, initial_objects(self._case.shoot, facts, self._case.feature_gates))
        facts = self._facts = tuple(
            replace(node, tunnel_address=read_tunnel_address(kube.get(Kind.NODE, node.name), spec.overlay)) for node in facts
        )
        kube.start()
        kube.take_changes()
        cloud = self._cloud = Cloud(tables, self._case.behaviour, self._clock)
        self._faults = FaultTable(common_faults(machines, kube, cloud) | node_faults(machines, kube, cloud))
        self._tell("placing the probers")
        endpoints = prober.deploy(facts)
        self._is_whole = True
        return self._describe(facts, endpoints, images.provenance)

    def _make_containers(self, nodes: KindNodes, network: CloudNetwork, machines: KindMachines, images: Sequence[str]) -> None:
        """Provide nodes, zones and router, new or kept, connected as in the scenario."""
        docker, plan, spec = self._docker, self._plan, self._spec
        standing = find_standing(docker, nodes, plan)
        defect = find_defect(docker, network, plan, digest_spec(spec)) if standing else None
        is_reused = standing and defect is None
        # From here on everything with this name belongs to hitless, and `down` removes it.
        self._nodes = nodes
        if defect is not None:
            self._tell(f"the cluster {spec.name} is up but cannot be reused: {defect}; creating it again")
        if is_reused:
            self._tell(f"using the kept cluster {spec.name}")
            nodes.export_kubeconfig()
        else:
            remove_cluster(docker, plan.name)
            network.up()
            self._tell(f"creating the cluster {spec.name}: {plural(len(plan.nodes), 'node')} of {spec.image}")
            nodes.create()
            if images:
                self._tell(f"loading {len(images)} images into the nodes")
                nodes.load(images)
            for node in plan.nodes:
                network.connect(node)

        def wire(node: NodePlan) -> None:
            network.wire(node, spec.rp_filter)
            count_strays(docker, network, plan, node)
            if is_reused:
                restore(machines, node.name)

        with ThreadPoolExecutor(_AT_ONCE_MAX) as pool:
            # The results are None; reading them raises the first error here.
            list(pool.map(wire, plan.nodes))

    def _find_nodes(self, kube: ClusterApi) -> tuple[NodeFacts, ...]:
        """Wait until every Node has its podCIDR; return the nodes in the plan's order. Raises WorldError."""
        blocks: dict[str, str] = {}

        def is_complete() -> bool:
            blocks.update({name_of(one): one["spec"]["podCIDR"] for one in kube.list(Kind.NODE) if "podCIDR" in one["spec"]})
            return all(node.name in blocks for node in self._plan.nodes)

        unmet = "not every Node has a podCIDR"
        wait_until(is_complete, timeout_s=_POD_CIDR_S, poll_s=POLL_S, unmet=unmet, clock=self._clock)
        return tuple(
            NodeFacts(name=one.name, zone=one.zone, address=one.address, pod_cidr=blocks[one.name], gateway=one.gateway)
            for one in self._plan.nodes
        )

    def _describe(
        self, nodes: tuple[NodeFacts, ...], endpoints: tuple[Endpoint, ...], provenance: Mapping[str, str]
    ) -> ClusterFacts:
        overlay_mtu = UNDERLAY_MTU - TUNNEL_OCTETS[self._spec.overlay]
        return ClusterFacts(
            backend="kind",
            carrier=self._spec.overlay.value,
            nodes=nodes,
            endpoints=endpoints,
            zone_gateways={zone.name: zone.gateway for zone in self._plan.zones},
            underlay_mtu=UNDERLAY_MTU,
            pod_mtu=overlay_mtu if self._spec.start_mode is Mode.OVERLAY else UNDERLAY_MTU,
            overlay_pod_mtu=overlay_mtu,
            native_pod_mtu=UNDERLAY_MTU,
            families=self._case.shoot.families,
            permanent_neighbours=False,
            rp_filter=self._spec.rp_filter,
            versions={
                "hitless": metadata.version("hitless"),
                "kernel": f"{platform.system()} {platform.release()}",
                "machine": platform.machine(),
                "python": platform.python_version(),
                "docker": self._docker.version(),
                "kind, written for": KIND_VERSION,
                "kubernetes": ".".join(map(str, self._spec.kubernetes)),
                "calico": self._spec.calico_version,
                **provenance,
            },
            parts=read_parts(self.kube.list(Kind.NODE), self.kube.get(Kind.DAEMON_SET, CALICO_NODE), self._spec.overlay),
        )


def make_kind_cluster(case: Case, clock: Clock, options: KindOptions) -> CalicoCluster:
    """Return the kind cluster of a scenario, not up yet.

    Raises:
        UsageError: the scenario or an option does not fit kind.
        MissingCapabilityError: there is no docker client.
    """
    docker = find_docker()

    def connect_to(kubeconfig: Path) -> tuple[ClusterApi, ProberHandle]:
        calls = connect(kubeconfig)
        spec = ProberSpec(image=PROBER_IMAGE, pull_policy="Never", roles=roles_of(case.flow_sets))
        pods = ProberPods(KubePodHost(calls), spec)
        return KindKube(calls), KindProber(pods, make_docker_rescue(docker))

    return CalicoCluster(options, case, clock, docker=docker, connect=connect_to, tell=_tell_stderr)


def roles_of(flow_sets: Iterable[FlowSet]) -> tuple[PodRole, ...]:
    """Return which probers a node needs: one in its own network only where a flow begins or ends there."""
    needs_hosts = Capability.HOST_ENDPOINTS in capabilities_of(flow_sets)
    return (PodRole.MESH, PodRole.CONTROL, *((PodRole.HOST,) if needs_hosts else ()))


def _tell_stderr(line: str) -> None:
    sys.stderr.write(f"hitless: {line}\n")


def _present(part: T | None) -> T:
    if part is None:
        raise WorldError("the kind cluster is not up")
    return part
