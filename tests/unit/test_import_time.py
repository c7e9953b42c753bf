"""What a comparison in the lab imports: no library that only a real cluster needs, because each takes a third of a second."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("kubernetes", "pytest_kind", "requests", "scipy", "locust")


def test_a_comparison_in_the_lab_does_not_import_what_only_a_real_cluster_needs() -> None:
    ask = f"import sys, commands.compare; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True)  # noqa: S603 - Python itself
    assert answer.stdout == "[]\n"
