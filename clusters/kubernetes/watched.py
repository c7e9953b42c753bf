"""The cluster of a kubeconfig, which someone else switches: hitless installs the probers and otherwise only reads.

It is a Cluster like the others, so the main path of a run works on it. It refuses every change: faults, routes.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.node_objects import TUNNEL_OCTETS, pick_address, read_parts, read_tunnel_address
from clusters.kubernetes.pod_host import KubePodHost
from clusters.kubernetes.prober import KindProber
from clusters.kubernetes.prober_manifests import ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from hitless.errors import UsageError, WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, Endpoint, NodeFacts, NodeState, Part
from hitless.faults import FaultTable
from hitless.objects import is_switched_on
from hitless.plural import plural
from hitless.ports import KubeApi, Participant, RouteTables
from hitless.records import REFLECTOR_ROW, SENDER_ROW
from hitless.words import Capability, IpFamily, JsonObject, Kind, Mode, Overlay
from scenarios.flows import SERVICE_SETS, capabilities_of
from scenarios.mesh import Mesh
from scenarios.plan import Case
from switches.observer import KINDS, CalicoObserver, Observed, look

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
CAPABILITIES: Final = frozenset({Capability.FLOW_CLASSES, Capability.HOST_ENDPOINTS})
"""What the probers can do in any cluster."""
RECORDS_OCTETS_MAX: Final = 1_500_000_000
"""What a pod may write; its volume holds 2 GiB."""
_NODES_MIN: Final = 2
"""A mesh needs two ends."""


class WatchedCluster:
    """Implements the Cluster port for a cluster that hitless only watches; see `hitless.ports.Cluster`.

    Args:
        kube: its API, connected until `down`; only read.
    """

    def __init__(self, kube: KindKube, pods: ProberPods) -> None:
        self.kube, self.prober, self._pods = kube, KindProber(pods), pods

    @property
    def routes(self) -> RouteTables:
        """The cloud's route tables cannot be reached. Raises WorldError."""
        raise WorldError("hitless cannot reach the cloud route tables of a watched cluster")

    calibrator = None
    """hitless drops no packets in a watched cluster."""
    load = None
    """hitless puts no load on a watched cluster."""

    @property
    def faults(self) -> FaultTable:
        """No fault may be injected. Raises WorldError."""
        raise WorldError("hitless injects no faults into a watched cluster")

    def capabilities(self) -> frozenset[Capability]:
        """Return the capabilities of a cluster that is only watched."""
        return CAPABILITIES

    def up(self) -> ClusterFacts:
        """Begin to watch, deploy the probers. Raises WorldError, UsageError; no pod is left behind then."""
        self.kube.start(KINDS)
        seen = look(self.kube)
        overlay = read_overlay(seen)
        objects = self.kube.list(Kind.NODE)
        parts = read_parts(objects, seen.daemon_set, overlay)
        nodes = tuple(read_node(node, overlay) for node in objects)
        endpoints = self._pods.deploy(nodes)
        try:
            families, unprobed = read_families(endpoints)
            states = self._pods.inspect()
            first = next((end.name for end in endpoints if end.name.endswith("-mesh")), None)
            pod_mtu = 0 if first is None else _mtu(self._pods.ask_patiently(first, {"do": "inspect"}))
        except BaseException:
            self._pods.remove()
            raise
        nodes = tuple(_with_gateway(node, states.get(node.name)) for node in nodes)
        underlay_mtu = min((_mtu(state) for state in states.values()), default=0)
        is_overlay = seen.mode is Mode.OVERLAY
        return ClusterFacts(
            backend="kubeconfig",
            carrier=overlay.value,
            nodes=nodes,
            endpoints=endpoints,
            zone_gateways={node.zone: node.gateway for node in reversed(nodes)},
            underlay_mtu=underlay_mtu,
            pod_mtu=pod_mtu,
            overlay_pod_mtu=pod_mtu if is_overlay else max(0, underlay_mtu - TUNNEL_OCTETS[overlay]),
            native_pod_mtu=underlay_mtu if is_overlay else pod_mtu,
            families=families,
            families_probed=tuple(family for family in families if family not in unprobed),
            families_unprobed=unprobed,
            permanent_neighbours=False,
            rp_filter=max((state["rp_filter"] for state in states.values()), default=0),
            versions={
                "hitless": metadata.version("hitless"),
                "python": platform.python_version(),
                **{part.name.value: f"Linux {part.version}" for part in parts if part.name is Part.KERNEL and part.version},
            },
            parts=parts,
        )

    def down(self) -> None:
        """Stop the agents, remove the probers and end the watch. Safe to call twice."""
        with ExitStack() as last:
            last.callback(self.kube.stop)
            last.callback(self._pods.remove)
            self.prober.stop()

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return what records real Calico."""
        return (CalicoObserver(self.kube, recorder),)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return none: the counters are in namespaces that hitless cannot enter."""
        return {}

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node, as its host prober sees it."""
        return self.prober.inspect()


def make_watched_cluster(kubeconfig: Path, context: str | None, *, image: str, namespace: str) -> WatchedCluster:
    """Return the cluster of a kubeconfig, connected, nothing in it yet. Raises UsageError: the kubeconfig cannot be used."""
    calls = connect(kubeconfig, context)
    pods = ProberPods(KubePodHost(calls), ProberSpec(image=image, namespace=namespace))
    return WatchedCluster(KindKube(calls), pods)


def remove_probers(kubeconfig: Path, context: str | None, namespace: str) -> bool:
    """Remove the probers that a watch left in a cluster when it was killed; return whether there were any.

    Raises:
        UsageError: the kubeconfig cannot be used, or hitless did not create the namespace.
        ApiError, WorldError: the cluster refused, or the namespace does not disappear.
    """
    calls = connect(kubeconfig, context)
    try:
        spec = ProberSpec(image="", namespace=namespace)
        return ProberPods(KubePodHost(calls), spec).remove_left()
    finally:
        calls.close()


def find_mismatches(kube: KubeApi, case: Case) -> tuple[str, ...]:
    """Return the differences between a cluster and the start that a scenario needs. Raises ApiError."""
    seen, scenario = look(kube), case.scenario
    needed = {*scenario.needs, *capabilities_of(case.flow_sets)} - CAPABILITIES
    # The cluster's own controllers write the routes, and its own calico-node masquerades.
    needed -= {Capability.ROUTE_TABLES} | (set() if SERVICE_SETS & set(case.flow_sets) else {Capability.NFT})
    missing: list[str] = sorted(needed)
    if len(seen.nodes) < _NODES_MIN:
        missing.append(f"two nodes: the cluster has {len(seen.nodes)}")
    if seen.mode is not scenario.start:
        missing.append(f"a cluster in mode {scenario.start}: it is in {seen.mode}")
    overlay = read_overlay(seen)
    if overlay is not case.overlay:
        missing.append(f"the overlay {case.overlay}: it is {overlay}")
    return tuple(missing)


def read_zones(kube: KubeApi) -> tuple[str, ...]:
    """Return the zone of each node. Raises ApiError."""
    return tuple(_read_zone(node) for node in kube.list(Kind.NODE))


def count_families(kube: KubeApi) -> int:
    """Return how many address families pods may have, by the nodes' podCIDRs and the IPPools. Raises ApiError."""
    cidrs = [cidr for node in kube.list(Kind.NODE) for cidr in (node.get("spec") or {}).get("podCIDRs") or ()]
    cidrs += [pool["spec"]["cidr"] for pool in kube.list(Kind.IP_POOL)]
    return max(1, len({":" in cidr for cidr in cidrs}))


