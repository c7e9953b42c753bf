"""Containers that stand in for kind's nodes: a second interface in the zone, an address of the podCIDR on lo, and ping."""

from __future__ import annotations

from pathlib import Path

from clusters.kind.addresses import NodePlan
from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker
from clusters.kind.images import ROUTER_PROGRAMS, import_programs
from clusters.kind.removal import remove_containers, remove_networks
from clusters.kind.router import CloudNetwork
from hitless.errors import WorldError
from hitless.facts import NodeFacts

IMAGE = "hitless/stand-in:1"
PROGRAMS = (*ROUTER_PROGRAMS, "ping", "iptables", "bash")
PLUG_INS = Path("/usr/lib/x86_64-linux-gnu/xtables")


def import_image(docker: Docker) -> None:
    files = tuple(
        PLUG_INS / name
        for name in ("libxt_standard.so", "libxt_tcp.so", "libxt_udp.so", "libxt_comment.so", "libipt_REJECT.so")
    )
    import_programs(docker, IMAGE, PROGRAMS, tuple(file for file in files if file.exists()))


def facts_of(node: NodePlan, number: int) -> NodeFacts:
    return NodeFacts(
        name=node.name, zone=node.zone, address=node.address, pod_cidr=f"100.96.{number}.0/24", gateway=node.gateway
    )


def start_node(docker: Docker, node: NodePlan, cluster: str, management: str, number: int) -> None:
    """Start a container as kind would, on docker's management network alone, and give it a pod's address."""
    docker.run(
        *("run", "--detach", "--name", node.name, "--hostname", node.name, "--network", management, "--pull", "never"),
        *("--label", f"{KIND_LABEL}={cluster}", "--cap-add", "NET_ADMIN", "--security-opt", "systempaths=unconfined"),
        IMAGE,
    )
    docker.execute(node.name, "ip", "address", "add", f"100.96.{number}.2/32", "dev", "lo")


def join(network: CloudNetwork, node: NodePlan, rp_filter: int = 2) -> None:
    network.connect(node)
    network.wire(node, rp_filter)


def is_reached(docker: Docker, source: str, address: str, source_address: str) -> bool:
    """Return whether a ping is answered within a second."""
    try:
        docker.execute(source, "ping", "-n", "-c", "1", "-W", "1", "-I", source_address, address)
    except WorldError:
        return False
    return True


def remove_strays(docker: Docker) -> None:
    """Remove whatever a test has left, so that the next one starts from nothing."""
    remove_containers(docker, docker.run("ps", "--all", "--format", "{{.Names}}").split())
    remove_networks(docker, docker.find_networks(LABEL_CLUSTER))
