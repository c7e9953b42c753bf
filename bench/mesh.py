"""The largest full mesh through the lab without a false loss, and what limits it.

Meshes grow until one is not clean twice in a row (one bad second is the machine's); then the gap to the largest clean one is
halved a few times. What limits is named from counters: the agents' CPU, the machine's CPU by kind, late ticks, full sockets,
the queues of the soft interrupts.
"""

from __future__ import annotations

from typing import Final

from bench.lab.accuracy import make_mesh
from bench.limits import describe_load, say_kinds
from bench.probing import probe
from bench.question import Question
from bench.tables import Table
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from commands.terminal import print_progress
from hitless.words import JsonObject

RATE_HZ: Final = 25.0
_ZONES: Final = 2
_SIZES: Final = (5, 15, 24, 28, 32, 36, 40, 45, 50, 60)
"""Nodes a zone."""
_SIZES_QUICK: Final = (5, 15)
_REFINEMENTS: Final = 2
_SECONDS: Final = 5.0
_SECONDS_QUICK: Final = 1.5


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    seconds = _SECONDS_QUICK if is_quick else _SECONDS
    steps: list[JsonObject] = []
    for size in _SIZES_QUICK if is_quick else _SIZES:
        steps.append(_measure_twice(size, seconds))
        if not steps[-1]["is_clean"]:
            break
    if not is_quick:
        _refine(steps, seconds)
    steps.sort(key=lambda step: int(step["nodes"]))
    return {"rate_hz": RATE_HZ, "steps": steps}


def _refine(steps: list[JsonObject], seconds: float) -> None:
    """Halve the gap between the largest clean mesh and the smallest other one; adds the steps."""
    for _ in range(_REFINEMENTS):
        clean = max((step["nodes"] for step in steps if step["is_clean"]), default=0) // _ZONES
        other = min((step["nodes"] for step in steps if not step["is_clean"]), default=0) // _ZONES
        if other - clean < 2:  # noqa: PLR2004 - nothing lies between neighbours
            return
        steps.append(_measure_twice((clean + other) // 2, seconds))


def _measure_twice(nodes_per_zone: int, seconds: float) -> JsonObject:
    step = _measure(nodes_per_zone, seconds)
    return step if step["is_clean"] else _measure(nodes_per_zone, seconds)


def _measure(nodes_per_zone: int, seconds: float) -> JsonObject:
    network = LabNetwork(LabSpec(zones=_ZONES, nodes_per_zone=nodes_per_zone))
    nodes = _ZONES * nodes_per_zone
    print_progress(f"mesh of {nodes} nodes, {nodes * (nodes - 1):,} flows at {RATE_HZ:g} Hz for {seconds:g} s ...")
    network.up()
    try:
        flows = make_mesh(network)
        load = probe(network.endpoints, lambda name: str(network.namespace_path(name)), flows, 1e9 / RATE_HZ, seconds)
    finally:
        network.down()
    return {"nodes": nodes, "carrier": network.carrier.value, "wanted_hz": len(flows) * RATE_HZ} | describe_load(load)


def _show(document: JsonObject) -> tuple[Table, ...]:
    steps = document["steps"]
    largest = max((step["nodes"] for step in steps if step["is_clean"]), default=None)
    found = "None was clean." if largest is None else f"The largest clean one: {largest} nodes."
    return (
        Table(
            title=f"Full mesh through the lab at {document['rate_hz']:g} Hz per flow",
            columns=("nodes", "flows", "probes/s", "lost", "late ticks", "agents", "machine", "busiest process", "limit"),
            rows=tuple(_make_cells(step) for step in steps),
            note=(
                f"{found} Agents: CPU of both ends, user + system, us per probe; machine: CPU of everything that ran "
                "meanwhile, including the lab's forwarding, and its share of all cores by kind. Clean: nothing lost, at most "
                "one tick in a hundred late."
            ),
        ),
    )


def _make_cells(step: JsonObject) -> tuple[str, ...]:
    kinds = say_kinds(step["busy"])
    machine = "" if step["machine_us"] is None else f"{step['machine_us']:.1f}" + (f" ({kinds})" if kinds else "")
    return (
        f"{step['nodes']}",
        f"{step['flows']:,}",
        f"{step['reached_hz']:,.0f}",
        f"{step['lost']:,}",
        f"{step['missed_share']:.1%}",
        f"{step['user_us']:.1f} + {step['system_us']:.1f}",
        machine,
        f"{max(step['cores'].values()):.0%}",
        step["limit"],
    )


MESH: Final = Question(name="mesh", text="largest clean mesh through the lab, and what limits it", ask=_ask, show=_show)
