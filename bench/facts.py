"""The machine of a benchmark and the versions of the tools."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Final

from bench.programs import find_program
from hitless.errors import WorldError
from hitless.words import JsonObject

_ASK_VERSION: Final = {
    "fping": ["-v"],
    "irtt": ["version"],
    "iperf3": ["--version"],
    "ping": ["-V"],
    "mn": ["--version"],
    "ip": ["-V"],
}
_TIMEOUT_S: Final = 10.0


def describe_machine() -> JsonObject:
    """Return the facts as they are before anything is measured."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "programs": {name: _ask_version(name, arguments) for name, arguments in _ASK_VERSION.items()},
    }


def _ask_version(name: str, arguments: list[str]) -> str:
    try:
        program = find_program(name)
        command = [program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - our words
    except (WorldError, OSError, subprocess.SubprocessError) as error:
        return f"skipped: {error}"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].removeprefix(f"{program}: ") if lines else "it does not say"


def say_machine(facts: JsonObject, *, is_quick: bool) -> str:
    """Return the facts as Markdown sentences."""
    programs = "; ".join(f"{name}: {version}" for name, version in facts["programs"].items())
    mode = "quick mode, which only shows that it works" if is_quick else "full mode"
    return (
        f"Measured {facts['at']} on {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}, load "
        f"{facts['load_before']:g} before; {mode}. {programs}.\n"
    )
