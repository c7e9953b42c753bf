"""When a route controller that is a program has nothing left to do, and when it never became ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clusters.lab.kube import MemoryKube
from clusters.programs.route_controller import RouteControllerProgram
from gardener.conditions import calico_is_up, route_condition
from gardener.manifests.admission import admit
from gardener.timings import TIMINGS
from hitless.errors import WorldError
from hitless.facts import CloudRoute
from hitless.words import SECOND, JsonObject, Nanoseconds, Profile
from tests.clocks import JumpingClock
from tests.unit.fakes_gardener import MemoryTables

CIDR = "100.96.0.0/24"
TIMES = TIMINGS[Profile.GARDENER]


class Rig:
    def __init__(self, logs: Path) -> None:
        program = logs / "program"
        program.write_text("#!/bin/sh\necho starting\nexec sleep 600\n", encoding="utf-8")
        program.chmod(0o755)
        self.ec2 = SimpleNamespace(url="http://127.0.0.1:1", calls=0, answered_ns=Nanoseconds(0))
        self.server = SimpleNamespace(
            kubeconfig="kubeconfig", shoot_kubeconfig="shoot-kubeconfig", is_shoot_away=False, logs=logs
        )
        self.tables = MemoryTables()
        self.kube = MemoryKube(admit=admit, clock=JumpingClock())
        self.program = RouteControllerProgram(
            program,
            cast("Any", self.server),
            cast("Any", self.ec2),
            kube=self.kube,
            tables=self.tables,
            pod_cidr="100.96.0.0/11",
            timings=TIMES,
            replicas=0,
        )

    def write_node(self, condition: JsonObject) -> None:
        node = {
            "kind": "Node",
            "metadata": {"name": "node-a1"},
            "spec": {"podCIDR": CIDR},
            "status": {"conditions": [condition]},
        }
        self.kube.apply(node, actor="test")
        self.kube.replace_status(node, actor="test")

    def start(self) -> Nanoseconds:
        """Scale the program up, and return when it was started."""
        self.program.scale(1, Nanoseconds(0))
        started_ns = TIMES.route_controller_start_ns
        self.program.reconcile(started_ns)
        return started_ns


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.program.stop()


def test_it_is_settled_while_it_does_not_run(rig: Rig) -> None:
    rig.write_node(calico_is_up())
    assert rig.program.is_settled()
    rig.start()
    assert not rig.program.is_settled()
    rig.program.set_away(is_away=True, at_ns=Nanoseconds(0))
    assert rig.program.is_settled()


def test_it_is_settled_once_tables_and_conditions_say_so(rig: Rig) -> None:
    started_ns = rig.start()
    rig.write_node(route_condition(is_created=True))
    rig.ec2.answered_ns = started_ns
    rig.program.reconcile(started_ns)
    assert not rig.program.is_settled()
    for zone in rig.tables.zones():
        rig.tables.create(CloudRoute(zone=zone, cidr=CIDR, node="node-a1"))
    assert rig.program.is_settled()


def test_a_condition_that_calico_overwrote_is_waited_for_two_ticks(rig: Rig) -> None:
    started_ns = rig.start()
    rig.write_node(calico_is_up())
    for zone in rig.tables.zones():
        rig.tables.create(CloudRoute(zone=zone, cidr=CIDR, node="node-a1"))
    rig.ec2.answered_ns = started_ns
    rig.program.reconcile(started_ns)
    assert not rig.program.is_settled()
    rig.program.reconcile(Nanoseconds(started_ns + 2 * TIMES.route_controller_tick_ns))
    assert rig.program.is_settled()


def test_a_program_that_calls_nothing_for_a_minute_never_became_ready(rig: Rig) -> None:
    started_ns = rig.start()
    rig.program.reconcile(Nanoseconds(started_ns + 59 * SECOND))
    with pytest.raises(WorldError, match="never became ready: no call to EC2 within 60 s"):
        rig.program.reconcile(Nanoseconds(started_ns + 60 * SECOND))


def test_the_minute_begins_once_the_shoots_api_is_there(rig: Rig) -> None:
    rig.server.is_shoot_away = True
    back_ns = Nanoseconds(rig.start() + 60 * SECOND)
    rig.program.reconcile(back_ns)
    rig.server.is_shoot_away = False
    rig.program.reconcile(Nanoseconds(back_ns + 59 * SECOND))
    with pytest.raises(WorldError, match="never became ready"):
        rig.program.reconcile(Nanoseconds(back_ns + 60 * SECOND))
