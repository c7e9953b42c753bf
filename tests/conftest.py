"""Hypothesis finds new examples every time on a developer's machine; a CI run must say the same twice."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
