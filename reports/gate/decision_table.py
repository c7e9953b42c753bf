"""The decision table of the candidate's extension, as `hitless conform` stored it.

The program is tested without a cluster, so no summary has it. The digests say whether it belongs to the two sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from hitless.errors import UsageError
from hitless.facts import Part, PartIdentity
from hitless.plural import plural
from reports.gate.rules import RuleFinding, RuleName, State
from reports.gate.sides import Side, say_part

SCHEMA: Final = "hitless.conform/1"
_NAMED_MAX: Final = 5
"""Cases that a message names; the file has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTable:
    """The fields are those of `conform.json`."""

    schema: Literal["hitless.conform/1"]
    program: PartIdentity
    """The extension that was asked."""
    other: PartIdentity | None
    """The extension that it is compared with; None: the double."""
    asked: Mapping[str, str]
    """Case to what the program decided."""
    against: Mapping[str, str]
    """The same of the other."""
    different: tuple[str, ...]
    """Cases in which they differ."""


StoredTable = tuple[str, DecisionTable]
"""The file that a decision table was read from, and the table."""


def parse_table(content: bytes, path: str) -> StoredTable:
    """Parse a decision table. Raises UsageError: it is none, or contradicts itself."""
    expected = f"a {SCHEMA}, as `hitless conform` stores it in conform.json"
    try:
        table = TypeAdapter(DecisionTable).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(where=path, place=place, found=first["msg"], expected=expected) from error
    different = {name for name in table.asked if table.asked[name] != table.against.get(name)}
    if not table.asked or different != set(table.different) or set(table.asked) != set(table.against):
        raise UsageError(where=path, place="different", found="cases that do not match the decisions", expected=expected)
    return path, table


def ask_table(stored: StoredTable | None, candidate: Side, baseline: Side) -> RuleFinding | None:
    """Return what the rule decision-table says; None: the extension is a double, so that the rule does not apply.

    Raises:
        UsageError: the table is of another extension than the candidate's, or compares it with another than the baseline's.
    """
    programs = [part for part in candidate.parts if part.name is Part.EXTENSION and not part.is_double]
    if not programs:
        if stored is not None:
            raise UsageError(
                where="--decisions", found=stored[0], expected="no file, because the CANDIDATE's extension is a double"
            )
        return None
    scenario = candidate.scenarios[0]
    if stored is None:
        return RuleFinding(
            rule=RuleName.DECISION_TABLE,
            scenario=scenario,
            state=State.NOT_KNOWN,
            text="the extension is real, and its decision table is not given",
            evidence=candidate.path,
            next_step="run `hitless conform --extension CANDIDATE --against BASELINE`; give its conform.json with --decisions",
        )
    path, table = stored
    _check_same(path, table.program, candidate)
    if table.other is not None:
        _check_same(path, table.other, baseline)
    other = "the double" if table.other is None else say_part(table.other)
    counted = f"{len(table.different)} of {plural(len(table.asked), 'case')}"
    named = "; ".join(f"{name}: {table.asked[name]}, not {table.against[name]}" for name in table.different[:_NAMED_MAX])
    more = "; ..." if len(table.different) > _NAMED_MAX else ""
    return RuleFinding(
        rule=RuleName.DECISION_TABLE,
        scenario=scenario,
        state=State.BROKEN if table.different else State.HOLDS,
        text=f"{counted} differ from {other}{f': {named}{more}' if named else ''}",
        evidence=path,
        next_step="if the change is intended, state it in an allowance" if table.different else "",
    )


def _check_same(path: str, program: PartIdentity, side: Side) -> None:
    """Refuse a table that was asked of another program than the side's."""
    ours = [part for part in side.parts if part.name is Part.EXTENSION]
    if program.digest not in {part.digest for part in ours}:
        found = f"{path}, of {say_part(program)}"
        expected = f"the decision table of {side.name}'s {' and '.join(map(say_part, ours)) or 'extension, which is not known'}"
        raise UsageError(where="--decisions", found=found, expected=expected)
