"""Looks: the numbers of pairs at which a sequential decision tests the primary rule, and the error that each may spend.

Several looks at growing data err more often than the level of one look, because the first good answer counts. So each look
spends its own part of the whole error, in equal parts. By the union bound the parts add up to the whole at most,
however the looks depend on each other; the sign-flip test is exact at each look.

Source: Lan and DeMets, Biometrika 70 (1983), 659, for spending the error look by look. Their boundary also uses how the looks
correlate, which saves some trials and needs normal figures; holds of the gate are not normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from hitless.errors import UsageError
from reports.gate.inference import GO_ALPHA, STOP_ALPHA, min_pairs

LOOKS: Final = 3
"""Ours: more looks end sooner without a difference, and need more pairs to find one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question to the primary rule."""

    pairs: int
    """After which it is asked."""
    go_alpha: float = GO_ALPHA
    """Largest p-value of "harmless" that is a go."""
    stop_alpha: float = STOP_ALPHA
    """Largest p-value of "worse" that is a stop."""
    number: int = 1
    of: int = 1
    """Looks in all; 1: the trials were given, and there is one decision."""

    @property
    def is_asked(self) -> bool:
        """Whether the primary rule can decide here."""
        return self.go_alpha > 0


def between_looks(pairs: int) -> Look:
    """Return the look that decides nothing: an absolute rule ended the trials before the primary rule was asked."""
    return Look(pairs=pairs, go_alpha=0.0, stop_alpha=0.0, number=0, of=LOOKS)


def plan_looks(budget: int) -> tuple[Look, ...]:
    """Return the looks of a sequential decision.

    Args:
        budget: pairs at the most.

    Raises:
        UsageError: so few pairs that no look could stop a release.
    """
    least = min_pairs(STOP_ALPHA / LOOKS)
    if budget < least:
        raise UsageError(
            where="--trials", found=str(budget), expected=f"at least {least} with --run, because fewer cannot stop a release"
        )
    return tuple(
        Look(
            pairs=math.ceil(budget * number / LOOKS),
            go_alpha=GO_ALPHA / LOOKS,
            stop_alpha=STOP_ALPHA / LOOKS,
            number=number,
            of=LOOKS,
        )
        for number in range(1, LOOKS + 1)
    )
