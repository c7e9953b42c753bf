"""A comparison stored by record version 1 is read, and judged as it was then."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from analysis.evidence import Evidence
from commands.arms import judge_history
from hitless.errors import RecordDamagedError
from hitless.records import decode_address
from hitless.store import read_history
from hitless.words import FlowRole

STORED = Path(__file__).parent / "records_v1" / "plain-switch.tar.xz"
"""`hitless compare --scenario plain-switch --trials 1 --rate 20` in the lab; JSON without its white space."""
ARMS = ("gated-1", "ungated-1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("version-1")
    with tarfile.open(STORED) as archive:
        archive.extractall(directory, filter="data")
    return directory


def judged_then(directory: Path) -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads((directory / "verdict.json").read_bytes())
    return verdict


@pytest.mark.parametrize("arm", ARMS)
def test_every_check_gives_the_verdict_that_it_gave_then(stored: Path, arm: str) -> None:
    then = {result["check"]: result["verdict"] for result in judged_then(stored / arm)["results"]}
    now = {result.check: result.verdict.value for result in judge_history(read_history(stored / arm)).results}
    assert then == now


def test_the_losses_are_those_that_were_reported_then(stored: Path) -> None:
    measures = {}
    for arm in ARMS:
        history = read_history(stored / arm)
        found = Evidence(history).measures
        measures[arm] = [found[flow.id] for flow in history.flows_of(FlowRole.MESH, FlowRole.CONTROL)]
    assert {arm: sum(one.lost for one in flows) for arm, flows in measures.items()} == {"gated-1": 0, "ungated-1": 44}
    outages = [outage for one in measures["ungated-1"] for outage in one.outages]
    longest = max(outages, key=lambda one: one.longest_ns or 0)
    assert len(outages) == 10
    assert longest.longest_ns is not None
    assert (round(longest.shortest_ns / 1e6, 3), round(longest.longest_ns / 1e6, 3)) == (199.081, 300.794)


def test_addresses_and_flows_have_their_present_form(stored: Path) -> None:
    history = read_history(stored / "gated-1")
    flow = history.flows[1]
    own = next(endpoint.address for endpoint in history.facts.endpoints if endpoint.name == flow.source)
    log = history.records.reflector[history.records.reflector["flow"] == flow.id]
    assert {decode_address(octets) for octets in log["source"]} == {own}
    assert history.parts == ()


@pytest.mark.parametrize("version", ["0", "3"])
def test_another_version_is_refused_by_name(stored: Path, tmp_path: Path, version: str) -> None:
    document = json.loads((stored / "gated-1" / "run.json").read_bytes())
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document | {"schema": f"hitless.run/{version}"}))
    with pytest.raises(RecordDamagedError) as raised:
        read_history(tmp_path)
    assert str(raised.value) == (
        f"{path}: the run is hitless.run/{version}; this version of hitless reads hitless.run/2 and hitless.run/1"
    )
