"""Budgets: the numbers that a scenario allows a check."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.errors import UsageError
from hitless.words import JsonObject


def read_budgets(check: str, given: JsonObject, defaults: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the check's budgets: the given ones over the defaults.

    Args:
        check: name of the check, for the message.
        given: budget name to a number that is not negative, or None for no limit.
        defaults: every budget that the check knows.

    Raises:
        UsageError: an unknown budget, or one that is no number.
    """
    where = f"budgets of the check {check}"
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise UsageError(where=where, found=", ".join(unknown), expected=", ".join(sorted(defaults)) or "no budget")
    for name, value in given.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if value is not None and not is_number:
            raise UsageError(where=where, place=name, found=repr(value), expected="a number that is not negative, or null")
    return {**defaults, **given}
