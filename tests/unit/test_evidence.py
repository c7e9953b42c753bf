"""What is measured of a run is measured once, however many ask."""

from __future__ import annotations

from collections import Counter

import pytest

from analysis import classify as classify_module
from analysis import evidence as evidence_module
from analysis.bounds import Length, add_lengths
from analysis.classify import Probes
from analysis.comparison import Comparison
from analysis.evidence import Evidence
from hitless.facts import Flow
from hitless.history import History
from hitless.words import Arm, FlowId
from reports.page import render_page
from reports.picture import render_svg
from reports.summary import summarise
from tests.clocks import ms
from tests.unit.comparisons import judged, realistic


def test_judging_and_reporting_a_run_classifies_each_flow_once(monkeypatch: pytest.MonkeyPatch) -> None:
    classified: Counter[FlowId] = Counter()
    measured: Counter[str] = Counter()

    def classify_flow(history: History, flow: Flow) -> Probes:
        classified[flow.id] += 1
        return classify_module.classify_flow(history, flow)

    monkeypatch.setattr(evidence_module, "classify_flow", classify_flow)
    for name in ("measure", "overflow_losses", "measure_connections", "make_ledger", "attribute"):
        original = getattr(evidence_module, name)

        def counting(*args: object, name: str = name, original: object = original) -> object:
            measured[name] += 1
            return original(*args)  # type: ignore[operator]  # whatever the module has

        monkeypatch.setattr(evidence_module, name, counting)
    history = realistic(Arm.UNGATED, 1)
    comparison = Comparison(runs=(judged(history),))
    render_page(comparison, summarise(comparison))
    render_svg(comparison)
    assert classified == {flow.id: 1 for flow in history.flows}
    assert measured == {"measure": 1, "overflow_losses": 1, "measure_connections": 1, "make_ledger": 1, "attribute": 1}


def test_nothing_is_measured_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(evidence_module, "classify_flow")
    assert Evidence(realistic(Arm.GATED, 1)).overflows == ()


def _length(shortest_ms: float, likely_ms: float | None, longest_ms: float | None) -> Length:
    return Length(
        shortest_ns=ms(shortest_ms),
        likely_ns=None if likely_ms is None else ms(likely_ms),
        longest_ns=None if longest_ms is None else ms(longest_ms),
    )


def test_lengths_add_up_bound_by_bound_and_a_censored_one_leaves_only_the_shortest() -> None:
    assert add_lengths([]) == _length(0, 0, 0)
    assert add_lengths([_length(1, 2, 4), _length(10, 20, 40)]) == _length(11, 22, 44)
    assert add_lengths([_length(1, 2, 4), _length(10, None, None)]) == _length(11, None, None)


def test_a_censored_length_ranks_above_every_other() -> None:
    lengths = [_length(5, None, None), _length(1, 2, 90), _length(7, None, None), _length(80, 81, 82)]
    assert sorted(lengths, key=lambda length: length.rank) == [lengths[3], lengths[1], lengths[0], lengths[2]]
