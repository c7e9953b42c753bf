"""The load in the summary and in the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from analysis.comparison import Comparison
from analysis.evidence import Evidence
from analysis.load_seconds import LoadSecond
from hitless.load import ConnectionUse, RequestOutcome
from hitless.words import MILLISECOND, Arm
from reports.drawing import make_panel, make_panels
from reports.load import SECONDS_MAX, choose_seconds, summarise_load
from reports.summary import summarise
from tests.unit.comparisons import comparison
from tests.unit.histories import report
from tests.unit.load_rows import load, request
from tests.unit.pages import page_text

REQUESTED_MS = 300
"""When the comparison's operator asks."""
NEW = {"use": ConnectionUse.NEW, "nth": 0}
WORKER = report("worker-node-a1-mesh", late_ns_max=2_500_000, requests=9)


def quiet(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return request(REQUESTED_MS - 500, 2.0, **changes)


def with_load(*, is_whole: bool = True) -> Comparison:
    """UNGATED trials have a user who fails and one who waits; GATED ones have none of that."""
    runs = []
    for run in comparison().runs:
        requests = [quiet(), quiet(**NEW), request(REQUESTED_MS + 1_100), request(REQUESTED_MS + 7_100)]
        if run.history.header.arm is Arm.UNGATED:
            failed = {"outcome": RequestOutcome.CONNECT_TIMED_OUT, "status": 0, **NEW}
            requests.append(request(REQUESTED_MS + 100, 2_000, **failed))
            due = (REQUESTED_MS + 1_100) * MILLISECOND
            requests.append(request(REQUESTED_MS + 1_150, 4.0, due=due, missed=3))
        reports = (WORKER, report("master", finished=is_whole))
        runs.append(replace(run, evidence=Evidence(replace(run.history, load=load(*requests, reports=reports)))))
    return Comparison(runs=tuple(runs))


def test_a_comparison_without_load_does_not_mention_it() -> None:
    runs = comparison(1)
    summary = summarise(runs)
    assert [arm.load for arm in summary.arms.values()] == [None, None]
    assert summary.as_json()["arms"]["GATED"]["load"] is None
    assert "Application load" not in page_text(runs)


def test_the_summary_has_every_number() -> None:
    document = summarise(with_load()).as_json()["arms"]["UNGATED"]["load"]
    assert (document["users"], document["rate_hz"], document["timeout_ms"]) == (4, 10, 2000)
    totals = document["totals"]
    assert (totals["requests"], totals["answered"], totals["failed"], totals["missed"]) == (12, 10, 2, 6)
    assert totals["failures"] == {"connect timed out": 2}
    assert (totals["latency_ms_p50"], totals["latency_ms_max"]) == (2.0, 4.0)
    assert document["uses"]["new"]["failed"] == 2
    assert document["uses"]["reused"]["missed"] == 6
    assert [trial["trial"] for trial in document["per_trial"]] == [1, 2]
    seconds = {one["second"]: one for one in document["per_trial"][0]["seconds"]}
    assert list(seconds) == list(range(-1, 8))
    assert (seconds[0]["totals"]["failed"], seconds[0]["totals"]["missed"]) == (1, 2)
    assert (seconds[1]["totals"]["failed"], seconds[1]["totals"]["missed"]) == (0, 1)
    assert seconds[0]["uses"]["new"]["latency_ms_p50"] is None


def test_the_report_shows_both_arms_and_the_seconds_around_the_request() -> None:
    text = page_text(with_load())
    assert "\n## Application load\n" in text
    assert "| UNGATED | new | 4 | 2 | 0 | 2.0 | 2.0 | 2.0 | connect timed out 2 |" in text
    assert "| GATED | new | 2 | 0 | 0 | 2.0 | 2.0 | 2.0 | - |" in text
    assert "### UNGATED trial 2, second by second" in text
    assert "| 0 | 1 | 1 | 2 | - | - | - | - | connect timed out 1 |" in text
    assert "| 1 | 2 | 0 | 1 | 1.0 | 4.0 | - | - | - |" in text
    assert "A free user asked at most 2.5 ms late. Seconds that are not shown: 2; all are in summary.json." in text
    assert "A process of the load did not end in order" not in text


def test_the_load_is_a_line_of_the_timeline_with_a_bar_where_requests_failed_or_were_slow() -> None:
    ungated, gated = (panel.lines[-1] for panel in make_panels(with_load())[0])
    assert (ungated.name, gated.name) == ("HTTP load, 4 users", "HTTP load, 4 users")
    assert [(bar.from_ms, bar.to_ms, bar.text) for bar in ungated.bars] == [
        (100, 2100, "1 failed (connect timed out 1), none slow, 100.0 to 2,100.0 ms")
    ]
    assert gated.bars == []
    assert ungated.note == "6 requests: 1 failed (connect timed out 1), none slow"


def test_stretches_that_overlap_are_one_bar_and_a_slow_answer_counts() -> None:
    timed_out = {"outcome": RequestOutcome.TIMED_OUT, "status": 0}
    run = comparison(1).runs[0]
    requests = (request(310, 150), request(400, 2000, **timed_out), request(2500, 101), request(2700, 100))
    panel = make_panel(replace(run, evidence=Evidence(replace(run.history, load=load(*requests)))))
    assert [(bar.from_ms, bar.to_ms, bar.text) for bar in panel.lines[-1].bars] == [
        (10, 2100, "1 failed (timed out 1), 1 slow, 10.0 to 2,100.0 ms"),
        (2200, 2301, "none failed, 1 slow, 2,200.0 to 2,301.0 ms"),
    ]


def test_a_load_with_a_killed_process_is_not_whole() -> None:
    assert "A process of the load did not end in order: requests may be missing." in page_text(with_load(is_whole=False))


def test_the_number_of_seconds_is_limited_and_the_closest_come_first() -> None:
    found = summarise_load([run for run in with_load().runs if run.history.header.arm is Arm.UNGATED])
    assert found is not None
    usual = next(one for one in found.per_trial[0].seconds if one.second == 7)
    bad = next(one for one in found.per_trial[0].seconds if one.second == 0)

    def numbered(like: LoadSecond, seconds: range) -> list[LoadSecond]:
        return [replace(like, second=second) for second in seconds]

    assert [one.second for one in choose_seconds(numbered(usual, range(-10, 100)))] == list(range(-3, 6))
    assert [one.second for one in choose_seconds([*numbered(usual, range(50)), *numbered(bad, range(50, 52))])] == [
        *range(6),
        50,
        51,
    ]
    many = choose_seconds(numbered(bad, range(-100, 100)))
    assert len(many) == SECONDS_MAX
    assert {abs(one.second) for one in many} <= set(range(SECONDS_MAX // 2 + 1))
