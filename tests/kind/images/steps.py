"""Building in steps: each has a product and a fingerprint, and is skipped while both are unchanged."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FINGERPRINT: Final = "fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One product of the build."""

    name: str
    """Also the folder of its product below the state folder."""
    inputs: Mapping[str, str]
    """Inputs besides the code: versions, digests of files."""
    make: Callable[[Path], None]
    """Fills an empty folder. Raises SystemExit where a program fails."""
    code: Path
    """The module that builds it: if its text changes, the product is built again."""
    needs: tuple[Step, ...] = ()
    """Steps whose products it uses."""

    @property
    def fingerprint(self) -> str:
        """Digest of the inputs, the code, and the fingerprints of all steps that it needs."""
        told = [dict(self.inputs), self.code.read_text(encoding="utf-8"), [step.fingerprint for step in self.needs]]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def find_stale(steps: Sequence[Step], state: Path) -> tuple[Step, ...]:
    """Return the steps whose product is missing or was made from something else."""
    return tuple(step for step in steps if _read(state / step.name / _FINGERPRINT) != step.fingerprint)


def run_steps(steps: Sequence[Step], state: Path) -> None:
    """Build every missing or stale product, in order, and print a line with its time. A product is built in a separate folder
    and renamed when complete, so that an interrupted build leaves no partial one.
    """
    for step in steps:
        folder = state / step.name
        fingerprint = step.fingerprint
        if _read(folder / _FINGERPRINT) == fingerprint:
            _say(f"{step.name}: unchanged")
            continue
        began = time.monotonic()
        _say(f"{step.name}: building")
        unfinished = state / f"{step.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        step.make(unfinished)
        (unfinished / _FINGERPRINT).write_text(fingerprint, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        _say(f"{step.name}: done in {time.monotonic() - began:.0f} s")


def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: Path | None = None) -> str:
    """Run a program and return what it prints. Raises SystemExit with its last lines if it fails."""
    with (stdin or Path("/dev/null")).open("rb") as source:
        done = subprocess.run(  # noqa: S603 - argument lists of this folder
            command, cwd=cwd, env=env, stdin=source, capture_output=True, text=True, check=False
        )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        sys.exit(f"{' '.join(command[:3])} ended with status {done.returncode}:\n{last}")
    return done.stdout


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _say(text: str) -> None:
    sys.stderr.write(f"kind-images: {text}\n")
    sys.stderr.flush()
