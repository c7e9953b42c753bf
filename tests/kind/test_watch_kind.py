"""The command line of `hitless watch` on a real cluster that someone else switches, and what a killed watch leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kind.cluster import CalicoCluster, make_kind_cluster
from clusters.kind.versions import PROBER_IMAGE
from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.installer import Installer
from hitless.clock import RunClock
from hitless.errors import NotFoundError
from hitless.facts import ClusterFacts
from hitless.loop import Loop
from hitless.words import SECOND, Arm, FlowSet, Nanoseconds
from scenarios.plan import make_plan
from tests.kind.real_machine import Machine
from tests.recorders import ListRecorder

SWITCH_NS = Nanoseconds(240 * SECOND)
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hitless"}}


@pytest.fixture
def cluster(machine: Machine, clock: RunClock) -> Iterator[tuple[CalicoCluster, ClusterFacts]]:
    """A cluster without probers, in OVERLAY."""
    flows = type(machine.case.scenario.flows)(fast=(FlowSet.UDP,), gardener=(FlowSet.UDP,))
    case = replace(machine.case, scenario=machine.case.scenario.model_copy(update={"flows": flows}))
    made = make_kind_cluster(case, clock, machine.options)
    facts = made.up()
    try:
        made.prober.remove()
        yield made, facts
    finally:
        made.down()


def hitless(*words: str) -> list[str]:
    return [sys.executable, "-m", "commands.main", *words]


@contextmanager
def watching(machine: Machine, output: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a watch, and return it when every flow is answered."""
    options = (
        "--kubeconfig",
        str(kubeconfig_of(machine)),
        "--image",
        PROBER_IMAGE,
        "--output",
        str(output),
        "--expect",
        "NATIVE",
    )
    limits = ("--until-seconds", "300", "--until-idle", "15")
    command = hitless("watch", *options, *limits)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - the words above
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if "run.live" in line:
                break
        else:
            pytest.fail("".join(told))
        try:
            yield process
        finally:
            process.kill()


def kubeconfig_of(machine: Machine) -> Path:
    return Path.cwd() / ".pytest-kind" / machine.options.cluster_name / "kubeconfig"


def is_there(machine: Machine) -> bool:
    """Whether the namespace of the probers is in the cluster."""
    calls = connect(kubeconfig_of(machine))
    try:
        Installer(calls).get(NAMESPACE)
    except NotFoundError:
        return False
    finally:
        calls.close()
    return True


def test_a_watch_sees_a_switch_of_someone_else_and_leaves_nothing_in_the_cluster(
    machine: Machine, cluster: tuple[CalicoCluster, ClusterFacts], clock: RunClock, tmp_path: Path
) -> None:
    standing, facts = cluster
    with watching(machine, tmp_path) as process:
        switch = make_plan(machine.case, Arm.GATED, 1, clock).make_switch(standing, facts, ListRecorder(clock))
        switch.request(0)
        participants = (*switch.participants, *standing.participants(ListRecorder(clock)))
        deadline_ns = Nanoseconds(clock.now_ns() + SWITCH_NS)
        loop = Loop(participants, standing.kube, clock)
        assert loop.run(lambda: all(one.is_settled() for one in participants), deadline_ns)
        said, progress = process.communicate(timeout=120)
    assert process.returncode == 0, progress + said
    assert "PASS" in said
    names = [
        json.loads(line)["name"] for path in tmp_path.rglob("events.jsonl") for line in path.read_text().splitlines() if line
    ]
    assert {"switch.requested", "roll.started", "roll.finished"} <= set(names)
    assert [path.name for path in tmp_path.rglob("report.*")]
    assert not is_there(machine)


def test_clean_removes_the_probers_of_a_watch_that_was_killed(
    machine: Machine, cluster: tuple[CalicoCluster, ClusterFacts], tmp_path: Path
) -> None:
    assert cluster[1].nodes
    with watching(machine, tmp_path) as process:
        process.kill()
        process.wait()
    assert is_there(machine)
    command = hitless("clean", "--kubeconfig", str(kubeconfig_of(machine)))
    for said in ("removed the probers", "nothing to remove"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
        assert not is_there(machine)
