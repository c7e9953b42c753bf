"""The lab as a cluster: network, Kubernetes API in memory, cloud, prober, faults and doubles, put together."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from ipaddress import IPv4Network
from typing import Final

import numpy as np

from clusters.lab.calico.daemon_set import DaemonSetRoll, start_pods
from clusters.lab.calico.datastore import read_data_plane
from clusters.lab.calico.node import CalicoNode, make_calico_nodes
from clusters.lab.faults import LAB_FAULTS, lab_faults
from clusters.lab.kube import MemoryKube
from clusters.lab.load import LabLoad
from clusters.lab.machine import capabilities, ipip_carriers
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from clusters.lab.sharp_switch import LabCalibrator
from clusters.lab.spec import LabSpec
from clusters.lab.wiring import Carrier
from clusters.linux.machine import has_own_wall_clock
from gardener.doubles.cloud import Cloud
from gardener.manifests.admission import admit
from hitless.errors import UsageError, WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, NodeState, Part, PartIdentity
from hitless.faults import CLOCK_STEPPED, NEEDS_NFT, FaultTable, faults_missing
from hitless.ports import Clock, Participant
from hitless.words import Capability, Mode, Overlay
from scenarios.flows import capabilities_of
from scenarios.plan import Case
from switches.doubles import calico_objects, initial_objects

_NODE_NETWORKS: Final = ("10.250.0.0/16", "172.20.0.0/16", "192.168.0.0/16")
"""Tried in this order if the Shoot names none."""
_ACTOR = "system:serviceaccount:kube-system:gardener-resource-manager"


class LabCluster:
    """Implements the Cluster port; see `hitless.ports.Cluster`. Raises UsageError: as `make_spec`."""

    def __init__(self, case: Case, clock: Clock) -> None:
        self._case, self._clock = case, clock
        self._network = LabNetwork(make_spec(case), clock)
        self._cloud: Cloud | None = None
        self._faults: FaultTable | None = None
        self._calico: dict[str, CalicoNode] = {}
        """Node to its double of calico-node, once there are participants."""
        self.kube = MemoryKube(admit=admit, clock=clock, admission_live_ns=case.timings.admission_live_ns)
        self.prober = LabProber(self._network.all_endpoints, self._network.endpoint_path, self._network.nodes)
        self.calibrator = LabCalibrator(self._network, clock)
        self.load = LabLoad(self._network.endpoints, self._network.endpoint_path)

    @property
    def routes(self) -> Cloud:
        """The cloud's route tables behind the API of the cloud. Raises WorldError while the lab is down."""
        if self._cloud is None:
            raise WorldError("the lab is not up")
        return self._cloud

    @property
    def faults(self) -> FaultTable:
        """What can be broken. Raises WorldError while the lab is down."""
        if self._faults is None:
            raise WorldError("the lab is not up")
        return self._faults

    def capabilities(self) -> frozenset[Capability]:
        """Return the capabilities of a lab on this machine's kernel."""
        return capabilities()

    def up(self) -> ClusterFacts:
        """Build the network, then the objects of the start mode and their pods. Raises WorldError."""
        network = self._network
        network.up()
        links, families = self._case.scenario.links, self._case.shoot.families
        if links is not None:
            for node in links.nodes or network.planes:
                network.impair(node, links)
        cloud = Cloud(network.tables, self._case.behaviour, self._clock)
        self._cloud = cloud
        self._faults = FaultTable(lab_faults(self.kube, cloud, network, self._calico))
        for document in initial_objects(self._case.shoot, network.nodes, self._case.feature_gates):
            self.kube.apply(document, actor=_ACTOR)
            if "status" in document:
                self.kube.replace_status(document, actor=_ACTOR)
        start_pods(self.kube, network.nodes)
        self.kube.take_changes()
        return ClusterFacts(
            backend="lab",
            carrier=network.carrier,
            nodes=network.nodes,
            endpoints=network.all_endpoints,
            zone_gateways=network.zone_gateways,
            underlay_mtu=network.underlay_mtu,
            pod_mtu=network.pod_mtu,
            overlay_pod_mtu=network.pod_mtu_in(Mode.OVERLAY),
            native_pod_mtu=network.pod_mtu_in(Mode.NATIVE),
            services=network.services,
            families=families,
            families_probed=families,
            permanent_neighbours=network.spec.has_permanent_neighbours,
            rp_filter=network.spec.rp_filter,
            versions=_versions(),
            parts=_parts(network.carrier),
        )

    def down(self) -> None:
        """Stop the load and the agents and remove the network, each even if a step before failed. Safe to call twice."""
        self._cloud = self._faults = None
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._network.down)
            last_first.callback(self.prober.stop)
            last_first.callback(self.load.stop)

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return the DaemonSet roll and calico-node on every node."""
        facts = self._network.nodes
        nodes = make_calico_nodes(facts, self._network.planes, kube=self.kube, recorder=recorder, timings=self._case.timings)
        self._calico.update((node.name, double) for node, double in zip(facts, nodes, strict=True))
        return (DaemonSetRoll(kube=self.kube, recorder=recorder), *nodes)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return the kernel's counters of every namespace, and the machine's."""
        return self._network.counters()

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node."""
        return self._network.inspect()


def make_spec(case: Case) -> LabSpec:
    """Return the lab that a scenario and its Shoot ask for.

    Raises:
        UsageError: the Shoot asks for something that the lab's nodes lack; names its file, the field and the accepted values.
    """
    try:
        return _make_spec(case)
    except UsageError as error:
        if not error.place.startswith("spec."):
            raise
        where = str(case.scenario.shoot)
        raise error.at(where, error.place) from error


def _make_spec(case: Case) -> LabSpec:
    scenario, shoot = case.scenario, case.shoot
    start, *others = (read_data_plane(calico_objects(one, case.feature_gates)) for one in (shoot, *case.wanted))
    proxy = shoot.spec.kubernetes.kube_proxy
    if proxy is not None and proxy.mode == "IPVS":
        allowed = "IPTables or NFTables; the nodes of the lab have no IPVS"
        raise UsageError(where="Shoot", place="spec.kubernetes.kubeProxy.mode", found="IPVS", expected=allowed)
    block_mask = None if case.has_arranged_blocks else start.block_mask
    if block_mask is not None and start.pools.mode is Mode.NATIVE:
        place = "spec.networking.providerConfig.ipam.type"
        allowed = (
            "host-local when the start has no overlay, because cloud routes do not cover the address blocks of calico-ipam"
        )
        raise UsageError(where="Shoot", place=place, found="calico-ipam", expected=allowed)
    overlay = next((one.pools.overlay for one in (start, *others) if one.pools.overlay is not None), None)
    carrier = Carrier.VXLAN if overlay is Overlay.VXLAN else Carrier.IPIP
    mtu_max = carrier.native_pod_mtu if overlay is None else carrier.tunnel_mtu
    if start.veth_mtu > mtu_max:
        place = "spec.networking.providerConfig.vethMTU"
        raise UsageError(where="Shoot", place=place, found=str(start.veth_mtu), expected=f"at most {mtu_max}, or 0")
    return LabSpec(
        zones=scenario.topology.zones,
        nodes_per_zone=scenario.topology.nodes_per_zone,
        overlay=overlay or Overlay.IPIP,
        start_mode=start.pools.mode,
        rp_filter=scenario.rp_filter,
        carrier=case.carrier,
        has_bird=start.has_bird,
        # A table of connections is full of those that conntrack already follows.
        has_services=Capability.NFT in capabilities_of(case.flow_sets) or "connections-refused" in scenario.fault_names,
        pods=start.pods,
        nodes=shoot.spec.networking.nodes or _choose_node_network(start.pods, shoot.service_cidr),
        services=shoot.service_cidr,
        node_mask=shoot.node_mask,
        block_mask=block_mask,
        has_ipv6=start.has_ipv6,
        veth_mtu=start.veth_mtu,
    )


def _choose_node_network(*taken: str) -> str:
    """Return a network for the nodes of a Shoot that names none, as its infrastructure would."""
    networks = [IPv4Network(one) for one in taken]
    for one in _NODE_NETWORKS:
        if not any(IPv4Network(one).overlaps(network) for network in networks):
            return one
    allowed = f"a network, because the Shoot's other networks overlap the defaults {', '.join(_NODE_NETWORKS)}"
    raise UsageError(where="Shoot", place="spec.networking.nodes", found="nothing", expected=allowed)


def capabilities_missing(case: Case) -> tuple[str, ...]:
    """Return the capabilities that a scenario needs and a lab on this machine lacks. Raises UsageError."""
    make_spec(case)
    faults, needed = case.scenario.fault_names, set(case.needs)
    if faults & NEEDS_NFT:
        needed.add(Capability.NFT)
    if "IPv6" in case.shoot.families:
        needed.add(Capability.IPV6)
    missing: list[str] = sorted(needed - capabilities())
    missing += faults_missing(faults, LAB_FAULTS if has_own_wall_clock() else LAB_FAULTS - {CLOCK_STEPPED})
    if case.carrier is not None and case.carrier not in ipip_carriers():
        missing.append(f"the carrier {case.carrier}")
    return tuple(missing)


def _parts(carrier: Carrier) -> tuple[PartIdentity, ...]:
    """The lab's Calico and API are doubles; packets go through the machine's own kernel."""
    ours, kernel = metadata.version("hitless"), platform.release()
    return (
        PartIdentity(name=Part.CALICO, is_double=True, version=ours),
        PartIdentity(name=Part.TUNNEL, is_double=carrier is Carrier.VXLAN_GPE, version=f"{carrier}, Linux {kernel}"),
        PartIdentity(name=Part.KUBERNETES, is_double=True, version=ours),
        PartIdentity(name=Part.KERNEL, is_double=False, version=kernel),
    )


def _versions() -> dict[str, str]:
    return {
        "hitless": metadata.version("hitless"),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
