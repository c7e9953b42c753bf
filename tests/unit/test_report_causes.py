"""What the report says of causes: by arm in the summary and in Markdown, and of the worst flows."""

from __future__ import annotations

import re

import pytest

from analysis.comparison import Comparison
from analysis.evidence import Evidence
from hitless.words import Arm
from reports.causes import causes_of_flow, summarise_causes
from reports.page import render_markdown
from reports.summary import summarise
from reports.table import worst_rows
from tests.clocks import ms
from tests.unit.comparisons import comparison, judged, realistic
from tests.unit.histories import QUIET, event, history, lost, records
from tests.unit.pages import page_text


def test_every_outage_of_the_arm_counts_for_its_likeliest_cause() -> None:
    found = comparison(trials=2)
    (cause,) = summarise(found).arms[Arm.UNGATED].causes
    runs = found.runs_of(Arm.UNGATED)
    assert cause.cause == "pool-before-routes"
    assert cause.outages == sum(len(measure.outages) for run in runs for measure in run.measures.values())
    assert cause.flows == sum(measure.is_hit for run in runs for measure in run.measures.values())
    assert cause.families == {"udp": cause.outages}
    assert cause.downtime_share > 0.99
    assert "zone" in next(iter(cause.subjects))
    assert "had no route to it" in cause.example.evidence[0]


def test_an_arm_that_lost_nothing_has_no_causes() -> None:
    assert summarise(comparison(trials=1)).arms[Arm.GATED].causes == ()


def test_an_unexplained_outage_is_a_cause_of_its_own() -> None:
    leaking = judged(realistic(Arm.GATED, 1, gate_leaks=6))
    (cause,) = summarise_causes([leaking])
    assert (cause.cause, cause.outages, cause.subjects) == ("unexplained", 1, {})


def test_downtime_is_shared_out_by_the_scores() -> None:
    """What was down for another reason is taken over by a missing route: both have a part, one of them the outage."""
    routes = [
        event(60, "route.created", zone=zone, cidr="", node=node, began_ns=ms(59))
        for zone in "ab"
        for node in ("node-a1", "node-b1")
        if (zone, node) != ("a", "node-b1")
    ]
    repointed = event(150, "calico.repointed", node="node-a1", mode="NATIVE", cause="IPPool", routes=3, began_ns=ms(149))
    created = event(250, "route.created", zone="a", cidr="", node="node-b1", began_ns=ms(249))
    run = judged(history(events=(*routes, repointed, created), records=records({1: lost(18, 30), 2: QUIET})))
    first, second = summarise_causes([run])
    assert (first.cause, first.outages, second.cause, second.outages) == ("pool-before-routes", 1, "unexplained", 0)
    assert first.downtime_share == pytest.approx(2 / 3, abs=0.05)
    assert first.downtime_share + second.downtime_share == pytest.approx(1, abs=0.01)
    assert causes_of_flow(Evidence(run.history).causes, run.history.flows[0])[0][0] == "pool-before-routes"


def test_the_rows_of_the_table() -> None:
    lines = page_text(comparison(trials=1)).splitlines()
    (row,) = [line for line in lines if line.startswith("| UNGATED | pool-before-routes | 8 |")]
    cells = row.split(" | ")
    assert cells[4:6] == ["100.0%", "1.00"]
    assert re.fullmatch(r"route of zone . to node-\S+ \(\d\), route of zone . to node-\S+ \(\d\), 2 more \|", cells[6])
    (example,) = [line for line in lines if line.startswith("| UNGATED | pool-before-routes | trial 1: node-")]
    assert "had no route to it" in example


def test_the_report_has_the_causes_and_that_of_each_worst_flow() -> None:
    text = page_text(comparison(trials=1))
    assert "| UNGATED | pool-before-routes | 8 | 8 | 100.0% |" in text
    worst = [
        line for line in text.split("## Worst flows")[1].split("## Causes")[0].splitlines() if line.startswith("| UNGATED 1 |")
    ]
    assert worst
    assert all(line.endswith("| pool-before-routes |") for line in worst)


def test_a_comparison_without_loss_has_no_causes() -> None:
    quiet = Comparison(runs=(judged(realistic(Arm.GATED, 1)),))
    assert "## Causes of outages\nThere was no outage.\n" in page_text(quiet)
    assert "Causes of outages" not in render_markdown(quiet, summarise(quiet))


def test_each_worst_flow_has_its_causes() -> None:
    assert [row[-1] for row in worst_rows(comparison(trials=1), 3, 5.0)] == ["pool-before-routes"] * 3
