"""The lab's network: builds and removes the router, the nodes and the pods, which are namespaces.

Everything goes by batched netlink, one namespace after the other in one thread, inside the sandbox. The namespaces are files
of one tmpfs at /run/netns, so that `ip netns exec node-a1 ...` works inside the sandbox, and so that one unmount takes
everything away: with its last file a namespace goes, and with it all that is in it.
"""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from clusters.lab.calico.node_plane import LabNodePlane, RouteBook
from clusters.lab.calico.plane import NodePlane
from clusters.lab.machine import ipip_carriers
from clusters.lab.services import make_services, render_rules, run_nft
from clusters.lab.spec import (
    ROUTER,
    UNDERLAY_DEVICE,
    UNDERLAY_INDEX,
    LabSpec,
    NodePlan,
    ZonePlan,
    make_plan,
)
from clusters.lab.tables import LabRouteTables
from clusters.lab.wiring import Carrier, make_prefix_route, node_veth, pod_veth, wire_bridges, wire_node, wire_pod, wire_tables
from clusters.linux.counters import read_counters
from clusters.linux.fence import on_one_cpu, raise_fence, wait_gone
from clusters.linux.machine import try_ipip
from clusters.linux.namespaces import (
    NETWORK_DIRECTORY,
    THREAD_NETWORK,
    Clone,
    Mount,
    inside,
    mount,
    open_namespace,
    return_home,
    unmount,
    unshare,
)
from clusters.linux.netlink import Netlink, list_links, list_unready_addresses6
from clusters.linux.netlink_messages import Link, add_route, add_veth, delete_route, set_link, set_netem
from clusters.linux.sandbox import is_inside
from clusters.linux.sysctls import Sysctls, make_sysctls, make_workload_sysctls, write_sysctls
from hitless.clock import RunClock, wait_until
from hitless.errors import MissingCapabilityError, WorldError
from hitless.facts import CloudRoute, Endpoint, NodeFacts, NodeState, ServiceFacts
from hitless.ports import Clock
from hitless.words import Mode, Overlay
from scenarios.parts import Links

_FILES_WANTED: Final = 4096
"""200 nodes need about 1,300 open files while they are built."""
_GONE_S: Final = 120.0
_LINKS_UP_S: Final = 20.0
_LINKS_UP_POLL_S: Final = 0.002


