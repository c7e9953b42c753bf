"""Two witnesses in a real kernel: what the received TTLs say of every probe's path, and what the nodes' events say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from analysis.convergence import Transitions, find_transitions
from analysis.evidence import Evidence, JudgedRun
from analysis.paths import CELLS, SENT_TTL, FlowPaths, ModeLoss, ProbePath, count_cells, make_matrix
from analysis.route_history import RouteMode
from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from hitless.words import Arm, FlowRole
from tests.cases import case_of

UNKNOWN_SHARE_MAX: Final = 0.1
"""Of probes: re-pointing takes a node milliseconds, even on a busy machine."""
BY_NODES, BY_ROUTER = SENT_TTL - 2, SENT_TTL - 3
"""Received TTLs: both nodes forward, the router as well."""

Trials = Mapping[Arm, tuple[JudgedRun, tuple[FlowPaths, ...]]]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Both arms of the plain switch, once each, and the paths of their mesh."""
    case = case_of()
    backend, performer = make_backend(BackendName.LAB), make_performer(SwitchName.DOUBLES)
    directory: Path = tmp_path_factory.mktemp("paths")
    runs = {arm: execute_trial(backend, performer, case, arm, 1, directory / arm) for arm in Arm}
    return {arm: (run, tuple(Evidence(run.history).paths(FlowRole.MESH))) for arm, run in runs.items()}


@pytest.mark.parametrize("arm", Arm)
def test_the_kernel_counts_the_router_and_nothing_else(trials: Trials, arm: Arm) -> None:
    _, found = trials[arm]
    assert found != ()
    for one in found:
        for column in ("forward_ttl", "return_ttl"):
            ttls = one.probes.rows[column]
            assert set(np.unique(ttls[ttls > 0])) <= {BY_NODES, BY_ROUTER}


@pytest.mark.parametrize("arm", Arm)
def test_ttl_and_events_agree_of_every_probe(trials: Trials, arm: Arm) -> None:
    _, found = trials[arm]
    for one in found:
        for way, ttls in ((one.out, one.probes.rows["forward_ttl"]), (one.back, one.probes.rows["return_ttl"])):
            assert np.flatnonzero(way.is_contradicted).tolist() == [], one.flow.label
            by_router, by_nodes = way.paths[ttls == BY_ROUTER], way.paths[ttls == BY_NODES]
            assert set(np.unique(by_router)) <= {int(ProbePath.ROUTER)}
            assert np.count_nonzero(by_nodes & ProbePath.ROUTER) == 0
            assert np.all(way.modes[ttls == BY_ROUTER] & RouteMode.NATIVE)


@pytest.mark.parametrize("arm", Arm)
def test_few_paths_are_unknown_and_every_flow_ends_on_the_new_one(trials: Trials, arm: Arm) -> None:
    _, found = trials[arm]
    for way in (one.out for one in found), (one.back for one in found):
        directions = list(way)
        unknown = sum(np.count_nonzero(one.is_unknown) for one in directions)
        taken = sum(np.count_nonzero(one.is_taken) for one in directions)
        assert unknown <= UNKNOWN_SHARE_MAX * taken
        assert [bool(one.is_preferred[0] & one.is_next_best[-1]) for one in directions] == [True] * len(found)


@pytest.mark.parametrize("arm", Arm)
def test_the_matrix_has_every_probe_of_the_mesh_once(trials: Trials, arm: Arm) -> None:
    run, found = trials[arm]
    matrix = matrix_of(found)
    measures = [run.measures[one.flow.id] for one in found]
    for name in ("offered", "lost", "lost_near_end", "lost_far_end"):
        assert sum(getattr(cell, name) for cell in matrix) == sum(getattr(one, name) for one in measures)


def test_only_pairs_that_have_left_the_overlay_lose(trials: Trials) -> None:
    ungated = {(cell.sender, cell.receiver): cell for cell in matrix_of(trials[Arm.UNGATED][1])}
    both_before: ModeLoss = ungated["OVERLAY", "OVERLAY"]
    both_after: ModeLoss = ungated["NATIVE", "NATIVE"]
    assert (both_before.offered > 0, both_before.lost) == (True, 0)
    assert 0 < both_after.lost < both_after.offered
    # IPIP ends stay: who still encapsulates is heard, and only answers that are routed natively can be lost.
    assert ungated["OVERLAY", "NATIVE"].lost_near_end == 0
    assert ungated["NATIVE", "OVERLAY"].lost_far_end == 0
    assert {cell.lost for cell in matrix_of(trials[Arm.GATED][1])} == {0}


def test_every_flow_leaves_the_old_path_and_recovers_on_the_new_one(trials: Trials) -> None:
    for run, found in trials.values():
        for transitions in (_transitions(run, one) for one in found):
            assert transitions.event is not None
            assert transitions.first_out is not None
            assert transitions.first_back is not None
            assert transitions.recovery is not None
            assert transitions.recovery.longest_ns is not None


def test_without_the_gate_flows_between_zones_are_impaired_before_the_new_path_works_both_ways(trials: Trials) -> None:
    run, found = trials[Arm.UNGATED]
    zones = {endpoint.name: endpoint.zone for endpoint in run.history.facts.endpoints}
    hit = [one for one in found if zones[one.flow.source] != zones[one.flow.destination] and run.measures[one.flow.id].is_hit]
    assert any(_transitions(run, one).is_impaired for one in hit)
    for transitions in (_transitions(run, one) for one in hit):
        ends = [length.longest_ns for length in (transitions.first_out, transitions.first_back) if length is not None]
        assert transitions.event is not None
        assert max(end or 0 for end in ends) > (transitions.event.longest_ns or 0)
    gated, others = trials[Arm.GATED]
    assert [one.flow.label for one in others if _transitions(gated, one).is_impaired] == []


def _transitions(run: JudgedRun, found: FlowPaths) -> Transitions:
    request = run.history.first_event("switch.requested")
    assert request is not None
    return find_transitions(found, request.t_ns)


def matrix_of(found: tuple[FlowPaths, ...]) -> tuple[ModeLoss, ...]:
    return make_matrix(sum((count_cells(one) for one in found), np.zeros(CELLS, dtype=np.int64)))
