"""`hitless scenarios`: lists the catalogue."""

from __future__ import annotations

import sys

from scenarios.loading import catalogue, load_scenario


def print_scenarios() -> None:
    """Print one line per scenario: name, title and the expected verdict of each arm."""
    scenarios = [load_scenario(path) for path in catalogue()]
    width = max(len(scenario.name) for scenario in scenarios)
    for scenario in scenarios:
        expected = ", ".join(f"{arm} {plan.expect}" for arm, plan in scenario.arm_plans.items())
        sys.stdout.write(f"{scenario.name:<{width}}  {scenario.title} ({expected})\n")
