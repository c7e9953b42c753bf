import re
from dataclasses import replace

import pytest

from analysis.comparison import Comparison
from hitless.words import Arm
from reports.drawing import shown_run
from reports.page import render_markdown
from reports.quantities import Duration, say_count, say_duration, say_ms, say_share
from reports.summary import summarise
from reports.table import comparison_rows, count_rows, drop_rows, finding_rows, worst_rows
from reports.templating import escape_cell
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import QUIET, facts, header, held, history, lost, mesh_flows, records, report
from tests.unit.test_report_load import with_load

LINES_MAX = 60


def _report(runs: Comparison, *, picture: str | None = None, page: str | None = None) -> str:
    return render_markdown(runs, summarise(runs), picture=picture, page=page)


def _rows(text: str) -> list[list[str]]:
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


def test_the_verdict_comes_first() -> None:
    lines = _report(comparison()).splitlines()
    assert lines[0] == "# plain-switch: PASS"
    assert lines[2] == (
        "**PASS**: GATED lost nothing in 2 trials; UNGATED lost 356 to 372 probes per trial, so loss would have been seen."
    )


def test_a_gate_that_leaks_is_named() -> None:
    text = _report(comparison(gate_leaks=2))
    assert "**FAIL**: GATED trial 1 lost 2 probes (and 1 more finding)." in text


@pytest.mark.parametrize("runs", [comparison(3), comparison(3, gate_leaks=2), with_load()])
def test_it_fits_a_pull_request(runs: Comparison) -> None:
    text = _report(runs, picture="chart.svg", page="report.html")
    assert len(text.splitlines()) <= LINES_MAX
    assert text.count("![") == 1
    assert text.count("<details>") == text.count("</details>") > 1


def test_it_says_what_was_tested_and_what_could_not_be_seen() -> None:
    text = _report(comparison())
    assert "4 nodes in 2 zones; a probe every 5 ms per flow; cluster lab, profile fast; carrier vxlan-gpe;" in text
    assert "This kernel has no ipip: a VXLAN-GPE device in metadata mode carried the overlay." in text
    run = judged(replace(history(), facts=replace(history().facts, carrier="ipip")))
    assert "VXLAN-GPE" not in _report(Comparison(runs=(run,)))


@pytest.mark.parametrize("runs", [comparison(1), comparison(gate_leaks=1), Comparison(runs=(judged(held()),))])
def test_every_table_is_whole(runs: Comparison) -> None:
    text = _report(runs)
    assert "None" not in text
    assert "\n\n\n" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(row) for row in _rows(block)}) == 1, block
        assert set("".join(_rows(block)[1])) <= set("-:")


def test_picture_and_page_are_linked_where_there_are_some() -> None:
    text = _report(comparison(1), picture="chart.svg", page="report.html")
    assert "](chart.svg)" in text
    assert "](report.html)" in text
    assert "](" not in _report(comparison(1))


def test_one_arm_alone_is_no_comparison() -> None:
    alone = Comparison(runs=(judged(held()), judged(held(header=replace(held().header, trial=2)))))
    text = _report(replace(alone, has_rule=False))
    assert text.startswith("# plain-switch: PASS\n\n**PASS**: of 2 trials: 2 PASS, 0 FAIL, 0 INCONCLUSIVE.\n")
    assert "| gate held | - | until the end |" in text


def test_a_cell_cannot_break_the_table() -> None:
    assert escape_cell("a|b\nc<d\\") == "a\\|b c&lt;d\\\\"


def test_the_table() -> None:
    rows = {label: arms for label, *arms in comparison_rows(summarise(comparison()))}
    assert rows["flows hit"] == ["16 of 24 (66.67%)", "0 of 24"]
    assert rows["longest outage"] == ["255.0 ms ±5 (250.0 to 260.1)", "none seen"]
    assert rows["longest downtime of a flow"][0] == "255.0 ms ±5 (250.0 to 260.1)"
    assert rows["outages that may have gone unseen"][1] == "up to 5.1 ms"
    assert rows["gate held"] == ["not applicable", "up to 427.0 ms"]
    assert rows["loss unexplained"] == ["0", "0"]


def test_the_table_of_a_censored_arm_and_a_missing_one() -> None:
    run = history(header=header(arm=Arm.UNGATED), records=records({1: lost(40, 18), 2: QUIET}))
    rows = {label: arms for label, *arms in comparison_rows(summarise(Comparison(runs=(judged(run),))))}
    assert rows["longest outage"] == [">= 84.9 ms ±5 (censored)", "-"]
    assert rows["longest downtime of a flow"][0] == ">= 84.9 ms ±5 (censored)"
    assert rows["full convergence time"][0] == "-"
    assert rows["loss unexplained"][0] == "-"