def check_records(zones: Sequence[str], mesh: Mesh, *, rate_hz: float, until_s: float, families: int = 1) -> None:
    """Raise UsageError where a cluster has too few nodes, or where the probers would write more than their volume holds."""
    nodes = len(zones)
    if nodes < _NODES_MIN:
        raise UsageError(f"the cluster has {plural(nodes, 'node')}; probing needs at least 2")
    control = 2 * SENDER_ROW.itemsize + REFLECTOR_ROW.itemsize  # a mesh pod sends to its node's other pod, and to itself
    octets = Counter(dict.fromkeys(range(nodes), control))
    for source, destination in mesh.pairs(zones):
        octets[source] += SENDER_ROW.itemsize
        octets[destination] += REFLECTOR_ROW.itemsize
    octets_hz = families * rate_hz * max(octets.values())
    if octets_hz * until_s > RECORDS_OCTETS_MAX:
        seconds = RECORDS_OCTETS_MAX / octets_hz
        raise UsageError(
            f"the records of {until_s:g} s do not fit into the probers' volumes: {rate_hz:g} probes per second and "
            f"{plural(nodes, 'node')} fill them in {seconds:.0f} s; use a smaller --rate, --mesh covering, or with "
            "`hitless watch` a smaller --until-seconds"
        )


