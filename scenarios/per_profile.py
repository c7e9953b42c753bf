"""Fields of a scenario that differ between the profiles: `{fast: 40, gardener: 250}`; a plain value serves both."""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hitless.words import FlowSet, Nanoseconds, Profile

NUMBER_MAX: Final = 10_000_000
"""Largest number in a scenario: nearly three hours in ms, about four months in s. Chosen here."""


class Strict(BaseModel):
    """Data of a scenario: frozen, without keys that have no meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Value = TypeVar("Value")


class _OfProfile(Strict, Generic[Value]):
    """A value for each profile."""

    fast: Value
    gardener: Value

    def of(self, profile: Profile) -> Value:
        """Return the value for a profile."""
        match profile:
            case Profile.FAST:
                return self.fast
            case Profile.GARDENER:
                return self.gardener


class PerProfile(_OfProfile[Annotated[float, Field(ge=0, le=NUMBER_MAX)]]):
    """A number for each profile."""

    def ns(self, profile: Profile, unit_ns: int) -> Nanoseconds:
        """Return the number for a profile as nanoseconds, given its unit."""
        return Nanoseconds(round(self.of(profile) * unit_ns))


def _both(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"fast": value, "gardener": value}
    return value


ProfileNumber = Annotated[PerProfile, BeforeValidator(_both)]


class FlowsPerProfile(_OfProfile[Annotated[tuple[FlowSet, ...], Field(min_length=1)]]):
    """The sets of flows for each profile."""


def _both_lists(value: object) -> object:
    return {"fast": value, "gardener": value} if isinstance(value, list) else value


ProfileFlows = Annotated[FlowsPerProfile, BeforeValidator(_both_lists)]
