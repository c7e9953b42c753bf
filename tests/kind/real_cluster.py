"""Runs the suites on a real kind cluster with real Calico, from package registries alone: `python -m tests.kind.real_cluster`.

It first checks what the machine lacks. Then it builds missing and stale images, starts its own docker engine, and uses one
cluster for every run. At the end, containers, networks and engine are removed and limits restored, in every case.

Exit codes: 0 all passed; 77 skipped, because the machine lacks the named requirement; everything else failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from clusters.kind.docker import Docker
from clusters.kind.versions import ROUTER_IMAGE
from tests.kind.engine import running_engine
from tests.kind.host import missing_for_build, missing_for_cluster, needs_runc_filter, raised_limits
from tests.kind.images import pins
from tests.kind.images.__main__ import ALL, state_folder
from tests.kind.images.go_programs import KUBERNETES, RUNC_FILTER
from tests.kind.images.node_image import NODE
from tests.kind.images.steps import find_stale, run_steps
from tests.kind.kind_cases import find_kind

SKIPPED: Final = 77
"""Source: the convention of automake's test driver."""
ROOT: Final = Path(__file__).parents[2]
_LOAD_S: Final = 600.0
_LOADED: Final = "hitless-node-image"
"""File below the engine's root: which node image was loaded last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One pytest session on the cluster."""

    name: str
    arguments: tuple[str, ...]
    ci: tuple[str, ...] | None = ()
    """Further arguments that make it fit into the time of CI; None: it does not fit."""


PARTS: Final = (
    Part(name="nothing-happens", arguments=("suites", "--scenario", "nothing-happens")),
    Part(name="vxlan-covered-switch", arguments=("suites", "--scenario", "vxlan-covered-switch")),
    Part(
        name="conformance",
        arguments=("tests/kind/test_conformance_kind.py",),
        ci=("-k", "both_ends or reach_each_other or agree or unknown_fault"),
    ),
    Part(name="non-privileged", arguments=("tests/kind/test_non_privileged_kind.py",)),
    Part(name="watch", arguments=("tests/kind/test_watch_kind.py",), ci=None),
)


def main() -> int:
    """Run the parts; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.kind.real_cluster", description=__doc__)
    parser.add_argument("--ci", action="store_true", help="only the parts that fit into the time of CI")
    parser.add_argument("--part", action="append", choices=[part.name for part in PARTS], help="only this; may be repeated")
    parser.add_argument("--output", type=Path, help="keep all records in this folder")
    parser.add_argument("pytest", nargs="*", help="more options of pytest, after --")
    options = parser.parse_args()
    wanted = options.part or [part.name for part in PARTS if part.ci is not None or not options.ci]
    parts = [part for part in PARTS if part.name in wanted]
    missing = find_missing()
    if missing:
        say(f"SKIPPED, no real cluster was tested; missing: {'; '.join(missing)}")
        return SKIPPED
    end_by_signals()
    with running_machine() as (docker, process):
        keeping = () if options.output is None else ("--keep", "--output", str(options.output.resolve()))
        more = (*keeping, *options.pytest)
        sessions = {part.name: (*part.arguments, *((part.ci or ()) if options.ci else ()), *more) for part in parts}
        return _run_sessions(sessions, docker, process)


def find_missing() -> tuple[str, ...]:
    """Return all requirements of a real cluster that this machine lacks, by name."""
    return (*missing_for_cluster(), *missing_for_build(find_stale(ALL, state_folder())))


@contextmanager
def running_machine() -> Iterator[tuple[Docker, int]]:
    """Run an engine that has the node image as the sources are now; give its client and the PID of its first process."""
    began = time.monotonic()
    state = state_folder()
    state.mkdir(parents=True, exist_ok=True)
    run_steps(ALL, state)
    say(f"images: {time.monotonic() - began:.0f} s")
    runtime = state / RUNC_FILTER.name / RUNC_FILTER.name if needs_runc_filter() else None
    root = state.parent / "docker"
    with raised_limits(), running_engine(root, runtime) as (docker, process):
        _load_node(docker, state, root)
        yield docker, process


def _run_sessions(sessions: Mapping[str, Sequence[str]], docker: Docker, process: int) -> int:
    """Run every session of pytest, even if others fail; print the duration of each, return the exit code."""
    kind = find_kind()
    assert kind is not None
    given = ["--backend", "kind", "--keep-cluster", "--kind-bin", str(kind), "--overlay", "vxlan"]
    given += ["--kind-kubectl-bin", str(state_folder() / KUBERNETES.name / "kubectl"), "--kind-image", pins.NODE_IMAGE]
    # An INCONCLUSIVE arm on a busy machine is repeated; a FAIL never is.
    given += ["--reruns", "3", "--only-rerun", "AssertionError: INCONCLUSIVE"]
    given += ["--calico-version", pins.CALICO, "--nodes-per-zone", "1", "--rate", "20"]
    inside = ["nsenter", "--target", str(process), "--net", "--"]
    told, failed = [], []
    for name, arguments in sessions.items():
        began = time.monotonic()
        command = [*inside, sys.executable, "-m", "pytest", *given, *arguments]
        done = subprocess.run(command, check=False, cwd=ROOT, env=dict(docker.environment))  # noqa: S603 - fixed words
        is_passed = done.returncode == 0
        told.append(f"{name:<24} {time.monotonic() - began:6.0f} s  {'passed' if is_passed else 'FAILED'}")
        failed += [] if is_passed else [name]
    for line in told:
        say(line)
    return 1 if failed else 0


def _load_node(docker: Docker, state: Path, root: Path) -> None:
    """Load the latest node image into the engine."""
    built = (state / NODE.name / "fingerprint").read_text(encoding="utf-8")
    loaded = root / _LOADED
    if loaded.is_file() and loaded.read_text(encoding="utf-8") == built and docker.has_image(pins.NODE_IMAGE):
        return
    began = time.monotonic()
    docker.run("load", "--quiet", "--input", str(state / NODE.name / "node.tar"), timeout_s=_LOAD_S)
    # The router's is made from the nodes'.
    if docker.has_image(ROUTER_IMAGE):
        docker.run("rmi", ROUTER_IMAGE)
    docker.run("image", "prune", "--force")
    loaded.write_text(built, encoding="utf-8")
    say(f"node image loaded: {time.monotonic() - began:.0f} s")


def end_by_signals() -> None:
    """Let every signal that ends this process end it in order, so that everything that it started is removed."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def say(text: str) -> None:
    sys.stderr.write(f"real-cluster: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
