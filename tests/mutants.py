"""Which rows of the decision table and which scenarios catch a broken gate: `python -m tests.mutants`.

The table asks each mutant the question of every row. A scenario then runs with the doubles in memory, without packets: it is
caught where other modes are written, or other routes are late. What packets say is seen in
the lab: `pytest tests/lab/test_mutants.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from types import MappingProxyType, SimpleNamespace
from typing import Final

from clusters.faults import COMMON_FAULTS
from clusters.lab.faults import lab_faults
from clusters.lab.network import LabNetwork
from gardener.doubles.mutants import MUTANTS
from gardener.gate import Gate, GateDecision, GateInput, decide, decide_with, missing_nodes
from hitless.facts import NodeFacts
from hitless.fault_table import FaultTable
from hitless.loop import Loop
from hitless.words import MILLISECOND, SECOND, Nanoseconds, Profile
from scenarios.faults import OF_SWITCH
from scenarios.loading import catalogue, load_scenario
from scenarios.plan import Case, Options, blinded, make_case, make_switch_spec
from switches.doubles import make_switch
from tests.unit.fakes_gardener import Bench, ms
from tests.unit.lab_fakes import make_nodes
from tests.unit.test_gardener_gate import ROWS, Row, ask
from tests.unit.test_scenario_contradictions import FACTS


def _reads_twice(knowledge: GateInput) -> GateDecision:
    decide(knowledge)
    return decide(knowledge)


def _names_first_only(knowledge: GateInput) -> GateDecision:
    decision = decide(knowledge)
    return replace(decision, missing=decision.missing[:1])


VARIANTS: Final[Mapping[str, Gate]] = MappingProxyType(
    {
        "reads-nodes-backwards": partial(decide_with, missing=lambda nodes: missing_nodes(nodes[::-1])),
        "names-first-missing-only": _names_first_only,
        "asks-twice": _reads_twice,
    }
)
"""Name to a gate that is written otherwise and decides the same: nothing may catch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """What catches one gate."""

    name: str
    rows: tuple[str, ...]
    """Cases of the decision table that it decides otherwise."""
    scenarios: tuple[str, ...]
    """Scenarios whose outcome is another with it."""

    @property
    def is_caught(self) -> bool:
        """Whether anything catches it."""
        return bool(self.rows)


def find_rows(gate: Gate) -> tuple[str, ...]:
    """Return the rows that a gate decides otherwise than they say."""
    return tuple(row.case for row in ROWS if not _is_decided(row, gate))


def _is_decided(row: Row, gate: Gate) -> bool:
    decision = ask(row, gate)
    return (row.outcome, row.reason) == (decision.outcome, decision.reason)


@cache
def plain_cases() -> tuple[Case, ...]:
    """Return the scenarios that the doubles can play without running nodes."""
    cases = (make_case(load_scenario(path), Options(profile=Profile.FAST)) for path in catalogue())
    return tuple(case for case in cases if _can_play(case))


def _can_play(case: Case) -> bool:
    scenario = case.scenario
    return scenario.has_request and scenario.fault_names <= COMMON_FAULTS | OF_SWITCH | {"node-unregistered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a scenario came to in memory."""

    modes: tuple[str, ...]
    """The modes that were written, in order."""
    late: int
    """Routes that did not exist when a pool left the overlay."""


class _Places(LabNetwork):
    """The network of a lab that has nodes and no namespaces."""

    def __init__(self, nodes: tuple[NodeFacts, ...]) -> None:
        self.plan = SimpleNamespace(nodes=nodes)  # type: ignore[assignment]


def play(case: Case, gate: Gate) -> Outcome:
    """Play the gated arm of a scenario, or the only one that it has, with another gate."""
    topology, arm = case.scenario.topology, [*case.scenario.arm_plans][-1]
    nodes = make_nodes(topology.zones, topology.nodes_per_zone)
    bench = Bench(shoot=case.shoot, start=case.shoot.mode, behaviour=case.behaviour, timings=case.timings, nodes=nodes)
    is_blind = case.scenario.initial.manifest == "unreadable"
    spec = replace(make_switch_spec(case, arm), gate=blinded(gate) if is_blind else gate)
    switch = make_switch(spec, kube=bench.kube, routes=bench.tables, recorder=bench.recorder, clock=bench.clock)
    case.scenario.initial.prepare(bench.kube, bench.tables, replace(FACTS, nodes=nodes), bench.recorder)
    bench.loop = Loop(switch.participants, bench.kube, bench.clock)
    for number, at_ms in enumerate(case.scenario.requests_at_ms):
        bench.loop.at(at_ms.ns(Profile.FAST, MILLISECOND), partial(switch.request, number))
    tables = (switch.faults, FaultTable(lab_faults(bench.kube, switch.cloud, _Places(nodes), {})))
    for fault in case.scenario.faults:
        begin_ms, end_ms = fault.lasts(Profile.FAST)
        broken = next(table for table in tables if fault.name in table.known())
        bench.loop.at(ms(begin_ms), partial(broken.inject, fault.name, fault.options))
        if fault.for_ms is not None:
            bench.loop.at(ms(end_ms), partial(broken.cure, fault.name, fault.options))
    bench.loop.run(lambda: False, Nanoseconds(round(case.scenario.duration_s.fast * SECOND)))
    pools = [event for event in bench.recorder.named("manifest.applied") if event.facts["kind"] == "IPPool"]
    gone_ns = min((event.t_ns for event in pools if event.facts["mode"] == "NATIVE"), default=None)
    late = [t_ns for t_ns in bench.times("route.created") if gone_ns is not None and t_ns > gone_ns]
    return Outcome(modes=tuple(mode for mode, _ in groupby(event.facts["mode"] for event in pools)), late=len(late))


@cache
def _honest(index: int) -> Outcome:
    return play(plain_cases()[index], decide)


def find_scenarios(gate: Gate) -> tuple[str, ...]:
    """Return the scenarios that come to something else with a gate than with the real decision."""
    cases = plain_cases()
    return tuple(case.scenario.name for index, case in enumerate(cases) if play(case, gate) != _honest(index))


def find_catches() -> Iterator[Catch]:
    """Yield what catches each mutant."""
    for name, gate in MUTANTS.items():
        yield Catch(name=name, rows=find_rows(gate), scenarios=find_scenarios(gate))


def main() -> int:
    """Print the table; the exit code is 1 where a mutant lives or a correct variant is caught."""
    catches = list(find_catches())
    for catch in catches:
        rows = f"{len(catch.rows)} of {len(ROWS)} rows, such as: {catch.rows[0]}" if catch.rows else "NOT CAUGHT"
        sys.stdout.write(f"{catch.name}\n  decision table: {rows}\n")
        sys.stdout.write(f"  scenarios in memory: {', '.join(catch.scenarios) or 'none'}\n")
    caught, shown = sum(catch.is_caught for catch in catches), sum(bool(catch.scenarios) for catch in catches)
    sys.stdout.write(f"caught by the decision table: {caught} of {len(catches)}; seen in a scenario as well: {shown}\n")
    for case in plain_cases():
        seen = [catch.name for catch in catches if case.scenario.name in catch.scenarios]
        if seen:
            sys.stdout.write(f"  {case.scenario.name}: {len(seen)}: {', '.join(seen)}\n")
    wrong = [name for name, gate in VARIANTS.items() if find_rows(gate) or find_scenarios(gate)]
    sys.stdout.write(f"correct variants: {len(VARIANTS) - len(wrong)} of {len(VARIANTS)} pass\n")
    return int(caught < len(catches) or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
