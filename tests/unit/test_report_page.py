"""The page of a comparison without a browser: that it is whole, small, safe, and what its lanes and its map say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis.comparison import Comparison
from hitless.words import Arm, Mode
from reports import page as page_module
from reports.drawing import shown_run
from reports.nodes import Segment, make_heat_map, mode_lanes, route_lanes
from reports.page import render_page
from reports.summary import summarise
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import event, header, held, history
from tests.unit.pages import page_lines

SIZE_MAX = 3_000_000


def _page(found: Comparison) -> str:
    return render_page(found, summarise(found))


@pytest.mark.parametrize("found", [comparison(1), comparison(1, gate_leaks=3), Comparison(runs=(judged(held()),))])
def test_it_is_one_small_file_that_names_no_other(found: Comparison) -> None:
    text = _page(found)
    assert len(text.encode()) < SIZE_MAX
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>\s]+)""", text) == ["data:,"]
    assert "None" not in "\n".join(page_lines(found))


def test_every_part_is_there() -> None:
    assert [line[3:] for line in page_lines(comparison(1)) if line.startswith("## ")] == [
        "Nodes: modes and cloud routes",
        "All figures",
        "Worst flows",
        "Causes of outages",
        "Source by destination",
        "Classes of flows",
        "Where the kernel dropped packets",
        "Paths",
        "Findings",
        "Events",
        "Provenance",
        "How sure: what could not have been seen",
    ]


def test_provenance_is_in_it() -> None:
    lines = page_lines(comparison(1))
    for row in (
        "| overlay, carrier | ipip, vxlan-gpe |",
        "| rp_filter | 2 |",
        "| neighbours | resolved by ARP |",
        "| probe interval, threshold | 5 ms, 2000 ms |",
        "| kernel | 6.18.5 |",
    ):
        assert row in lines


def test_the_gated_arm_comes_first_among_the_worst_flows() -> None:
    lines = page_lines(comparison(gate_leaks=2))
    worst = lines[lines.index("## Worst flows") + 1 :]
    first = next(line for line in worst if line.startswith(("| GATED", "| UNGATED")))
    assert first.startswith(
        "| GATED 1 | node-a2-mesh > node-b1-mesh | 2 (2 / 0 / 0) | 1 | 10.0 ms ±5 (4.9 to 15.1) | 10.0 ms ±5 |"
    )


def test_no_record_can_end_the_script_or_begin_a_tag() -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    run = history(header=header(scenario=evil), events=(event(1, "gate.held", error=evil, missing=["a"], retry_ns=1),))
    text = _page(Comparison(runs=(judged(run),), damaged=(evil,)))
    assert "<img" not in text
    assert text.count("</script>") == 2


def test_events_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "EVENTS_MAX", 3)
    found = comparison(1)
    count = len(found.runs_of(Arm.GATED)[0].history.events)
    events = re.findall(r'"run":"GATED trial 1","count":(\d+),"events":(\[.*?\]\])', _page(found))
    assert [(int(number), shown.count("],[") + 1) for number, shown in events] == [(count, 3)]


def test_lanes_say_how_nodes_reached_each_other() -> None:
    run = shown_run(comparison(1), Arm.UNGATED)
    assert run is not None
    lanes = mode_lanes(run)
    assert [lane.row for lane in lanes] == ["node-a1", "node-a2", "node-b1", "node-b2"]
    assert [segment.state for segment in lanes[0].segments] == ["overlay", "mixed", "native"]
    before, rewriting, after = lanes[0].segments
    # The IPPool is applied 82 ms after the request and every node re-pointed until 15 ms later.
    assert (rewriting.from_ms, rewriting.to_ms) == (82.0, 97.0)
    assert (before.to_ms, after.from_ms) == (rewriting.from_ms, rewriting.to_ms)


def test_lanes_say_where_cloud_routes_led() -> None:
    run = shown_run(comparison(1), Arm.UNGATED)
    assert run is not None
    # Eight routes, 41 ms each, from 80 ms after the request: zone a's first.
    (none, some, every) = route_lanes(run)[0].segments
    assert (none.state, some.state, every.state) == ("none", "some", "all")
    assert (some.from_ms, every.from_ms) == (121.0, 285.0)
    assert every.text.startswith("a cloud route in every zone, 285.0 to ")


def test_a_route_that_goes_is_seen_to_go() -> None:
    start = header(start_mode=Mode.NATIVE)
    run = history(
        header=start,
        events=(event(0, "run.started"), event(5, "route.deleted", zone="a", node="node-a1"), event(9, "run.settled")),
    )
    lane = route_lanes(judged(run))[0]
    assert [(one.state, one.from_ms, one.to_ms) for one in lane.segments] == [("all", 0.0, 5.0), ("some", 5.0, 9.0)]
    assert isinstance(lane.segments[0], Segment)


def test_the_map_shows_who_could_not_reach_whom() -> None:
    ungated = make_heat_map(comparison().runs_of(Arm.UNGATED))
    assert (ungated.place, ungated.names) == ("node", ("node-a1", "node-a2", "node-b1", "node-b2"))
    texts = [[cell.text for cell in row] for row in ungated.rows]
    assert [row[i] for i, row in enumerate(texts)] == ["-"] * 4
    assert (texts[0][1], ungated.rows[0][1].level) == ("0", 0)
    assert max(cell.level for row in ungated.rows for cell in row) == 5
    assert "2 of 2 flows lost probes" in ungated.rows[0][2].note


def test_a_large_cluster_is_mapped_by_zones() -> None:
    run = comparison(1).runs_of(Arm.UNGATED)[0]
    nodes = tuple(replace(node, name=f"{node.name}-{number}") for node in run.history.facts.nodes for number in range(10))
    many = judged(replace(run.history, facts=replace(run.history.facts, nodes=nodes)))
    found = make_heat_map([many])
    assert (found.place, found.names) == ("zone", ("a", "b"))
    assert [cell.level > 0 for cell in found.rows[0]] == [False, True]
