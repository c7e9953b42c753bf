"""Runs one arm of a scenario in the lab and on a real kind cluster, and prints the events of both side by side.

It shows where the lab's doubles of Calico differ from Calico: `python -m tests.kind.compare`, or with `--stored LAB KIND` from
two runs that were kept. Exit code 77: the machine lacks the named requirement.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from clusters.linux.sandbox import enter_sandbox
from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName, default_runs, make_run_directory
from commands.performers import SwitchName, make_performer
from hitless.store import read_history
from hitless.words import Arm, Capability, Overlay, Profile
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Options, make_case
from tests.kind.images import pins
from tests.kind.images.__main__ import state_folder
from tests.kind.images.go_programs import KUBERNETES
from tests.kind.kind_cases import find_kind
from tests.kind.real_cluster import ROOT, SKIPPED, end_by_signals, find_missing, running_machine, say
from tests.kind.side_by_side import align, read_steps, to_markdown

SIDES: Final = (BackendName.LAB, BackendName.KIND)
RATE_HZ: Final = 20.0


def main() -> int:
    """Run both, or read them; print the table."""
    parser = argparse.ArgumentParser(prog="make kind-compare", description=__doc__)
    parser.add_argument("--scenario", default="vxlan-covered-switch", help="which; it needs the overlay vxlan")
    parser.add_argument("--arm", type=Arm, choices=list(Arm), default=Arm.GATED, help="which arm")
    parser.add_argument("--stored", type=Path, nargs=2, metavar=("LAB", "KIND"), help="run nothing: folders of two runs")
    parser.add_argument("--side", type=BackendName, choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        _run_side(options.side, options.scenario, options.arm, options.output)
        return 0
    if options.stored:
        _tell(*options.stored)
        return 0
    missing = find_missing()
    if missing:
        say(f"SKIPPED, nothing was compared; missing: {'; '.join(missing)}")
        return SKIPPED
    end_by_signals()
    directory = make_run_directory(default_runs(), f"{options.scenario}-side-by-side")
    again = [sys.executable, "-m", "tests.kind.compare", "--scenario", options.scenario, "--arm", options.arm]
    folders = {side: directory / side for side in SIDES}
    words = {side: [*again, "--side", side, "--output", str(folder)] for side, folder in folders.items()}
    subprocess.run(words[BackendName.LAB], check=True, cwd=ROOT)  # noqa: S603 - this module
    with running_machine() as (docker, process):
        inside = ["nsenter", "--target", str(process), "--net", "--", *words[BackendName.KIND]]
        subprocess.run(inside, check=True, cwd=ROOT, env=dict(docker.environment))  # noqa: S603 - this module
    _tell(*folders.values())
    say(f"the records are in {directory}")
    return 0


def _run_side(side: BackendName, name: str, arm: Arm, directory: Path) -> None:
    """Execute the arm on one backend. In the lab, the scenario's need of real Calico is dropped: the lab's Calico is what is
    compared."""
    scenario = load_scenario(find_scenario(name))
    scenario = scenario.model_copy(update={"needs": tuple(one for one in scenario.needs if one != Capability.REAL_CALICO)})
    options = Options(
        profile=Profile.GARDENER, overlay=Overlay.VXLAN, nodes_per_zone=1, rate_hz=RATE_HZ, calico_version=pins.CALICO
    )
    kind = KindOptions(
        cluster_name=DEFAULT_CLUSTER_NAME,
        kind_bin=find_kind(),
        kubectl_bin=state_folder() / KUBERNETES.name / "kubectl",
        image=pins.NODE_IMAGE,
        keep=True,
    )
    backend = make_backend(side, kind)
    case = make_case(scenario, options)
    if backend.needs_sandbox:
        enter_sandbox()
    missing = backend.find_missing(case)
    if missing:
        sys.exit(f"{side} lacks {', '.join(missing)} for {name}")
    judged = execute_trial(backend, make_performer(SwitchName.DOUBLES), case, arm, 1, directory)
    say(f"{side}: {judged.verdict}")


def _tell(lab: Path, kind: Path) -> None:
    first, second = read_history(lab), read_history(kind)
    names = {f"{one.header.scenario} {one.header.arm}, {one.header.profile}" for one in (first, second)}
    if len(names) > 1:
        sys.exit(f"two different runs cannot be compared: {' and '.join(sorted(names))}")
    try:
        rows = align(read_steps(first), read_steps(second))
    except ValueError as error:
        sys.exit(f"{lab} and {kind}: {error}")
    sys.stdout.write(f"{names.pop()}\n\n{to_markdown(rows, SIDES)}")


if __name__ == "__main__":
    sys.exit(main())
