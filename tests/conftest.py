"""Hypothesis: no example has a time limit; CI runs the same examples every time, a developer's machine finds new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long an example takes tells about the machine, not about the code.
settings.register_profile("hitless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("hitless"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "hitless")