class LabNetwork:
    """One lab. `up` and `down` may be called again and again; one lab a sandbox at a time."""

    def __init__(self, spec: LabSpec, clock: Clock | None = None) -> None:
        self.spec = spec
        self.plan = make_plan(spec)
        self._clock: Clock = clock or RunClock()
        self._carrier: Carrier | None = None
        self._sockets: dict[str, Netlink] = {}
        self._planes: dict[str, LabNodePlane] = {}
        self._tables: LabRouteTables | None = None
        self._is_mounted = False

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        """The nodes, zone by zone."""
        return tuple(node.facts for node in self.plan.nodes)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The pods: `NODE-mesh` and `NODE-control` of every node."""
        return self.plan.endpoints

    @property
    def zone_gateways(self) -> Mapping[str, str]:
        """Zone name to the router's address in it."""
        return {zone.name: zone.gateway for zone in self.plan.zones}

    @property
    def services(self) -> tuple[ServiceFacts, ...]:
        """The Services: one a mesh pod, where the lab has any."""
        return make_services(self.plan) if self.spec.has_services else ()

    @property
    def carrier(self) -> Carrier:
        """What carries the overlay; the kernel is asked once. Raises MissingCapabilityError: it lacks the one asked for."""
        if self._carrier is None:
            self._carrier = Carrier.VXLAN if self.spec.overlay is Overlay.VXLAN else self._choose_ipip_carrier()
        return self._carrier

    def _choose_ipip_carrier(self) -> Carrier:
        asked = self.spec.carrier
        if asked is None:
            return Carrier.IPIP if try_ipip() is None else Carrier.VXLAN_GPE
        offered = ipip_carriers()
        if asked not in offered:
            remedy = f"use --carrier {' or '.join(offered)}" if offered else "load the kernel module ipip or vxlan"
            raise MissingCapabilityError(f"this kernel cannot carry the overlay ipip by {asked}; {remedy}")
        return Carrier(asked)

    @property
    def underlay_mtu(self) -> int:
        """MTU of the nodes' eth0, octets."""
        return self.carrier.underlay_mtu

    @property
    def pod_mtu(self) -> int:
        """MTU of the pods' eth0, octets."""
        return self.pod_mtu_in(self.spec.start_mode)

    def pod_mtu_in(self, mode: Mode) -> int:
        """Return the MTU of pods that are made in a mode, octets."""
        return self.spec.veth_mtu or (self.carrier.tunnel_mtu if mode is Mode.OVERLAY else self.carrier.native_pod_mtu)

    @property
    def planes(self) -> Mapping[str, NodePlane]:
        """Node name to its plane; empty while the lab is down."""
        return self._planes

    @property
    def tables(self) -> LabRouteTables:
        """The cloud's route tables. Raises WorldError while the lab is down."""
        if self._tables is None:
            raise WorldError("the lab is not up")
        return self._tables

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Names of all namespaces: the router, the nodes, the pods."""
        nodes = self.plan.nodes
        return (ROUTER, *(node.name for node in nodes), *(pod.name for node in nodes for pod in node.pods))

    @property
    def all_endpoints(self) -> tuple[Endpoint, ...]:
        """The pods, then what is no pod: the nodes' own networks and the client outside."""
        return (*self.plan.endpoints, *self.plan.others)

    def endpoint_path(self, name: str) -> str:
        """Return the file of the namespace in which an endpoint is: its own, or its node's."""
        others = {endpoint.name: endpoint.node for endpoint in self.plan.others}
        return str(self.namespace_path(others.get(name, name)))

    def namespace_path(self, name: str) -> Path:
        """Return the file of a namespace, which other processes of the sandbox may enter too."""
        return NETWORK_DIRECTORY / name

    def up(self) -> None:
        """Build everything in the start mode and return once every link carries packets. No error if it is up already.

        Raises WorldError: the kernel refused a request; nothing is left behind.
        """
        if self._is_mounted:
            return
        if not is_inside():
            raise WorldError("the lab's network must be built inside the sandbox; call enter_sandbox() first")
        if self.namespace_path(ROUTER).exists():
            raise WorldError("another lab is already up in this sandbox")
        wait_gone(_GONE_S)
        try:
            self._build()
        except BaseException as error:
            try:
                self.down()
            except WorldError as second:
                error.add_note(f"cleaning up failed, too: {second}")
            if isinstance(error, OSError):
                raise WorldError(f"cannot build the lab: {error}") from error
            raise

    def down(self) -> None:
        """Remove everything. No error if it is down already.

        The kernel cleans up in the background: `wait_gone` waits for the end, and so does the next `up`.
        """
        sockets, self._sockets, self._planes, self._tables = self._sockets, {}, {}, None
        with on_one_cpu(), contextlib.ExitStack() as last:
            if self._is_mounted:
                with contextlib.suppress(WorldError):  # without a fence only the waiting is lost
                    last.enter_context(raise_fence())
            for netlink in sockets.values():
                netlink.close()
            if self._is_mounted:
                self._is_mounted = False
                unmount(NETWORK_DIRECTORY)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return the kernel's counters of every namespace, and the machine's."""
        return read_counters(self.namespace_path(name) for name in self.namespaces)

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node."""
        return tuple(plane.state() for plane in self._planes.values())

    def impair(self, node: str, links: Links) -> None:
        """Make a node's eth0 delay, lose, duplicate or reorder sent packets. Raises WorldError: no such node, or no netem."""
        if node not in self._planes:
            raise WorldError(f"{node} has no link that can be impaired; the nodes are {', '.join(self._planes)}")
        self._sockets[node].execute([set_netem(UNDERLAY_INDEX, links)])

    def set_prefix(self, node: str, *, is_delegated: bool) -> None:
        """Have the cloud deliver packets to a node's IPv6 prefix, or drop them. Raises WorldError: the lab has no IPv6."""
        home, found = next((zone, one) for zone in self.plan.zones for one in zone.nodes if one.name == node)
        if not found.pod_cidr6:
            raise WorldError(f"{node} has no IPv6 prefix: the lab has no IPv6")
        routes = [make_prefix_route(zone, home, found) for zone in self.plan.zones]
        if is_delegated:
            self._sockets[ROUTER].execute([add_route(route, frozenset({errno.EEXIST})) for route in routes])
        else:
            self._sockets[ROUTER].execute([delete_route(route.destination, table=route.table) for route in routes])

    @property
    def names(self) -> Collection[str]:
        """The names of the nodes, as `clusters.faults.Machines` has them: empty while the lab is down."""
        return self._planes

    def interface(self, node: str) -> tuple[str, str]:
        """Return name and address of a node's eth0."""
        return UNDERLAY_DEVICE, next(one.address for one in self.plan.nodes if one.name == node)

    def run_nft(self, node: str, commands: str) -> None:
        """Run commands of nftables in a node."""
        run_nft(self.namespace_path(node), commands)

    def set_mtu(self, node: str, octets: int | None) -> None:
        """Change the MTU of a node's eth0; None: back to the first value."""
        self._sockets[node].execute([set_link(UNDERLAY_DEVICE, is_up=True, mtu=octets or self.underlay_mtu)])

    def cut_off(self, node: str) -> None:
        """Take a node's eth0 down, with the routes that use it."""
        self._sockets[node].execute([set_link(UNDERLAY_DEVICE, is_up=False)])

    def _build(self) -> None:
        _allow_open_files()
        mount("tmpfs", NETWORK_DIRECTORY, "tmpfs", Mount.NO_SUID | Mount.NO_DEV, "mode=755")
        self._is_mounted = True
        self._make_namespaces()
        self._build_router()
        for zone in self.plan.zones:
            for node in zone.nodes:
                self._build_node(zone, node)
        self._start_mode()
        self._wait_links()
        for node in self.plan.nodes:
            for pod in node.pods:
                self._sockets.pop(pod.name).close()

    def _make_namespaces(self) -> None:
        rp_filter = self.spec.rp_filter
        make = partial(make_sysctls, has_ipv6=self.spec.has_ipv6)
        kinds: dict[str, Sysctls] = dict.fromkeys(self.namespaces, make(is_forwarding=False, rp_filter=0))
        kinds |= dict.fromkeys((node.name for node in self.plan.nodes), make(is_forwarding=True, rp_filter=rp_filter))
        kinds[ROUTER] = make(is_forwarding=True, rp_filter=0, is_bridging=True)
        with return_home():
            for name, values in kinds.items():
                unshare(Clone.NETWORK)
                write_sysctls(values)
                self.namespace_path(name).touch()
                mount(THREAD_NETWORK, self.namespace_path(name), None, Mount.BIND)
                self._sockets[name] = Netlink(name=name)

    def _build_router(self) -> None:
        """Make a bridge and a table per zone, and every node's eth0 with its other end in the bridge."""
        router, mtu = self._sockets[ROUTER], self.underlay_mtu
        router.execute(list(wire_bridges(self.plan, mtu)))
        for zone in self.plan.zones:
            for node in zone.nodes:
                self._add_veth(router, *node_veth(zone, node, mtu), node.name)
        router.execute(list(wire_tables(self.plan, has_neighbours=self.spec.has_permanent_neighbours)))

    def _build_node(self, zone: ZonePlan, node: NodePlan) -> None:
        netlink = self._sockets[node.name]
        for pod in node.pods:
            self._add_veth(netlink, *pod_veth(pod, self.pod_mtu), pod.name)
        netlink.execute(list(wire_node(zone, node, has_neighbours=self.spec.has_permanent_neighbours)))
        with inside(self.namespace_path(node.name)):
            write_sysctls(make_workload_sysctls((pod.device for pod in node.pods), has_ipv6=self.spec.has_ipv6))
        for pod in node.pods:
            self._sockets[pod.name].execute(list(wire_pod(pod, has_neighbours=self.spec.has_permanent_neighbours)))

    def _add_veth(self, netlink: Netlink, here: Link, there: Link, namespace: str) -> None:
        with open_namespace(self.namespace_path(namespace)) as descriptor:
            netlink.execute([add_veth(here, there, descriptor)])

    def _start_mode(self) -> None:
        """Make the planes and the tables, and the routes of the start mode."""
        mode, book, nodes = self.spec.start_mode, RouteBook(self.carrier), {node.name: node for node in self.plan.nodes}
        self._tables = LabRouteTables(self.plan, self._sockets[ROUTER])
        for node in self.plan.nodes:
            if self.spec.has_services:  # natOutgoing has no pools yet
                self.run_nft(node.name, render_rules(self.plan, node, self.services, self.carrier.device))
            plane = LabNodePlane(
                plan=node,
                nodes=nodes,
                book=book,
                netlink=self._sockets[node.name],
                namespace=self.namespace_path(node.name),
                clock=self._clock,
                rp_filter=self.spec.rp_filter,
                has_rules=self.spec.has_services,
            )
            self._planes[node.name] = plane
            if mode is Mode.OVERLAY:
                plane.set_tunnel(present=True)
            if mode is Mode.OVERLAY or self.spec.has_bird:
                plane.repoint(mode, nodes.keys() - {node.name}, has_old=False)
                plane.set_blackhole(present=True)
        if mode is Mode.NATIVE:
            self._tables.create_all(
                [
                    CloudRoute(zone=zone.name, cidr=node.pod_cidr, node=node.name)
                    for zone in self.plan.zones
                    for node in nodes.values()
                ]
            )

    def _wait_links(self) -> None:
        """Wait until every link has its carrier and every IPv6 address receives: until then packets are dropped."""
        for name, netlink in self._sockets.items():
            _wait_links(name, netlink, has_ipv6=self.spec.has_ipv6)


def _wait_links(node: str, netlink: Netlink, *, has_ipv6: bool) -> None:
    waiting: list[str] = []

    def are_ready() -> bool:
        links = list_links(netlink)
        waiting[:] = [f"carrier of {link.name}" for link in links if link.is_up and not link.is_running]
        if has_ipv6 and not waiting:
            waiting[:] = list_unready_addresses6(netlink, links)
        return not waiting

    unmet = f"{node}: not ready"
    wait_until(are_ready, timeout_s=_LINKS_UP_S, poll_s=_LINKS_UP_POLL_S, unmet=unmet, describe=lambda: ", ".join(waiting))


def _allow_open_files() -> None:
    """Raise the soft limit of open files to what is needed, if the hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
