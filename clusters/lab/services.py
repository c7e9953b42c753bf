"""Services and natOutgoing in the lab: the nat rules of kube-proxy and Felix on a node, as nftables rules.

kube-proxy: DNAT from a ClusterIP or from a port of the node to the one pod behind it. Packets to a NodePort
(externalTrafficPolicy Cluster), and packets to a ClusterIP from outside the pod network, are marked and masqueraded. Felix:
packets of the node itself that leave by the tunnel get the tunnel's address. Packets from pods to other destinations get the
node's address, except to the addresses of pools, which may include the nodes' own (no-snat-for-node-cidr).

Source: kubernetes pkg/proxy/iptables/proxier.go (KUBE-MARK-MASQ 0x4000, the --cluster-cidr rule, KUBE-POSTROUTING); calico
felix rules/static.go:943-974 and masq_mgr.go; docs/mechanics.md 4.2, 4.3. Rendering is pure; `run_nft` runs `nft`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from clusters.lab.spec import PODS6, SERVICES6, LabPlan, NodePlan
from clusters.linux.machine import find_nft
from clusters.linux.namespaces import inside
from hitless.errors import WorldError
from hitless.facts import ServiceFacts
from hitless.words import IpFamily
from probes.stamp import PORT

NODE_PORT_FIRST: Final = 30_000
"""Source: kube-apiserver --service-node-port-range 30000-32767."""
MASQUERADED: Final = "masq-pools"
SPARED: Final = "ipam-pools"
"""Names of Felix's ipsets. Source: calico felix masq_mgr.go."""
_MARK: Final = "0x4000"
_CLUSTER_IP_FIRST: Final = 257
"""Address of the first Service, counted in the network of ClusterIPs. Chosen here."""
_TIMEOUT_S: Final = 20.0


def make_services(plan: LabPlan) -> tuple[ServiceFacts, ...]:
    """Return one Service a mesh pod; at most 254."""
    return tuple(
        ServiceFacts(
            name=node.mesh.name,
            cluster_ip=str(ip_network(plan.services)[_CLUSTER_IP_FIRST + node.number]),
            port=PORT,
            node_port=NODE_PORT_FIRST + node.number,
            destination=node.mesh.name,
            cluster_ip6=str(ip_network(SERVICES6)[_CLUSTER_IP_FIRST + node.number]) if node.address6 else "",
        )
        for node in plan.nodes[:254]
    )


def render_rules(plan: LabPlan, node: NodePlan, services: Sequence[ServiceFacts], tunnel_device: str) -> str:
    """Return the nftables rules of one node; the pools are still empty, and the tunnel device may be missing."""
    both = [_render_proxy(plan, node, services, IpFamily.IPV4)]
    if node.address6:
        both.append(_render_proxy(plan, node, services, IpFamily.IPV6))
    return f"""\
{"".join(both)}table ip calico {{
  chain postrouting {{
    type nat hook postrouting priority srcnat + 1; policy accept;
    oifname "{tunnel_device}" fib saddr type local ip saddr != {node.tunnel_address} masquerade
    ip saddr @masq-pools ip daddr != @ipam-pools masquerade
  }}
  set masq-pools {{
    type ipv4_addr; flags interval
  }}
  set ipam-pools {{
    type ipv4_addr; flags interval
  }}
}}
"""


def _render_proxy(plan: LabPlan, node: NodePlan, services: Sequence[ServiceFacts], family: IpFamily) -> str:
    """Return kube-proxy's rules of one family."""
    if family is IpFamily.IPV4:
        ip, own, pods = "ip", node.address, plan.pods
        backends = {other.mesh.name: other.mesh.address for other in plan.nodes}
        addresses = {service.name: service.cluster_ip for service in services}
    else:
        ip, own, pods = "ip6", node.address6, str(PODS6)
        backends = {other.mesh.name: other.mesh.address6 for other in plan.nodes}
        addresses = {service.name: service.cluster_ip6 for service in services}
    ports = ", ".join(f"{service.node_port} : {backends[service.destination]}" for service in services)
    clusters = ", ".join(f"{addresses[service.name]} : {backends[service.destination]}" for service in services)
    return f"""\
table {ip} kube-proxy {{
  chain services {{
    {ip} daddr {own} tcp dport @node-ports meta mark set meta mark | {_MARK}
    {ip} saddr != {pods} {ip} daddr {{ {", ".join(addresses.values())} }} tcp dport {PORT} meta mark set meta mark | {_MARK}
    {ip} daddr {own} dnat to tcp dport map {{ {ports} }} : {PORT}
    tcp dport {PORT} dnat to {ip} daddr map {{ {clusters} }}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {_MARK} != 0 meta mark set meta mark ^ {_MARK} masquerade
  }}
  set node-ports {{
    type inet_service
    elements = {{ {", ".join(str(service.node_port) for service in services)} }}
  }}
}}
"""


Pools = Mapping[str, frozenset[str]]
"""CIDRs of MASQUERADED, from which packets are masqueraded, and of SPARED, except to which."""


def change_pools(held: Pools, wanted: Pools) -> str:
    """Return the nftables commands that change the pools of a node that has the rules; empty: nothing changes."""
    return "".join(
        f"{verb} element ip calico {name} {{ {', '.join(sorted(changed))} }}\n"
        for name in wanted
        for verb, changed in (("delete", held[name] - wanted[name]), ("add", wanted[name] - held[name]))
        if changed
    )


def run_nft(namespace: Path, commands: str) -> None:
    """Run commands of nftables in a namespace. Raises WorldError."""
    with inside(namespace):
        try:
            done = subprocess.run(  # noqa: S603 - a program that was found, an argument list
                [find_nft(), "-f", "-"],
                input=commands.encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorldError(f"nft in {namespace.name}: {error}") from error
    if done.returncode:
        raise WorldError(f"nft in {namespace.name}: {' '.join(done.stderr.decode(errors='replace').split()[:40])}")
