"""Limits of a comparison, as sentences: events that it could not have seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.history import History
from hitless.plural import plural
from hitless.words import Arm
from reports.quantities import say_ms
from reports.summary import Summary
from scenarios.mesh import MeshCoverage


def limits(summary: Summary, first: History) -> Iterator[str]:
    """Yield the sentences; `first` is any run of the comparison."""
    yield from _not_probed(summary, first)
    for arm in Arm:
        if arm in summary.arms:
            blind_ms = summary.arms[arm].totals.blind_ms_max
            if blind_ms is None:
                yield f"{arm}: a flow had too few answers, so an outage of any length can have gone unseen."
            else:
                yield f"{arm}: an outage of up to {say_ms(blind_ms)} between two answered probes can have gone unseen."
    if len({name for arm in summary.arms.values() for name in arm.classes}) > 1:
        yield (
            "Connections, full-size packets and Services are probed more slowly than the mesh: their outages are bounded less "
            "closely."
        )
    else:
        yield (
            "Only UDP probes of one size between pods: no established TCP connection, no Service, no masqueraded flow, no "
            "large packet."
        )
    yield (
        "The direction of a loss is known if the reflector's log is complete; the path, if the router decrements the TTL or "
        "the nodes report when they rewrite their routes."
    )
    if first.facts.backend == "lab":
        yield (
            "The lab uses the kernel's data path, and doubles of Calico, Gardener and the cloud whose timing is the profile's, "
            "not a real cloud's."
        )
    if summary.carrier == "vxlan-gpe":
        yield (
            "This kernel has no ipip: a VXLAN-GPE device in metadata mode carried the overlay. It stays up like tunl0; on the "
            "wire it is UDP."
        )
    interpreted = [report.agent for report in first.records.reports if report.inner_loop == "python"]
    if interpreted:
        yield (
            f"{plural(len(interpreted), 'probe agent')} of a run had no compiled inner loop: they take more CPU, and their "
            "ticks are late more often."
        )
    trials = max(arm.trials for arm in summary.arms.values())
    yield f"{plural(trials, 'trial')} per arm cannot show how often an outage happens."


def _not_probed(summary: Summary, first: History) -> Iterator[str]:
    for family in summary.families_not_probed:
        reason = first.facts.families_unprobed.get(family)
        because = f" ({reason})" if reason else ""
        yield f"{family} is not probed, although the pods have it{because}; the result does not cover it."
    if summary.mesh is not None and not summary.mesh.is_full:
        yield from _mesh_limits(summary.mesh, summary.topology.nodes)
    if left := _nodes_not_probed(first):
        yield f"The pods of {', '.join(left)} are not probed; the result does not cover them."
    yield "Every probed pod runs before the switch begins. Pods that start later, such as on a new node, are not probed."


def _mesh_limits(mesh: MeshCoverage, nodes: int) -> Iterator[str]:
    """Yield the coverage of the mesh, and its gaps."""
    routes = f"{mesh.routes_probed:,} of {plural(mesh.routes, 'route')} in the zones' tables to a node"
    yield (
        f"{mesh.text}. They cover {routes}, each from at least {plural(mesh.sources_min, 'node')} of the zone; "
        f"{mesh.nodes_two_ways:,} of {plural(nodes, 'node')} both sent and answered."
    )
    yield (
        f"A fault of one of the other {plural(mesh.pairs - mesh.pairs_probed, 'pair')} of nodes, such as one node's own route, "
        "tunnel entry or neighbour entry for one peer, can have gone unseen, and the longest outage of all pairs can be longer "
        "than the longest measured one."
    )


def _nodes_not_probed(run: History) -> list[str]:
    """Return the nodes whose pods take part in no flow, such as those that leave permanently."""
    probed = {end for flow in run.flows for end in (flow.source, flow.destination)}
    nodes = {end.node for end in run.facts.endpoints if end.name in probed}
    return sorted({end.node for end in run.facts.endpoints if end.is_pod} - nodes)
