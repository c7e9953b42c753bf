"""Hygiene: did the switch leave anything behind?

It compares the final state of the nodes and of the cloud's route tables with the mode that the arm should end in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from analysis.evidence import Evidence
from checks.check import Limits, make_check
from hitless.calico import PROTOCOL_BIRD, PROTOCOL_FELIX, TUNNEL_DEVICES, has_bird, is_calico_node, is_in_tunnel
from hitless.facts import CloudRoute, NodeState
from hitless.history import History
from hitless.objects import name_of
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure
from hitless.words import JsonObject, Kind, Mode, Overlay, Verdict


@make_check(
    "hygiene",
    budgets={  # any leftover at a node fails
        "routes_left": None,  # routes in the cloud's tables on the way back to the overlay; null: any
    },
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Look for leftovers of the overlay (NATIVE) or for missing parts of it (OVERLAY)."""
    history = evidence.history
    if not history.final_nodes:
        yield doubt("nodes-not-read", "the final state of the nodes is not known")
        return
    nodes = history.remaining_nodes
    match history.header.end_mode:
        case Mode.NATIVE:
            has_routes = any(has_bird(one) for one in history.final_objects_of(Kind.DAEMON_SET) if is_calico_node(one))
            for state in nodes:
                yield from _judge_native(state, history.header.overlay)
                yield from _judge_bird(state, len(nodes) - 1 if has_routes else None)
        case Mode.OVERLAY:
            for state in nodes:
                yield from _judge_overlay(state, len(nodes) - 1)
    yield from _judge_conditions(history)
    yield from _judge_tables(history, limits["routes_left"])


def _judge_native(state: NodeState, overlay: Overlay) -> Iterator[Finding]:
    """Of the overlay only tunl0 may be left (Felix keeps it: docs/mechanics.md 4.4)."""
    yield from _find_left(state, "tunnel-route-left", ("route into the tunnel", "routes into the tunnel"), is_in_tunnel)
    nouns = ("blackhole of Felix (protocol 80)", "blackholes of Felix (protocol 80)")
    yield from _find_left(state, "felix-blackhole-left", nouns, _is_blackhole_of_felix)
    if overlay is Overlay.VXLAN and TUNNEL_DEVICES[overlay] in state.devices:
        yield failure("tunnel-device-left", f"{state.node} still has the device {TUNNEL_DEVICES[overlay]}")


def _judge_bird(state: NodeState, peers: int | None) -> Iterator[Finding]:
    """BIRD's routes outside the tunnel: one per peer if calico-node runs BIRD (createPodRoutes), otherwise none.

    `peers` is the number of the other nodes; None: BIRD does not run.
    """
    if peers is None:
        nouns = ("route of BIRD (protocol 12)", "routes of BIRD (protocol 12)")
        yield from _find_left(state, "bird-route-left", nouns, _is_of_bird)
        return
    unicast = (route for route in state.routes if _is_of_bird(route) and route.get("type", "unicast") == "unicast")
    reached = {route.get("dst") for route in unicast}
    if len(reached) < peers:
        text = f"{state.node} runs BIRD and has its routes to {len(reached)} of {plural(peers, 'peer')}"
        yield failure("bird-route-missing", text)


def _judge_overlay(state: NodeState, peers: int) -> Iterator[Finding]:
    """The overlay must be complete: a route into the tunnel for each peer, and the tunnel device."""
    reached = {route.get("dst") for route in state.routes if is_in_tunnel(route)}
    if len(reached) < peers:
        text = f"{state.node} has routes into the tunnel to {len(reached)} of {plural(peers, 'peer')}"
        yield failure("tunnel-route-missing", text)
    if peers and not any(device in TUNNEL_DEVICES.values() for device in state.devices):
        yield failure("tunnel-device-missing", f"{state.node} has no tunnel device that is up")


def _is_of_bird(route: JsonObject) -> bool:
    return route.get("protocol") == PROTOCOL_BIRD and not is_in_tunnel(route)


def _is_blackhole_of_felix(route: JsonObject) -> bool:
    return route.get("protocol") == PROTOCOL_FELIX and route.get("type") == "blackhole" and not is_in_tunnel(route)


def _find_left(state: NodeState, code: str, nouns: tuple[str, str], is_left: Callable[[JsonObject], bool]) -> Iterator[Finding]:
    routes = [route for route in state.routes if is_left(route)]
    if routes:
        some = ", ".join(f"{route.get('type', 'unicast')} {route.get('dst')}" for route in routes[:3])
        more = f" and {len(routes) - 3} more" if len(routes) > 3 else ""  # noqa: PLR2004 - three examples are enough
        yield failure(code, f"{state.node} still has {plural(len(routes), *nouns)}: {some}{more}")


def _judge_tables(history: History, limit: float | None) -> Iterator[Finding]:
    """Native nodes need one route each in every table; the overlay needs none, and what is left counts against the quota.

    A run that was recorded without its tables is not judged by them. Source: docs/mechanics.md 2.1.
    """
    routes = history.final_cloud_routes
    if routes is None:
        if limit is not None:
            yield doubt("tables-not-read", "the final state of the cloud's route tables is not known")
        return
    if history.header.end_mode is Mode.NATIVE:
        yield from _judge_native_tables(history, routes)
    elif routes and history.header.wanted_mode is Mode.OVERLAY:
        is_over = limit is not None and len(routes) > limit
        text = f"{plural(len(routes), 'route')} left in the cloud's tables, such as {_name(routes[0])}"
        text += f"; allowed: {limit:g}" if limit is not None else ""
        yield Finding(verdict=Verdict.FAIL if is_over else Verdict.PASS, code="cloud-route-left", text=text)


def _judge_native_tables(history: History, routes: Collection[CloudRoute]) -> Iterator[Finding]:
    """Judge by the nodes that are registered at the end: a route leads to the pods of one of them or astray."""
    registered = {name_of(node) for node in history.final_objects_of(Kind.NODE)}
    nodes = [node for node in history.facts.nodes if node.name in registered]
    owners = {node.pod_cidr: node.name for node in nodes}
    needed = {(zone, node.name) for zone in sorted(history.facts.zone_gateways) for node in nodes}
    missing = sorted(needed - {(route.zone, route.node) for route in routes if owners.get(route.cidr) == route.node})
    if missing:
        zone, node = missing[0]
        text = f"{plural(len(missing), 'route')} missing in the cloud's tables, such as that of zone {zone} to {node}"
        yield failure("cloud-route-missing", text)
    strays = [route for route in routes if route.node not in registered or owners.get(route.cidr, route.node) != route.node]
    if strays:
        text = f"{plural(len(strays), 'route')} in the cloud's tables lead to no pods, such as {_name(strays[0])}"
        yield failure("cloud-route-astray", text)


def _name(route: CloudRoute) -> str:
    return f"that of zone {route.zone} to {route.node}"


def _judge_conditions(history: History) -> Iterator[Finding]:
    """NetworkUnavailable=True taints a native node; in overlay it only says that the cloud routes are missing."""
    for node in history.final_objects_of(Kind.NODE):
        for condition in (node.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "NetworkUnavailable" and condition.get("status") == "True":
                text = f"{name_of(node)} has NetworkUnavailable=True, reason {condition.get('reason')}"
                is_native = history.header.end_mode is Mode.NATIVE
                verdict = Verdict.FAIL if is_native else Verdict.PASS
                yield Finding(verdict=verdict, code="network-unavailable", text=text)
