"""What every question of the benchmark is: a name, a measurement that gives a JSON object, and the tables made from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.tables import Table
from hitless.words import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question."""

    name: str
    """Of `--only`, of the key in bench.json and of the markers in docs/benchmarks.md."""
    text: str
    """What is asked, for progress and help."""
    ask: Callable[[bool], JsonObject]
    """Measures, inside the sandbox with no lab up and none left behind; True: quick. Raises HitlessError."""
    show: Callable[[JsonObject], tuple[Table, ...]]
    """Makes the tables of a stored answer."""
