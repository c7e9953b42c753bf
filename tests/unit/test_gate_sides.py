"""What the release gate takes as one version, and what it refuses by name."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from commands.gate import find_summaries, read_side
from hitless.errors import UsageError
from hitless.words import Arm
from reports.gate.rules import Trait
from reports.gate.sides import Difference, find_differences, parse_summary
from reports.quantities import Duration
from tests.unit.summaries import changed, gated, side, summary, ungated, write
from tests.unit.test_record_version_1 import STORED
from tests.unit.test_report_schema import check_schema


def parse(document: object) -> None:
    parse_summary(json.dumps(document).encode(), "x/summary.json")


def test_the_folder_of_one_run_is_a_side_of_one_arm(tmp_path: Path) -> None:
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    found = read_side("BASELINE", tmp_path / "gated-1")
    assert found.scenarios == ("plain-switch",)
    assert [(arm.value, one.trials) for stored in found.stored for arm, one in stored.summary.arms.items()] == [("GATED", 1)]


def test_a_summary_is_read() -> None:
    stored = parse_summary(json.dumps(summary()).encode(), "x/summary.json")
    assert (stored.path, stored.summary.scenario, list(stored.summary.arms)) == ("x/summary.json", "plain-switch", list(Arm))


def test_a_summary_without_the_fields_that_were_added_later_is_read() -> None:
    document = summary()
    del document["arms"]["GATED"]["per_trial"][0]["gate_hold_after_routes_ms"]
    stored = parse_summary(json.dumps(document).encode(), "x")
    assert stored.summary.arms[Arm.GATED].per_trial[0].gate_hold_after_routes_ms is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "schema: found nothing"),
        ({}, "schema: found nothing"),
        (summary() | {"schema": "hitless.summary/0"}, "found hitless.summary/0; expected hitless.summary/2"),
        (
            summary() | {"schema": "hitless.summary/3"},
            "found hitless.summary/3, which is newer than this version of hitless reads",
        ),
        (summary() | {"schema": "other.summary/3"}, "found other.summary/3;"),
        (changed(summary(), "interval_ms", "fast"), "interval_ms: found fast"),
        (changed(summary(), "interval_ms", 0), "interval_ms: found 0"),
        (changed(summary(), "arms", {}), "arms: found nothing"),
        (changed(summary(), "arms.GATED.trials", 9), "arms.GATED.per_trial"),
        (changed(summary(), "arms.GATED.per_trial.1.trial", 1), "arms.GATED.per_trial: found trials 1, 1"),
        ({key: value for key, value in summary().items() if key != "carrier"}, "carrier: found nothing"),
    ],
)
def test_a_document_that_is_no_summary_is_refused(document: object, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(document)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    text = json.dumps(summary()).replace('"interval_ms": 20.0', f'"interval_ms": {number}')
    with pytest.raises(UsageError, match=f"the number {number}"):
        parse_summary(text.encode(), "x")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(UsageError, match="a summary in JSON"):
        parse_summary(b'{"schema": "hitless.summ', "x")


def test_a_session_holds_each_arm_in_a_summary_of_its_own() -> None:
    session = side(summary(UNGATED=ungated()), summary(GATED=gated()))
    found = {arm: session.find_arm("plain-switch", arm) for arm in Arm}
    assert {arm: None if one is None else one.path for arm, one in found.items()} == {
        Arm.UNGATED: "0/summary.json",
        Arm.GATED: "1/summary.json",
    }


def test_the_same_arm_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"CANDIDATE has GATED of plain-switch twice, in 0/summary.json and in 1/summary.json"):
        side(summary(), summary(GATED=gated()))


def test_two_versions_of_the_extension_on_one_side_are_refused() -> None:
    other = changed(summary("slow-routes"), "parts.0.version", "0.2.0")
    with pytest.raises(UsageError, match=r"BASELINE mixes versions: extension 0\.1\.0"):
        side(summary(), other, name="BASELINE")


def test_two_versions_on_two_sides_are_the_purpose() -> None:
    other = changed(summary(), "parts.0.version", "0.2.0")
    assert find_differences(side(summary(), name="BASELINE"), side(other)) == ()


@pytest.mark.parametrize("documents", [(summary(), summary("slow-routes")), (summary(GATED=gated()),)])
def test_different_scenarios_or_arms_are_refused(documents: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(UsageError, match="have different scenarios: only"):
        find_differences(side(summary(), name="BASELINE"), side(*documents))


TRAITS = [
    ("topology", "topology.zones", 3, "3 zones, 4 nodes, 8 pods"),
    ("profile", "profile", "gardener", "gardener"),
    ("rate", "interval_ms", 5.0, "a probe every 5 ms"),
    ("carrier", "carrier", "vxlan", "vxlan"),
    ("backend", "cluster", "kind", "kind"),
    ("kernel", "kernel", "Linux 5.15", "Linux 5.15"),
    ("kernel", "kernel", None, "not known"),
    ("threshold", "forwarding_delay_threshold_ms", 50.0, "50 ms"),
]


@pytest.mark.parametrize(("trait", "path", "value", "said"), TRAITS)
def test_sides_that_differ_are_refused_by_name_unless_that_is_allowed(trait: str, path: str, value: object, said: str) -> None:
    baseline, candidate = side(summary(), name="BASELINE"), side(changed(summary(), path, value))
    with pytest.raises(UsageError, match=f"{trait} of plain-switch: .* and {said}; .*--allow-different {trait}"):
        find_differences(baseline, candidate, set(Trait) - {Trait(trait)})
    (found,) = find_differences(baseline, candidate, [Trait(trait)])
    assert (found.trait, found.scenario, found.candidate) == (trait, "plain-switch", said)


def test_the_arms_of_one_side_may_not_differ_either() -> None:
    halves = (summary(UNGATED=ungated()), changed(summary(GATED=gated()), "carrier", "vxlan"))
    found = find_differences(side(*halves, name="BASELINE"), side(*halves), [Trait.CARRIER])
    assert found == (Difference(trait=Trait.CARRIER, scenario="plain-switch", baseline="ipip", candidate="vxlan"),)


def test_a_file_a_comparison_and_a_session_are_found(tmp_path: Path) -> None:
    first, second = (write(tmp_path / "session" / name) / "summary.json" for name in "ab")
    assert find_summaries(first) == (first,)
    assert find_summaries(first.parent) == (first,)
    (tmp_path / "session" / "latest").symlink_to("a")
    assert find_summaries(tmp_path / "session") == (first, second)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no summary\.json here"):
        find_summaries(tmp_path)
    with pytest.raises(UsageError, match="missing: does not exist"):
        find_summaries(tmp_path / "missing")


def test_a_session_with_a_comparison_that_was_not_judged_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "b" / "1").mkdir(parents=True)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / "b"))):
        find_summaries(tmp_path)


def test_a_summary_of_the_first_version_is_read_with_its_figures() -> None:
    content = (Path(__file__).parent / "records_v1" / "summary.json").read_bytes()
    found = parse_summary(content, "x").summary
    check_schema(found.as_json())
    ungated_arm, gated_arm = found.arms[Arm.UNGATED], found.arms[Arm.GATED]
    assert (ungated_arm.totals.lost, ungated_arm.totals.offered, gated_arm.totals.lost) == (44, 732, 0)
    assert ungated_arm.totals.downtime_ms_max == Duration(shortest=199.081, likely=249.937, longest=300.794)
    assert ungated_arm.totals.outage_ms_max == Duration(shortest=199.081, likely=249.9375, longest=300.794)
    assert ungated_arm.per_trial[0].totals.flows_hit == 10
    assert (found.kernel, found.parts) == (None, ())


@pytest.mark.parametrize("arms", [{}, None, [], {"GATED": None}, {"GATED": {"per_trial": None}}])
def test_a_summary_of_the_first_version_that_is_none_is_refused(arms: object) -> None:
    with pytest.raises(UsageError, match="x: "):
        parse_summary(json.dumps({"schema": "hitless.summary/1", "arms": arms}).encode(), "x")
