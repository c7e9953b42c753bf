"""The two sides of a release decision: summaries that are checked to be readable, complete and comparable.

A comparison holds both arms of a scenario in one summary, a session of suites one arm in each; a side takes either.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final, NoReturn

from hitless.documents import validate
from hitless.errors import UsageError
from hitless.facts import GARDENER_PARTS, PartIdentity
from hitless.plural import plural
from hitless.words import Arm, JsonObject, Verdict
from reports.gate.rules import Trait
from reports.summary import SCHEMA, ArmSummary, Summary, Totals

_FAMILY: Final = SCHEMA.partition("/")[0]
SCHEMA_1: Final = "hitless.summary/1"
_TOTALS: Final = frozenset(field.name for field in fields(Totals))
_BOUNDS: Final = ("outage_ms_max", "bounds_ms_max")
_LEFT_OUT: Final = ("estimators",)
"""Other ways of measuring, which the second version does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSummary:
    """A summary and the file that it was read from."""

    path: str
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundArm(StoredSummary):
    """One arm of a scenario, in the summary that has it."""

    name: Arm

    @property
    def arm(self) -> ArmSummary:
        """Its figures."""
        return self.summary.arms[self.name]

    @property
    def lost_by_class(self) -> dict[str, int]:
        """Class of flows to its lost probes."""
        return {name: totals.lost for name, totals in self.arm.classes.items()}

    @property
    def failing(self) -> frozenset[str]:
        """The checks that did not pass in any trial."""
        failed: dict[int | None, set[str]] = {trial.trial: set() for trial in self.arm.per_trial}
        for one in self.summary.findings:
            if one.arm is self.name and one.verdict is not Verdict.PASS and one.trial in failed:
                failed[one.trial].add(one.check)
        return frozenset(set.intersection(*failed.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A trait in which the sides differ, and that was allowed to."""

    trait: Trait
    scenario: str
    baseline: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """All that is known of one version."""

    name: str
    """BASELINE or CANDIDATE."""
    path: str
    stored: tuple[StoredSummary, ...]

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({one.summary.scenario for one in self.stored}))

    @cached_property
    def parts(self) -> tuple[PartIdentity, ...]:
        """Every part under test, each identity once."""
        return tuple(dict.fromkeys(part for one in self.stored for part in one.summary.parts))

    def find_arm(self, scenario: str, arm: Arm) -> FoundArm | None:
        """Return one arm of a scenario, or None."""
        found = (one for one in self.of_scenario(scenario) if arm in one.summary.arms)
        return next((FoundArm(path=one.path, summary=one.summary, name=arm) for one in found), None)

    def of_scenario(self, scenario: str) -> Iterator[StoredSummary]:
        """Yield the summaries of a scenario."""
        return (one for one in self.stored if one.summary.scenario == scenario)


def parse_summary(content: bytes, path: str) -> StoredSummary:
    """Parse a summary.

    Raises:
        UsageError: it is no JSON, has a number that is not finite, another schema, or does not keep to its schema.
    """
    try:
        document = json.loads(content, parse_constant=_refuse_number, parse_float=_read_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(where=path, found=str(error), expected="a summary in JSON, with finite numbers") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in {SCHEMA, SCHEMA_1}:
        raise UsageError(where=path, place="schema", found=_say_schema(schema), expected=f"{SCHEMA}; `hitless judge` writes it")
    if schema == SCHEMA_1:
        try:
            document = _upgrade(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                where=path, found=f"a {SCHEMA_1} without its figures ({error!r})", expected="a complete summary"
            ) from error
    summary = validate(Summary, {name: value for name, value in document.items() if name != "schema"}, path)
    _check_trials(summary, path)
    return StoredSummary(path=path, summary=summary)


def _upgrade(document: JsonObject) -> JsonObject:
    """Return a document of the first version in the shape of the second; fields that the first version lacks are None or empty.

    It has the same figures in another shape, from before parts, the kernel and likely lengths were stored. A duration was a
    number beside its two bounds, or the bounds alone, whose middle is then the likely length. Totals stood among the other
    fields of an arm and of a trial.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is not of the first version.
    """
    converted = {name: _convert(arm) for name, arm in document["arms"].items()}
    arms = {name: _nest(arm) | {"per_trial": [_nest(trial) for trial in arm["per_trial"]]} for name, arm in converted.items()}
    return {"kernel": None, "parts": [], **document, "schema": SCHEMA, "arms": arms}


def _nest(node: JsonObject) -> JsonObject:
    """Return an arm or a trial with its totals in a field of their own."""
    rest = {name: value for name, value in node.items() if name not in _TOTALS}
    return rest | {"totals": {name: value for name, value in node.items() if name in _TOTALS}}


def _convert(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a node with its durations as shortest, likely and longest."""
    if isinstance(node, list):
        return [_convert(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _convert(value) for name, value in node.items() if name not in _LEFT_OUT}
    for name in ("max", "sum"):
        bounds = found.pop(f"downtime_bounds_ms_{name}", None)
        if bounds is not None:
            found[f"downtime_ms_{name}"] = _make_duration(bounds, found[f"downtime_ms_{name}"])
    for name in _BOUNDS:
        if isinstance(found.get(name), list):
            shortest, longest = found[name]
            found[name] = _make_duration(found[name], shortest if longest is None else (shortest + longest) / 2)
    return found


def _make_duration(bounds: Sequence[float | None], likely: float | None) -> JsonObject:
    shortest, longest = bounds
    return {"shortest": shortest, "likely": shortest if likely is None else likely, "longest": longest}


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text}")


def _read_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse_number(text)
    return value


def _say_schema(schema: object) -> str:
    if schema is None:
        return "nothing"
    name, _, version = str(schema).partition("/")
    newest = SCHEMA.rpartition("/")[2]
    if name == _FAMILY and version.isdigit() and int(version) > int(newest):
        return f"{schema}, which is newer than this version of hitless reads"
    return str(schema)


def _check_trials(summary: Summary, path: str) -> None:
    if not summary.arms:
        raise UsageError(where=path, place="arms", found="nothing", expected="at least one arm")
    if summary.interval_ms <= 0:
        raise UsageError(where=path, place="interval_ms", found=str(summary.interval_ms), expected="a number above 0")
    for arm, found in summary.arms.items():
        numbers = [trial.trial for trial in found.per_trial]
        if not numbers or len(numbers) != found.trials or len(set(numbers)) != len(numbers):
            listed = ", ".join(map(str, numbers)) or "none"
            expected = f"{plural(max(found.trials, 1), 'trial')}, each once, as `trials` says"
            raise UsageError(where=path, place=f"arms.{arm}.per_trial", found=f"trials {listed}", expected=expected)


def make_side(name: str, path: str, stored: Sequence[StoredSummary]) -> Side:
    """Make one side of the summaries that were found.

    Raises:
        UsageError: an arm of a scenario stands twice, or the parts that switch are of several versions.
    """
    places: dict[tuple[str, Arm], str] = {}
    for one in stored:
        for arm in one.summary.arms:
            key = (one.summary.scenario, arm)
            if key in places:
                raise UsageError(
                    f"{name} has {arm} of {one.summary.scenario} twice, in {places[key]} and in {one.path}; give only one"
                )
            places[key] = one.path
    side = Side(name=name, path=path, stored=tuple(stored))
    for part in GARDENER_PARTS:
        versions = dict.fromkeys(say_part(one) for one in side.parts if one.name is part)
        if len(versions) > 1:
            raise UsageError(f"{name} mixes versions: {' and '.join(versions)}, in {path}; give runs of one version")
    return side


def say_part(part: PartIdentity) -> str:
    """Return a part's identity in words."""
    kind = "double" if part.is_double else "real"
    return " ".join(word for word in (part.name.value, part.version, f"({kind})", part.digest or "") if word)


def find_differences(baseline: Side, candidate: Side, allowed: Collection[Trait] = ()) -> tuple[Difference, ...]:
    """Return the differences that were allowed.

    Raises:
        UsageError: the sides hold different scenarios or arms, or differ in a trait without permission; all are named.
    """
    _check_scenarios(baseline, candidate)
    found: list[Difference] = []
    for scenario in baseline.scenarios:
        reference = next(baseline.of_scenario(scenario))
        others = [one for side in (baseline, candidate) for one in side.of_scenario(scenario) if one is not reference]
        for trait in Trait:
            ours = say_trait(reference.summary, trait)
            theirs = next((said for one in others if (said := say_trait(one.summary, trait)) != ours), None)
            if theirs is not None:
                found.append(Difference(trait=trait, scenario=scenario, baseline=ours, candidate=theirs))
    refused = [one for one in found if one.trait not in allowed]
    if refused:
        named = "; ".join(f"{one.trait} of {one.scenario}: {one.baseline} and {one.candidate}" for one in refused)
        options = " ".join(f"--allow-different {trait}" for trait in dict.fromkeys(one.trait for one in refused))
        raise UsageError(
            f"{baseline.path} and {candidate.path} differ: {named}; run both with the same options, or give {options}"
        )
    return tuple(found)


def _check_scenarios(baseline: Side, candidate: Side) -> None:
    sets = {
        side.name: {f"{one.summary.scenario} {arm}" for one in side.stored for arm in one.summary.arms}
        for side in (baseline, candidate)
    }
    only = {name: sorted(keys - other) for (name, keys), other in zip(sets.items(), reversed(sets.values()), strict=True)}
    if any(only.values()):
        text = "; ".join(f"only {name} has {', '.join(keys)}" for name, keys in only.items() if keys)
        raise UsageError(
            f"{baseline.path} and {candidate.path} have different scenarios: {text}; run both with the same scenarios"
        )


def say_trait(summary: Summary, trait: Trait) -> str:
    """Return a trait in words."""
    said = {
        Trait.TOPOLOGY: _say_topology(summary),
        Trait.PROFILE: summary.profile,
        Trait.RATE: f"a probe every {summary.interval_ms:g} ms",
        Trait.CARRIER: summary.carrier,
        Trait.BACKEND: summary.cluster,
        Trait.KERNEL: summary.kernel or "not known",
        Trait.THRESHOLD: f"{summary.forwarding_delay_threshold_ms:g} ms",
    }
    return said[trait]


def _say_topology(summary: Summary) -> str:
    topology, mesh = summary.topology, summary.mesh
    words = [plural(topology.zones, "zone"), plural(topology.nodes, "node"), plural(topology.pods, "pod")]
    if mesh is not None and not mesh.is_full:
        words.append(mesh.text)
    return ", ".join(words)
