import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from hitless.history import History
from hitless.records import ConnectionEvent
from hitless.words import Arm, FlowRole
from reports.drawing import BARS_MAX, FLOWS_MAX, LABEL_PX, Bar, Mark, Panel, lay_out, make_panel, shown_span
from reports.picture import render_svg, ticks
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import QUIET, event, facts, header, held, history, lost, mesh_flows, records
from tests.unit.tcp_rows import message, messages, opened, quiet, story, tcp_flow, tcp_history, told

_SVG = "{http://www.w3.org/2000/svg}"


def _bars(svg: str) -> tuple[int, int]:
    """Return how many bars are down for certain, and how many have a margin."""
    styles = [shape.get("class") for shape in ET.fromstring(svg).iter(f"{_SVG}rect")]  # noqa: S314 - our own
    return styles.count("certain"), styles.count("margin")


def _bars_of(panel: Panel) -> list[Bar]:
    return [bar for line in panel.lines for bar in line.bars]


def _ungated(pattern: str) -> JudgedRun:
    return judged(history(header=header(arm=Arm.UNGATED), records=records({1: pattern, 2: QUIET})))


def _many(flows: int, hit: int) -> History:
    """A run with many flows of which some lost probes, the last most."""
    cluster = facts("ab", 15)
    mesh = tuple(flow for flow in mesh_flows(cluster) if flow.role is FlowRole.MESH)[:flows]
    assert len(mesh) == flows
    patterns = {index: lost(20, 1 + index % 30) if index <= hit else QUIET for index in range(1, flows + 1)}
    return history(facts=cluster, flows=mesh, records=records(patterns))


@pytest.fixture(scope="module")
def svg() -> str:
    return render_svg(comparison())


def test_a_line_that_flows_share_leaves_out_bars_that_lie_beneath_others() -> None:
    panel = make_panel(judged(_many(870, 870)))
    (shared,) = [line.bars for line in panel.lines if line.name == "830 other flows, 830 hit"]
    (longest,) = _bars_of(make_panel(judged(_many(1, 1))))
    assert len(shared) <= BARS_MAX
    assert min(bar.from_ms for bar in shared) == longest.from_ms
    assert max(bar.to_ms for bar in shared) > longest.to_ms


def test_the_svg_has_a_bar_for_every_outage(svg: str) -> None:
    # UNGATED trial 2 is shown: 8 flows with one outage each; GATED has none.
    assert _bars(svg) == (8, 8)


def test_the_svg_says_what_it_shows(svg: str) -> None:
    text = "".join(ET.fromstring(svg).itertext())  # noqa: S314 - our own
    for said in (
        "UNGATED trial 2: 8 of 12 flows hit, 372 probes lost",
        "GATED trial 1: none of 12 flows lost a probe",
        "node-a1 > node-b2",
        "IPPool applied",
        "gate opened",
        "last of 8 routes",
        "ms since the operator's request",
    ):
        assert said in text


def test_the_same_comparison_gives_the_same_document(svg: str) -> None:
    assert render_svg(comparison()) == svg


def test_a_comparison_without_outages_or_with_one_arm_is_drawn() -> None:
    alone = Comparison(runs=(judged(held()),))
    assert _bars(render_svg(alone)) == (0, 0)


@pytest.mark.parametrize(
    ("span", "times"),
    [((-10.0, 95.0), (0.0, 20.0, 40.0, 60.0, 80.0)), ((0.0, 1.0), (0.0, 0.1, 0.2)), ((950.0, 1100.0), (960.0, 980.0))],
)
def test_ticks_are_round(span: tuple[float, float], times: tuple[float, ...]) -> None:
    found = ticks(span)
    assert found[: len(times)] == pytest.approx(times)
    assert 5 <= len(found) <= 11


