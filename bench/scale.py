"""Whether planning, records, judging and reports stay linear in the nodes: clusters of 50, 500 and 5,000, simulated.

The mesh covers (`--mesh covering`), so flows are nodes times zones. Each step is a process of its own, `python -m bench.scale
STEP NODES FOLDER`; the kernel reports its CPU and memory:

- plan: choose the flows, assign the SSIDs, make the settings of every agent as for one prober pod per node;
- store: make synthetic records of both arms and store them as a run does;
- judge: `hitless judge`, all reports included.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.question import Question
from bench.reports import measure_judge, measure_process
from bench.synthetic_runs import SyntheticRun
from bench.tables import Table
from clusters.agent_groups import assign_ssids, flows_by_endpoint, plan_agents
from commands.terminal import print_progress
from hitless.facts import ProbeSpec
from hitless.words import MILLISECOND, SECOND, Arm, JsonObject, Nanoseconds
from scenarios.mesh import COVERING_TIMES, Mesh

_NODES: Final = (50, 500, 5_000)
_NODES_QUICK: Final = (20, 40)
_TICKS: Final = 100
_INTERVAL_NS: Final = 50 * MILLISECOND
STEPS: Final = ("plan", "store", "judge")


def make_run(nodes: int) -> SyntheticRun:
    """Return a run of that many nodes in three zones."""
    zones = tuple("abc"[index % 3] for index in range(nodes))
    return SyntheticRun(zones=zones, mesh=Mesh(times=COVERING_TIMES), ticks=_TICKS, interval_ns=_INTERVAL_NS)


def plan(nodes: int) -> int:
    """Plan the probing of a cluster; return the number of agents."""
    run = make_run(nodes)
    facts = run.make_facts()
    flows = run.make_flows(facts)
    endpoints = {end.name: end for end in facts.endpoints}
    ssids, mine = assign_ssids(flows, str), flows_by_endpoint(flows)
    spec = ProbeSpec(
        interval_ns=Nanoseconds(_INTERVAL_NS), drain_ns=Nanoseconds(2 * SECOND), duration_ns_max=Nanoseconds(60 * SECOND)
    )
    agents = 0
    for name in endpoints:
        told = plan_agents(endpoints, name, mine[name], spec, epoch_ns=0, ssids=ssids)
        agents += len(json.dumps([agent.as_json() for agent in told])) and len(told)
    return agents


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    return {"times": COVERING_TIMES, "rows": [_measure(nodes) for nodes in (_NODES_QUICK if is_quick else _NODES)]}


def _measure(nodes: int) -> JsonObject:
    flows = make_run(nodes).mesh.count(make_run(nodes).zones)
    row: JsonObject = {"nodes": nodes, "flows": flows, "probes": flows * _TICKS * len(Arm)}
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as name:
        for step in STEPS:
            print_progress(f"scale, {nodes:,} nodes, {step} ...")
            arguments = ("-m", "bench.scale", step, str(nodes), name)
            row[step] = measure_judge(Path(name)) if step == "judge" else measure_process(arguments, codes={0})
        row["stored_mb"] = round(sum(file.stat().st_size for file in Path(name).rglob("*.parquet")) / 1e6, 1)
    return row


def _show(answer: JsonObject) -> tuple[Table, ...]:
    rows = answer["rows"]
    sizes = ", ".join(f"{row['nodes']:,}" for row in rows)
    columns = ("nodes", "flows", *(f"{step}: CPU s, MB" for step in STEPS), "CPU per flow", "page kB", "summary kB", "verdict")
    return (
        Table(
            title=f"Clusters of {sizes} nodes in 3 zones, a covering mesh",
            columns=columns,
            rows=tuple(_make_cells(row, before) for row, before in zip(rows, [None, *rows], strict=False)),
            note=(
                f"Each node is probed from {answer['times']} nodes of each zone, {_TICKS} probes per flow in each arm. CPU and "
                "largest resident set of one process per step, including start and imports. CPU per flow is the sum of all "
                "steps, in brackets the ratio to the previous size (1: linear; below 1: the start matters less)."
            ),
        ),
    )


def _make_cells(row: JsonObject, before: JsonObject | None) -> tuple[str, ...]:
    ratio = "" if before is None else f" ({_flow_ms(row) / _flow_ms(before):.2f})"
    return (
        f"{row['nodes']:,}",
        f"{row['flows']:,}",
        *(f"{row[step]['cpu_s']:.1f}, {row[step]['memory_mb']:,}" for step in STEPS),
        f"{_flow_ms(row):.2f} ms{ratio}",
        f"{row['judge']['page_kb']:,}",
        f"{row['judge']['summary_kb']:,}",
        row["judge"]["verdict"],
    )


def _flow_ms(row: JsonObject) -> float:
    cpu_s: float = sum(row[step]["cpu_s"] for step in STEPS)
    flows: int = row["flows"]
    return cpu_s * 1000 / flows


def main(step: str, nodes: int, folder: Path) -> None:
    """Do one step of one size."""
    if step == "plan":
        plan(nodes)
    else:
        for arm in Arm:
            make_run(nodes).store(folder / f"{arm.lower()}-1", arm)


SCALE: Final = Question(
    name="scale", text="Do planning, records, judging and reports stay linear up to 5,000 nodes?", ask=_ask, show=_show
)

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
