"""Services and natOutgoing in the lab: what kube-proxy and Felix write into a node's nat tables, as nftables rules.

kube-proxy's part: DNAT from a ClusterIP or from a port of the node to the one pod behind it; what comes to a NodePort
(externalTrafficPolicy Cluster), and what comes to a ClusterIP from outside the pod network, is marked and masqueraded. Felix's
part: packets of the node itself that leave by the tunnel get the tunnel's address, and packets from pods to anywhere else get
the node's, except to the addresses of pools, among which the nodes' own are in native mode (no-snat-for-node-cidr).

Source: kubernetes pkg/proxy/iptables/proxier.go (KUBE-MARK-MASQ 0x4000, the --cluster-cidr rule, KUBE-POSTROUTING); calico
felix rules/static.go:943-974 and masq_mgr.go; docs/mechanics.md 4.2, 4.3. Rendering is pure; `NodeRules` runs `nft`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from clusters.lab.addresses import LabPlan, NodePlan
from clusters.linux.machine import find_nft
from clusters.linux.namespaces import inside
from hitless.errors import WorldError
from hitless.facts import ServiceFacts
from probes.stamp import PORT

POD_NETWORK: Final = "100.96.0.0/11"
"""networking.pods of the lab's Shoots: the IPPool, and kube-proxy's --cluster-cidr."""
NODE_NETWORK: Final = "10.250.0.0/16"
"""networking.nodes of the lab's Shoots: the pool no-snat-for-node-cidr."""
NODE_PORT_FIRST: Final = 30_000
"""Source: kube-apiserver --service-node-port-range 30000-32767."""
_MARK: Final = "0x4000"
_CLUSTER_IP_FIRST: Final = "100.64.1.{}"
_TIMEOUT_S: Final = 20.0


def make_services(plan: LabPlan) -> tuple[ServiceFacts, ...]:
    """Return one Service a mesh pod; at most 254."""
    return tuple(
        ServiceFacts(
            name=node.mesh.name,
            cluster_ip=_CLUSTER_IP_FIRST.format(node.number + 1),
            port=PORT,
            node_port=NODE_PORT_FIRST + node.number,
            destination=node.mesh.name,
        )
        for node in plan.nodes[:254]
    )


def render_rules(node: NodePlan, services: Sequence[ServiceFacts], backends: dict[str, str], tunnel_device: str) -> str:
    """Return the nftables rules of one node.

    Args:
        node: the node.
        services: all Services.
        backends: endpoint name to address.
        tunnel_device: name of the tunnel device, which need not be there.
    """
    ports = ", ".join(f"{service.node_port} : {backends[service.destination]}" for service in services)
    clusters = ", ".join(f"{service.cluster_ip} : {backends[service.destination]}" for service in services)
    addresses = ", ".join(service.cluster_ip for service in services)
    return f"""\
table ip kube-proxy {{
  chain services {{
    ip daddr {node.address} tcp dport @node-ports meta mark set meta mark | {_MARK}
    ip saddr != {POD_NETWORK} ip daddr {{ {addresses} }} tcp dport {PORT} meta mark set meta mark | {_MARK}
    ip daddr {node.address} dnat to tcp dport map {{ {ports} }} : {PORT}
    tcp dport {PORT} dnat to ip daddr map {{ {clusters} }}
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
table ip calico {{
  chain postrouting {{
    type nat hook postrouting priority srcnat + 1; policy accept;
    oifname "{tunnel_device}" fib saddr type local ip saddr != {node.tunnel_address} masquerade
    ip saddr @masq-pools ip daddr != @ipam-pools masquerade
  }}
  set masq-pools {{
    type ipv4_addr; flags interval
    elements = {{ {POD_NETWORK} }}
  }}
  set ipam-pools {{
    type ipv4_addr; flags interval
    elements = {{ {POD_NETWORK} }}
  }}
}}
"""


class NodeRules:
    """The rules of one node's namespace.

    Args:
        namespace: file of the namespace.
    """

    def __init__(self, namespace: Path) -> None:
        self._namespace = namespace
        self._is_exempt = False

    def load(self, rules: str) -> None:
        """Load what `render_rules` returned. Raises WorldError."""
        self._run(rules)

    def set_node_cidr_exempt(self, *, is_exempt: bool) -> None:
        """Let natOutgoing spare packets to the nodes, or masquerade them; so already is no error. Raises WorldError."""
        if is_exempt is not self._is_exempt:
            self._run(f"{'add' if is_exempt else 'delete'} element ip calico ipam-pools {{ {NODE_NETWORK} }}\n")
            self._is_exempt = is_exempt

    def _run(self, commands: str) -> None:
        with inside(self._namespace):
            try:
                done = subprocess.run(  # noqa: S603 - a program that was found, an argument list
                    [find_nft(), "-f", "-"],
                    input=commands.encode(),
                    capture_output=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise WorldError(f"nft in {self._namespace.name}: {error}") from error
        if done.returncode:
            raise WorldError(f"nft in {self._namespace.name}: {' '.join(done.stderr.decode(errors='replace').split()[:40])}")
