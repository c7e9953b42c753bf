"""The peer of the benchmark: the same lab built by iproute2's `ip -batch`, as one would without netlink of one's own.

One batch for the namespaces, one for the router, then one a namespace. The routes and the tunnels are the lab's in OVERLAY;
sysctls are left out, to the peer's advantage.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

from clusters.lab.spec import POD_GATEWAY, ROUTER, LabPlan, NodePlan


def build_with_ip(plan: LabPlan) -> float:
    """Build the lab with `ip` and take it down again. Inside the sandbox only, with no lab up.

    Returns:
        Seconds that the bring-up took.

    Raises:
        subprocess.CalledProcessError: `ip` refused something.
    """
    names = [ROUTER, *(node.name for node in plan.nodes), *(pod.name for node in plan.nodes for pod in node.pods)]
    began = time.monotonic()
    try:
        _run_ip([], (f"netns add {name}" for name in names))
        _run_ip(["-n", ROUTER], _router_lines(plan))
        for node in plan.nodes:
            _run_ip(["-n", node.name], _node_lines(plan, node))
            for pod in node.pods:
                _run_ip(["-n", pod.name], _pod_lines(pod.address))
        return time.monotonic() - began
    finally:
        subprocess.run(["ip", "-all", "netns", "delete"], check=True, capture_output=True)  # noqa: S607 - iproute2 from PATH


def _run_ip(options: list[str], lines: Iterator[str]) -> None:
    batch = "\n".join(lines) + "\n"
    subprocess.run(["ip", *options, "-batch", "-"], input=batch, text=True, check=True, capture_output=True)  # noqa: S603, S607 - as above


def _router_lines(plan: LabPlan) -> Iterator[str]:
    yield "link set lo up"
    for index, zone in enumerate(plan.zones):
        yield f"link add {zone.bridge} type bridge"
        yield f"link set {zone.bridge} up"
        yield f"address add {zone.gateway}/24 dev {zone.bridge}"
        for node in zone.nodes:
            yield f"link add {node.name} type veth peer name eth0 netns {node.name}"
            yield f"link set {node.name} master {zone.bridge} up"
        yield f"rule add iif {zone.bridge} lookup {zone.table} priority {1000 + index}"
    for zone in plan.zones:
        for other in plan.zones:
            yield f"route add {other.subnet} dev {other.bridge} table {zone.table}"


def _node_lines(plan: LabPlan, node: NodePlan) -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
    yield f"address add {node.address}/24 dev eth0"
    yield f"route add default via {node.gateway}"
    for pod in node.pods:
        yield f"link add {pod.device} type veth peer name eth0 netns {pod.name}"
        yield f"link set {pod.device} up"
        yield f"route add {pod.address}/32 dev {pod.device}"
    yield "link add tunl0 type vxlan external gpe dstport 4790"
    yield "link set tunl0 up"
    yield f"address add {node.tunnel_address}/32 dev tunl0"
    yield f"route add blackhole {node.block} proto 12"
    for peer in plan.nodes:
        if peer is not node:
            yield f"route add {peer.block} encap ip id 42 dst {peer.address} dev tunl0 proto 12"


def _pod_lines(address: str) -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
    yield f"address add {address}/32 dev eth0"
    yield f"route add {POD_GATEWAY}/32 dev eth0"
    yield f"route add default via {POD_GATEWAY} dev eth0"
