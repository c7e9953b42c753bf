"""The cloud around a kind cluster: a docker network per zone, and the router container that owns one route table per zone.

A node's default route points to its zone's address of the router. The router refuses packets for which the zone's table has no
route (network unreachable). It has no default route of its own, so traffic of a test cannot reach a real network. For the same
reason nodes cannot pull images; they are loaded.

Interfaces are found by address, never by name, because docker assigns eth0 and eth1 in an arbitrary order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from clusters.kind.docker import LABEL_CLUSTER, LABEL_CONFIGURATION, LABEL_KEEP, LABEL_OWNER, Docker, this_process
from clusters.kind.spec import KindPlan, NodePlan
from clusters.stores import check_destination, find_zone
from hitless.errors import RouteTableError, WorldError
from hitless.facts import CloudRoute, NodeFacts

UNDERLAY_MTU: Final = 1500
"""Default MTU of a docker network."""
_RULE_PRIORITY_FIRST: Final = 1000
_PROTOCOL_DHCP: Final = 16
"""Protocol of a node's default route, as on a cloud's nodes. Source: linux/rtnetlink.h RTPROT_DHCP."""
CLOUD_PROTOCOL: Final = "static"
"""Marks cloud routes; the subnets of the zones have another protocol."""


class CloudNetwork:
    """Zones and router of one cluster.

    The router's image needs `ip` and `sysctl`; `configuration` is the digest of what the cluster is made from.
    """

    def __init__(self, docker: Docker, plan: KindPlan, *, image: str, configuration: str = "", keep: bool = False) -> None:
        self._docker, self._plan, self._image = docker, plan, image
        self._labels = {
            LABEL_CLUSTER: plan.name,
            LABEL_OWNER: this_process(),
            LABEL_KEEP: "yes" if keep else "no",
            LABEL_CONFIGURATION: configuration,
        }

    def up(self) -> None:
        """Make the zones' networks and the router. Raises WorldError; `kept.remove_cluster` removes what was made."""
        for zone in self._plan.zones:
            self._make_network(zone.network, zone.subnet, zone.docker_gateway)
        self._start_router()

    def connect(self, node: NodePlan) -> None:
        """Connect a node's container to its zone."""
        self._docker.run("network", "connect", "--ip", node.address, self._plan.network_of(node), node.name)

    def wire(self, node: NodePlan, rp_filter: int) -> None:
        """Write a connected node's sysctls, then its default route; after a restart of its container this must be done again.

        Routes come last: docker refuses to connect a container whose default route is not the one that docker set.
        """
        interfaces = self.interfaces(node.name)
        device = find_device(interfaces, node.address, node.name)
        settings = make_sysctls(interfaces, rp_filter=rp_filter)
        self._docker.execute(node.name, "sysctl", "-q", "-w", *settings)
        route = ("default", "via", node.gateway, "dev", device, "proto", str(_PROTOCOL_DHCP))
        self._docker.execute(node.name, "ip", "route", "replace", *route)

    def interfaces(self, container: str) -> Mapping[str, tuple[str, ...]]:
        """Return a container's links, name to IPv4 addresses."""
        links = self._docker.execute_json(container, "ip", "-json", "address", "show")
        return {
            link["ifname"]: tuple(one["local"] for one in link.get("addr_info", ()) if one["family"] == "inet")
            for link in links
        }

    def tables(self, nodes: Sequence[NodeFacts]) -> KindRouteTables:
        """Return the route tables; routes may point to `nodes`."""
        return KindRouteTables(self._docker, self._plan, nodes)

    def is_present(self) -> bool:
        """Return whether the router runs and every zone has its rule and its table."""
        if not self._docker.is_running(self._plan.router):
            return False
        try:
            rules = self._docker.execute_json(self._plan.router, "ip", "-json", "rule", "show")
        except WorldError:
            return False
        tables = {str(rule.get("table")) for rule in rules if "iif" in rule}
        return {str(zone.table) for zone in self._plan.zones} <= tables

    def _make_network(self, name: str, subnet: str, gateway: str) -> None:
        # Not --internal: with the engine's iptables on, such a network drops every frame that has a pod's address.
        self._docker.run(
            *("network", "create", *self._label_options(), "--driver", "bridge"),
            *("--subnet", subnet, "--gateway", gateway, "--opt", "com.docker.network.bridge.enable_ip_masquerade=false", name),
        )

    def _start_router(self) -> None:
        first, *others = self._plan.zones
        router = self._plan.router
        self._docker.run(
            *("run", "--detach", "--name", router, "--hostname", router, *self._label_options()),
            *("--network", first.network, "--ip", first.gateway, "--pull", "never"),
            # It changes only the network; a writable /proc/sys needs the paths unmasked, not a privileged container.
            *("--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--security-opt", "systempaths=unconfined"),
            self._image,
        )
        for zone in others:
            self._docker.run("network", "connect", "--ip", zone.gateway, zone.network, router)
        interfaces = self.interfaces(router)
        self._docker.execute(router, "sysctl", "-q", "-w", *make_sysctls(interfaces, rp_filter=0))
        self._docker.execute(router, "ip", "-batch", "-", stdin=make_router_batch(self._plan, interfaces))

    def _label_options(self) -> tuple[str, ...]:
        return tuple(option for key, value in self._labels.items() for option in ("--label", f"{key}={value}"))