def _read_zone(node: JsonObject) -> str:
    return (node["metadata"].get("labels") or {}).get(ZONE_LABEL) or "none"


def read_node(node: JsonObject, overlay: Overlay) -> NodeFacts:
    """Return what a Node object says of a node; it does not name the gateway."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    internal = [entry["address"] for entry in addresses if entry.get("type") == "InternalIP"]
    spec = node.get("spec") or {}
    cidrs = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
    return NodeFacts(
        name=node["metadata"]["name"],
        zone=_read_zone(node),
        address=pick_address(internal, IpFamily.IPV4),
        address6=pick_address(internal, IpFamily.IPV6),
        pod_cidr=pick_address(filter(None, cidrs), IpFamily.IPV4),
        pod_cidr6=pick_address(cidrs, IpFamily.IPV6),
        gateway="",
        tunnel_address=read_tunnel_address(node, overlay),
    )


def read_families(endpoints: Sequence[Endpoint]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the address families that prober pods have, and of those that cannot be probed the reason.

    Raises:
        UsageError: a prober pod has no IPv4 address.
    """
    pods = [endpoint for endpoint in endpoints if endpoint.is_pod]
    families, unprobed = [], {}
    for family in IpFamily:
        without = [pod.name for pod in pods if not pod.address_of(family)]
        if without and family is IpFamily.IPV4:
            raise UsageError(
                f"{len(without)} of {plural(len(pods), 'prober pod')} have no IPv4 address (first: {without[0]}); hitless "
                "needs pods with IPv4, or IPv4 and IPv6"
            )
        if len(without) < len(pods):
            families.append(family.value)
        if 0 < len(without) < len(pods):
            unprobed[family.value] = f"{len(without)} of {len(pods)} prober pods have no such address, such as {without[0]}"
    return tuple(families), unprobed


def read_overlay(observed: Observed) -> Overlay:
    """Return which encapsulation the pools use, or would use: by their modes, else by calico-node's environment."""
    specs = [pool.get("spec") or {} for pool in observed.pools.values()]
    if any(spec.get("vxlanMode", "Never") != "Never" for spec in specs):
        return Overlay.VXLAN
    has_vxlan = is_switched_on(observed.daemon_set, "FELIX_VXLANENABLED")
    is_ipip = any(spec.get("ipipMode", "Never") != "Never" for spec in specs)
    return Overlay.VXLAN if has_vxlan and not is_ipip else Overlay.IPIP


def _with_gateway(node: NodeFacts, state: JsonObject | None) -> NodeFacts:
    routes = [] if state is None else state["routes"]
    gateway = next((route["via"] for route in routes if route["dst"] == "default" and "via" in route), "")
    return replace(node, gateway=gateway)


def _mtu(state: JsonObject) -> int:
    """Return the MTU of the device with the default route; 0: there is none."""
    device = next((route["dev"] for route in state["routes"] if route["dst"] == "default" and "dev" in route), None)
    return int(state["mtus"].get(device, 0))