def test_counts_of_a_class() -> None:
    assert count_rows(summarise(comparison()), "udp")[:4] == (
        ("offered", "12,000", "12,000"),
        ("unimpaired", "11,272", "12,000"),
        ("lost", "728", "0"),
        ("- on the way out (near end)", "594", "0"),
    )
    assert {ungated for _, ungated, _ in count_rows(summarise(comparison(1)), "tcp")[:-1]} == {"-"}


def test_the_shown_trial_is_the_worst_and_the_first_of_equals() -> None:
    runs = comparison(2)
    shown = [shown_run(runs, arm) for arm in Arm]
    assert [run.history.header.trial for run in shown if run is not None] == [2, 1]
    assert shown_run(Comparison(runs=()), Arm.GATED) is None


def test_the_worst_flows_are_censored_ones_then_the_longest() -> None:
    patterns = [lost(20, 10), lost(20, 12), lost(56, 2), QUIET]
    runs = [
        judged(history(header=header(arm=Arm.UNGATED, trial=trial), records=records({1: pattern, 2: QUIET})))
        for trial, pattern in enumerate(patterns, 1)
    ]
    worst = worst_rows(Comparison(runs=tuple(runs)), 8, 5.0)
    assert [row[0] for row in worst] == ["UNGATED 3", "UNGATED 2", "UNGATED 1"]


def test_drops_are_summed_over_the_trials() -> None:
    assert drop_rows(comparison().runs_of(Arm.UNGATED)) == [("vpc", "728", "-", "-", "IpExt.InNoRoutes 728")]
    assert drop_rows((judged(history()),)) is None


def test_findings_are_grouped_worst_first() -> None:
    rows = finding_rows(summarise(comparison()))
    assert [(verdict, code, count) for verdict, _, code, _, count, _ in rows[:2]] == [
        ("FAIL", "flow-lost-probes", "16"),
        ("FAIL", "route-late", "16"),
    ]
    assert {check for _, check, *_ in rows} & {"comparison"} == set()
    text = _report(comparison())
    assert "| verdict | check | code | arm | number | the first of them |\n|---|---|---|---|---:|---|\n" in text
    assert "\n| FAIL | continuity | flow-lost-probes | UNGATED | 16 | node-" in text


def test_quantities() -> None:
    assert (say_count(1234567), say_count(None)) == ("1,234,567", "-")
    assert (say_share(1, 8), say_share(0, 8), say_share(0, 0)) == ("1 of 8 (12.50%)", "0 of 8", "0 of 0")
    assert (say_ms(1234.56, 5.0), say_ms(None, 5.0), say_ms(2.0)) == ("1,234.6 ms ±5", "-", "2.0 ms")
    bounded = Duration(shortest=1.0, likely=None, longest=2.0)
    assert (say_duration(None, 0.5), say_duration(bounded, 0.5)) == ("-", "1.0 to 2.0 ms ±0.5")
    assert say_duration(replace(bounded, likely=1.8), 0.5) == "1.8 ms ±0.5 (1.0 to 2.0)"
    assert say_duration(replace(bounded, longest=None), 0.5) == ">= 1.0 ms ±0.5 (censored)"


def test_agents_without_the_compiled_loop_are_counted() -> None:
    agents = (replace(report("sender"), inner_loop="python"), replace(report("reflector"), inner_loop="compiled"))
    run = judged(replace(history(), records=records({1: "." * 20}, reports=agents)))
    text = _report(Comparison(runs=(run,), has_rule=False))
    assert "- 1 probe agent of a run had no compiled inner loop" in text
    assert "inner loop" not in _report(comparison())


def test_an_address_family_that_is_not_probed_is_named() -> None:
    run = judged(replace(history(), facts=replace(history().facts, families=("IPv4", "IPv6"))))
    text = _report(Comparison(runs=(run,), has_rule=False))
    assert "- IPv6 is not probed, although the pods have it; the result does not cover it." in text
    assert "; address families IPv4; " in text
    reason = {"IPv6": "1 of 8 prober pods have no such address"}
    run = judged(replace(history(), facts=replace(run.history.facts, families_unprobed=reason)))
    text = _report(Comparison(runs=(run,), has_rule=False))
    assert "the pods have it (1 of 8 prober pods have no such address); the result" in text
    assert "IPv6" not in _report(comparison())


def test_pods_that_no_flow_begins_or_ends_at_are_named() -> None:
    whole = replace(history(), flows=mesh_flows(facts()))
    some = replace(whole, flows=tuple(flow for flow in whole.flows if "node-b2" not in flow.label))
    texts = [_report(Comparison(runs=(judged(run),), has_rule=False)) for run in (whole, some)]
    named = ["- The pods of node-b2 are not probed; the result does not cover them." in text for text in texts]
    assert named == [False, True]
    assert all("- Every probed pod runs before the switch begins. Pods that start later" in text for text in texts)