def test_bars_have_a_certain_part_and_a_margin() -> None:
    panel = make_panel(_ungated(lost(20, 10)))
    (bar,) = _bars_of(panel)
    assert panel.lines[0].name == "node-a1 > node-b1"
    # Requested at 50 ms. Last answer before: sent at 105; first lost: dropped by 110.055; last: sent at 155; then 160.1.
    assert replace(bar, certain_from_ms=round(bar.certain_from_ms, 3), to_ms=round(bar.to_ms, 3)) == Bar(
        from_ms=55.0,
        certain_from_ms=60.055,
        certain_to_ms=105.0,
        to_ms=110.1,
        sign="",
        text="10 probes, 44.9 ms to 55.1 ms; cause: unexplained",
    )
    (still_open,) = _bars_of(make_panel(_ungated(lost(48, 10))))
    assert (still_open.sign, still_open.text) == (">=", "10 probes, 44.9 ms to open; cause: unexplained")


def test_up_to_a_limit_every_flow_has_a_line() -> None:
    panel = make_panel(judged(_many(FLOWS_MAX, 3)))
    assert len(panel.lines) == FLOWS_MAX


def test_of_870_flows_those_that_were_hit_most_are_shown() -> None:
    panel = make_panel(judged(_many(870, 60)))
    assert len(panel.lines) == FLOWS_MAX + 1
    assert panel.lines[-1].name == "830 other flows, 20 hit"
    assert len(_bars_of(panel)) == 60
    assert panel.title == f"GATED trial 1: 60 of 870 flows hit, {sum(1 + i % 30 for i in range(1, 61)):,} probes lost"


def test_870_quiet_flows_are_one_line() -> None:
    panel = make_panel(judged(_many(870, 0)))
    assert [(line.name, list(line.bars)) for line in panel.lines] == [("870 flows, none hit", [])]


@given(
    marks=st.lists(
        st.tuples(st.floats(0, 1000), st.text("abc ", min_size=1, max_size=20)), max_size=12, unique_by=lambda mark: mark[0]
    )
)
def test_no_label_meets_another_or_the_line_of_another(marks: list[tuple[float, str]]) -> None:
    ordered = tuple(Mark(at_ms=at, label=label) for at, label in sorted(marks))
    panel = Panel(title="", lines=(), marks=ordered, first_ms=0, last_ms=1000)
    laid = lay_out(panel, (0.0, 1000.0))
    assert [mark.label for mark in laid.marks] == [mark.label for mark in ordered]
    for mark in laid.marks:
        assert 0 <= mark.lane < laid.lanes
        reach_ms = mark.at_ms + len(mark.label) * LABEL_PX / 0.9
        for other in laid.marks:
            if mark.at_ms < other.at_ms < reach_ms:
                # The other's line ends below this label, so its label stands below as well.
                assert other.lane < mark.lane


def test_the_time_axis_shows_what_happened_in_both_arms() -> None:
    runs = comparison(1).runs
    panels = [make_panel(run) for run in runs]
    first, last = shown_span(panels)
    happened = [mark.at_ms for panel in panels for mark in panel.marks]
    happened += [bar.to_ms for panel in panels for bar in _bars_of(panel)]
    assert first < 0 < max(happened) < last


def test_where_nothing_happens_the_whole_probing_is_shown() -> None:
    quiet = judged(history(events=(event(0, "run.started"),)))
    panel = make_panel(quiet)
    assert 0 < panel.first_ms < panel.last_ms
    assert shown_span([panel]) == (panel.first_ms, panel.last_ms)
    assert "node-a1 &gt; node-b1" in render_svg(Comparison(runs=(quiet,)))


def test_a_run_that_was_cut_off_before_its_first_probe_has_an_axis() -> None:
    panel = replace(make_panel(judged(history(events=(event(0, "run.started"),)))), first_ms=0.0, last_ms=0.0)
    assert shown_span([panel]) == (0.0, 1.0)


def test_other_families_share_a_line_each_with_what_befell_their_connections() -> None:
    flow = tcp_flow(7)
    rows = messages(quiet(0, 4), message(4, delay_ms=600), quiet(20, 3))
    story_told = story(opened(), told(ConnectionEvent.RESET, 1_120, seq=23))
    run = judged(tcp_history([flow], rows, story_told))
    line = make_panel(run).lines[-1]
    assert line.name == "tcp-established, 1 flow"
    assert [(bar.from_ms, bar.to_ms, bar.sign) for bar in line.bars] == [(150.0, 750.0, ""), (1_070.0, 1_070.0, "x")]
    assert line.bars[0].text == "a stall of 600.0 ms, recovered"
