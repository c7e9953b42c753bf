"""Whether a large cluster is planned, stored, judged and reported in proportion to its size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.route_history import RouteHistory
from bench.reports import measure_judge, measure_process
from bench.scale import SCALE, make_run, plan
from hitless.errors import BugError
from hitless.store import read_history
from hitless.words import Arm

STEP = {"took_s": 1.0, "cpu_s": 0.5, "memory_mb": 100}
JUDGED = STEP | {"page_kb": 200, "summary_kb": 1_076, "verdict": "PASS"}


def test_every_pod_has_a_sender_and_a_reflector() -> None:
    assert plan(20) == 2 * 20


def test_a_small_cluster_is_judged_and_its_report_written(tmp_path: Path) -> None:
    for arm in Arm:
        make_run(6).store(tmp_path / f"{arm.lower()}-1", arm)
    found = measure_judge(tmp_path)
    assert (found["verdict"], found["page_kb"] > 0, found["memory_mb"] > 0) == ("PASS", True, True)
    assert json.loads((tmp_path / "summary.json").read_bytes())["topology"]["nodes"] == 6


def test_the_nodes_of_a_large_cluster_have_two_timelines_each(tmp_path: Path) -> None:
    make_run(60).store(tmp_path / "gated-1", Arm.GATED)
    history = read_history(tmp_path / "gated-1")
    routes = RouteHistory(history)
    assert {len(routes.timelines(node.name)) for node in history.facts.nodes} == {2}


def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(BugError, match=r"-c raise SystemExit\(3\) ended with 3"):
        measure_process(("-c", "raise SystemExit(3)"), codes={0})


def test_the_table_says_how_a_flow_fares_at_each_size() -> None:
    rows = [
        {"nodes": nodes, "flows": flows, "probes": flows * 200, "plan": STEP, "store": STEP, "judge": JUDGED}
        for nodes, flows in ((50, 300), (500, 3_000))
    ]
    (table,) = SCALE.show({"times": 2, "rows": rows})
    assert table.title == "Clusters of 50, 500 nodes in 3 zones, a covering mesh"
    assert table.rows == (
        ("50", "300", "0.5, 100", "0.5, 100", "0.5, 100", "5.00 ms", "200", "1,076", "PASS"),
        ("500", "3,000", "0.5, 100", "0.5, 100", "0.5, 100", "0.50 ms (0.10)", "200", "1,076", "PASS"),
    )
