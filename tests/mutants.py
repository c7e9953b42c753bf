"""The rows of the decision table and the scenarios that catch a broken gate: `python -m tests.mutants`. Each mutant decides
every row. A scenario then runs with the doubles in memory, without packets: the mutant is caught if other modes are written, or
other routes are late. The lab shows the loss of packets: `pytest tests/lab/test_mutants.py`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from types import MappingProxyType, SimpleNamespace
from typing import Final

from clusters.lab.faults import lab_faults
from clusters.lab.network import LabNetwork
from gardener.doubles.mutants import MUTANTS
from gardener.gate import Gate, GateDecision, GateInput, decide, decide_with, missing_nodes
from hitless.facts import NodeFacts
from hitless.faults import CALICO_NODE_RESTART, OF_SWITCH, FaultTable, Owner, faults_of
from hitless.loop import Loop
from hitless.words import MILLISECOND, SECOND, Nanoseconds, Profile
from scenarios.loading import catalogue, load_scenario
from scenarios.plan import Case, Options, blinded, make_case, make_switch_spec
from switches.doubles import make_switch
from tests.clocks import ms
from tests.decision_table import ROWS, Row, ask
from tests.unit.fakes_gardener import Bench
from tests.unit.histories import facts, node_facts


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
"""Name to a gate with other code and the same decisions: nothing may catch it."""


UNREACHED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ignores-type": "no program gives another condition of a node the reason RouteCreated",
        "ignores-case": "no program writes the reason in small letters",
        "believes-first-entry": "a node has one condition of each type, because every writer merges by the type",
        "believes-last-entry": "a node has one condition of each type, because every writer merges by the type",
    }
)
"""Mutants that no scenario catches, with the reason why no cluster reaches the row that does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """The rows and scenarios that catch one gate."""

    name: str
    rows: tuple[str, ...]
    """Cases of the decision table that it decides differently."""
    scenarios: tuple[str, ...]
    """Scenarios with another outcome under this gate."""

    @property
    def is_caught(self) -> bool:
        """Whether a row catches it, and also a scenario, unless no cluster reaches that row."""
        return bool(self.rows) and bool(self.scenarios) is (self.name not in UNREACHED)

    def describe(self) -> str:
        """Return a line about it."""
        rows = f"{len(self.rows)} of {len(ROWS)} rows, such as {self.rows[0]!r}" if self.rows else "no row"
        scenarios = ", ".join(self.scenarios) or f"none: {UNREACHED.get(self.name, 'NOT CAUGHT')}"
        return f"{self.name}: {rows}; scenarios: {scenarios}"


def find_rows(gate: Gate) -> tuple[str, ...]:
    """Return the rows that a gate decides differently."""
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
    return scenario.has_request and scenario.fault_names <= (faults_of(Owner.CLUSTER) - {CALICO_NODE_RESTART}) | OF_SWITCH | {
        "node-unregistered"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a scenario in memory."""

    modes: tuple[str, ...]
    """The modes that were written, in order."""
    late: int
    """Routes that did not exist when a pool left the overlay."""


class _Places(LabNetwork):
    """The network of a lab that has nodes and no namespaces."""

    def __init__(self, nodes: tuple[NodeFacts, ...]) -> None:
        self.plan = SimpleNamespace(nodes=nodes)  # type: ignore[assignment]


def play(case: Case, gate: Gate) -> Outcome:
    """Run the gated arm of a scenario, or its only one, with another gate."""
    topology, arm = case.scenario.topology, [*case.scenario.arm_plans][-1]
    nodes = node_facts("abcdef"[: topology.zones], topology.nodes_per_zone)
    bench = Bench(shoot=case.shoot, start=case.shoot.mode, behaviour=case.behaviour, timings=case.timings, nodes=nodes)
    is_blind = case.scenario.initial.manifest == "unreadable"
    spec = replace(make_switch_spec(case, arm), gate=blinded(gate) if is_blind else gate)
    switch = make_switch(spec, kube=bench.kube, routes=bench.tables, recorder=bench.recorder, clock=bench.clock)
    case.scenario.initial.prepare(bench.kube, bench.tables, replace(facts(), nodes=nodes), bench.recorder)
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
def _honest(case: str) -> tuple[Outcome, tuple[GateInput, ...]]:
    """Return the outcome of a scenario with the real decision, and all inputs of the gate."""
    asked: list[GateInput] = []

    def listen(knowledge: GateInput) -> GateDecision:
        asked.append(knowledge)
        return decide(knowledge)

    return play(next(one for one in plain_cases() if one.scenario.name == case), listen), tuple(asked)


def find_scenarios(gate: Gate) -> tuple[str, ...]:
    """Return the scenarios whose outcome with a gate differs from that with the real decision."""
    return tuple(case.scenario.name for case in plain_cases() if _is_seen(case, gate))


def _is_seen(case: Case, gate: Gate) -> bool:
    outcome, asked = _honest(case.scenario.name)
    # A gate with the same answers has the same outcome.
    return any(gate(knowledge) != decide(knowledge) for knowledge in asked) and play(case, gate) != outcome


def find_catch(name: str) -> Catch:
    """Return what catches a mutant."""
    return Catch(name=name, rows=find_rows(MUTANTS[name]), scenarios=find_scenarios(MUTANTS[name]))


def describe_total(catches: Sequence[Catch]) -> str:
    """Return a line: caught of total, by the decision table and by each scenario."""
    total, in_table = len(catches), sum(bool(catch.rows) for catch in catches)
    in_scenario = sum(bool(catch.scenarios) for catch in catches)
    seen = Counter(scenario for catch in catches for scenario in catch.scenarios)
    each = ", ".join(f"{scenario} {count}" for scenario, count in sorted(seen.items()))
    return f"broken gates caught by the decision table: {in_table} of {total}; by a scenario: {in_scenario} of {total} ({each})"


def main() -> int:
    """Print the table; the exit code is 1 if a mutant survives or a correct variant is caught."""
    catches = [find_catch(name) for name in MUTANTS]
    wrong = [name for name, gate in VARIANTS.items() if find_rows(gate) or find_scenarios(gate)]
    lines = [*(catch.describe() for catch in catches), describe_total(catches)]
    lines.append(f"correct variants: {len(VARIANTS) - len(wrong)} of {len(VARIANTS)} pass")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(not all(catch.is_caught for catch in catches) or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
