"""`hitless scenarios`: lists the catalogue."""

from __future__ import annotations

import sys

from scenarios.loading import catalogue, load_scenario


def print_scenarios() -> None:
    """Print one line per scenario: name, title and the expected verdict of each arm."""
    for path in catalogue():
        scenario = load_scenario(path)
        expected = ", ".join(f"{arm} {plan.expect}" for arm, plan in scenario.arm_plans.items())
        sys.stdout.write(f"{scenario.name:<24} {scenario.title} ({expected})\n")