def make_router_batch(plan: KindPlan, interfaces: Mapping[str, tuple[str, ...]]) -> str:
    """Return the input of `ip -batch` for the router: no default route, and a rule and a table with all subnets for each zone.

    Raises:
        WorldError: the router has no interface in a zone.
    """
    devices = {zone.name: find_device(interfaces, zone.gateway, plan.router) for zone in plan.zones}
    lines = ["route flush default"]
    for index, zone in enumerate(plan.zones):
        lines.append(f"rule add iif {devices[zone.name]} lookup {zone.table} priority {_RULE_PRIORITY_FIRST + index}")
        lines += [f"route add {other.subnet} dev {devices[other.name]} proto boot table {zone.table}" for other in plan.zones]
    return "\n".join(lines) + "\n"


def make_sysctls(interfaces: Mapping[str, tuple[str, ...]], *, rp_filter: int) -> tuple[str, ...]:
    """Return KEY=VALUE for `sysctl -w`: forwarding, rp_filter and no redirects, for all, default and every link.

    The kernel takes the greater rp_filter of `all` and the interface; each is written, because an existing interface takes
    nothing from `default`. Source: Linux Documentation/networking/ip-sysctl.rst.
    """
    settings = ["net.ipv4.ip_forward=1"]
    for place in ("all", "default", *interfaces):
        # Dots separate the parts of a key; a slash stands for a dot inside an interface's name. Source: sysctl(8).
        key = f"net.ipv4.conf.{place.replace('.', '/')}"
        settings += [f"{key}.rp_filter={rp_filter}", f"{key}.send_redirects=0", f"{key}.accept_redirects=0"]
    return tuple(settings)


def find_device(interfaces: Mapping[str, tuple[str, ...]], address: str, container: str) -> str:
    """Return the name of the link that has an address. Raises WorldError."""
    wanted = IPv4Address(address)
    for name, addresses in interfaces.items():
        if wanted in map(IPv4Address, addresses):
            return name
    raise WorldError(f"{container}: no interface has the address {address}; {_describe(interfaces)}")


def find_management_device(interfaces: Mapping[str, tuple[str, ...]], plan: KindPlan, container: str) -> str:
    """Return the name of the link to docker's management network: the one whose address is in no zone. Raises WorldError."""
    zones = [IPv4Network(zone.subnet) for zone in plan.zones]
    for name, addresses in interfaces.items():
        outside = [one for one in map(IPv4Address, addresses) if not one.is_loopback and not any(one in zone for zone in zones)]
        if outside and name.startswith("eth"):
            return name
    raise WorldError(f"{container}: no interface outside the zones; {_describe(interfaces)}")


def _describe(interfaces: Mapping[str, tuple[str, ...]]) -> str:
    """Describe a container's links: `it has lo (127.0.0.1), eth0 (172.18.0.2)`."""
    found = (f"{name} ({', '.join(addresses) or 'no address'})" for name, addresses in interfaces.items())
    return f"it has {', '.join(found)}"


class KindRouteTables:
    """See `hitless.ports.RouteTables`. A call is one `docker exec`: about 0.1 s, as long as a call to a cloud takes."""

    def __init__(self, docker: Docker, plan: KindPlan, nodes: Sequence[NodeFacts]) -> None:
        self._docker, self._router = docker, plan.router
        self._zones = {zone.name: zone for zone in plan.zones}
        self._nodes = {node.name: node for node in nodes}
        self._by_address = {node.address: node.name for node in nodes}

    def zones(self) -> tuple[str, ...]:
        """Return the zone names."""
        return tuple(self._zones)

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return the pod routes of a zone's table, in order of their destinations."""
        table = str(find_zone(self._zones, zone).table)
        seen = self._docker.execute_json(self._router, "ip", "-json", "route", "show", "table", table, "proto", CLOUD_PROTOCOL)
        found = [
            CloudRoute(zone=zone, cidr=route["dst"], node=self._by_address.get(route["gateway"], route["gateway"]))
            for route in seen
            if "gateway" in route
        ]
        return tuple(sorted(found, key=lambda route: IPv4Network(route.cidr)))

    def create(self, route: CloudRoute) -> None:
        """Create a route; effective on return. Raises RouteTableError if its destination has one already."""
        table, node = find_zone(self._zones, route.zone).table, self._nodes.get(route.node)
        if node is None:
            raise RouteTableError(f"route to {route.cidr}: the node {route.node} does not exist")
        # The gateway is looked up in the main table, where every zone is on-link.
        line = (check_destination(route.cidr), "via", node.address, "proto", CLOUD_PROTOCOL)
        try:
            self._docker.execute(self._router, "ip", "route", "add", *line, "table", str(table))
        except WorldError as error:
            if "File exists" not in str(error):
                raise
            raise RouteTableError(f"zone {route.zone} already has a route to {route.cidr}") from error

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route; effective on return. Raises RouteTableError if there is none."""
        table, destination = find_zone(self._zones, zone).table, check_destination(cidr)
        try:
            self._docker.execute(self._router, "ip", "route", "del", destination, "proto", CLOUD_PROTOCOL, "table", str(table))
        except WorldError as error:
            if "No such process" not in str(error):
                raise
            raise RouteTableError(f"zone {zone} has no route to {cidr}") from error

    def clear(self) -> None:
        """Delete every pod route of every zone, before a cluster is reused."""
        flush = [f"route flush table {zone.table} proto {CLOUD_PROTOCOL}" for zone in self._zones.values()]
        self._docker.execute(self._router, "ip", "-batch", "-", stdin="\n".join(flush) + "\n")
