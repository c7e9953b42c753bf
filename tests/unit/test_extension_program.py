"""What is recorded of an extension that is a program: from the Network's status and the ManagedResource alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from clusters.lab.kube import MemoryKube
from clusters.programs.extension import RETRY_NS, ExtensionProgram
from clusters.programs.seed_objects import MANAGED_RESOURCE, NETWORK, OPERATION
from gardener.feature_gates import FeatureGates
from gardener.manifests.admission import admit
from gardener.shoot import Shoot
from hitless.words import SECOND, JsonObject, Mode, Nanoseconds
from tests.clocks import JumpingClock
from tests.event_contract import is_in_the_contract
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import make_shoot

WAITING = "Error reconciling Network: waiting for routes to be created on all nodes before disabling overlay"
ON = make_shoot(network={"overlay": {"enabled": True}})


@dataclass
class Seed:
    """The two objects that show what was decided, and the writes that reach the API."""

    network: JsonObject = field(default_factory=lambda: {"metadata": {"name": NETWORK, "generation": 1}, "status": {}})
    written: str | None = "first"
    """Name of the manifest's secret; None: there is no ManagedResource."""
    writes: list[JsonObject] = field(default_factory=list)

    def say(self, state: str, at: int, error: str = "", kind: str = "Reconcile") -> None:
        """Report an operation, as the extension does after each look."""
        operation = {"type": kind, "state": state, "lastUpdateTime": at}
        status: JsonObject = {"lastOperation": operation, "observedGeneration": 1}
        self.network = {**self.network, "status": status | ({"lastError": {"description": error}} if error else {})}

    def call(self, method: str, *_: str, body: JsonObject | None = None, **__: object) -> JsonObject:
        if method == "GET":
            data = {"objects.yaml": base64.b64encode(b"kind: DaemonSet").decode()}
            return {"metadata": {"labels": {"collectable": "true"}}, "data": data}
        assert body is not None
        self.writes.append(body)
        return {}

    def patch(self, path: str, body: JsonObject, **_: str) -> JsonObject:
        return self.call("PATCH", path, body=body)

    def collect(self, _calls: object, _resource: object, kind: str, _namespace: str) -> Any:  # noqa: ANN401 - a Collection
        return Shown(self, kind)


@dataclass
class Shown:
    seed: Seed
    kind: str

    def start(self) -> None:
        """Nothing runs."""

    @property
    def objects(self) -> tuple[JsonObject, ...]:
        if self.kind == "Network":
            return (self.seed.network,)
        if self.seed.written is None:
            return ()
        spec = {"secretRefs": [{"name": self.seed.written}]}
        applied = {"observedGeneration": 1, "conditions": [{"type": "ResourcesApplied", "status": "True"}]}
        return ({"metadata": {"name": MANAGED_RESOURCE, "generation": 1}, "spec": spec, "status": applied},)


class Rig:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_gated: bool = True, shoot: Shoot = ON) -> None:
        self.shoot = shoot
        self.seed, clock = Seed(), JumpingClock()
        monkeypatch.setattr("clusters.programs.extension.Collection", self.seed.collect)
        self.seed.say("Succeeded", 0)
        self.recorder = ListRecorder(clock)
        self.now_ns = Nanoseconds(0)
        self.program = ExtensionProgram(
            cast("Any", self.seed),
            MemoryKube(admit=admit, clock=clock),
            FeatureGates(seamless_overlay_switch=is_gated),
            recorder=self.recorder,
            reconcile_ns=Nanoseconds(3 * SECOND),
            start_process=lambda: cast("Any", None),
        )
        monkeypatch.setattr(self.program, "_installer", self)
        self.program.start(shoot)
        self.program.begin()

    def install_when_served(self, documents: tuple[JsonObject, ...], **_: float) -> None:
        self.install(documents)

    def install(self, documents: tuple[JsonObject, ...]) -> None:
        self.seed.writes += documents

    def ask(self, shoot: Shoot) -> None:
        """Ask for a Shoot, and let gardenlet write its Network."""
        self.program.request(shoot, self.now_ns)
        self.look(3)

    def look(self, after_s: float = 0.1) -> list[tuple[str, object]]:
        self.now_ns = Nanoseconds(round(self.now_ns + after_s * SECOND))
        self.program.reconcile(self.now_ns)
        events, self.recorder.events[:] = list(self.recorder.events), []
        assert all(map(is_in_the_contract, events))
        return [(event.name, event.facts.get("held_ns", event.facts.get("reason"))) for event in events]


def test_a_hold_is_recorded_once_a_look_and_ends_with_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.ask(ON.with_mode(Mode.NATIVE))
    assert rig.look() == []
    seen = []
    for at in (1, 1, 2):
        rig.seed.say("Error", at, WAITING)
        seen.append(rig.look())
    assert seen == [[("gate.held", None)], [], [("gate.held", None)]]
    assert not rig.program.is_settled()
    rig.seed.written = "second"
    ((name, held_ns),) = rig.look()
    assert (name, held_ns) == ("gate.opened", 300_000_000)
    rig.seed.say("Succeeded", 3)
    assert rig.program.is_settled()


def test_a_gate_that_lets_a_switch_pass_at_once_counts_as_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.written = "second"
    assert rig.look() == [("gate.opened", 0)]


def test_without_the_feature_gate_it_does_not_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, is_gated=False)
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.written = "second"
    assert rig.look() == [("gate.not_applicable", "feature-gate-off")]


def test_a_request_that_is_taken_back_while_it_is_held_is_no_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.say("Error", 1, WAITING)
    assert rig.look() == [("gate.held", None)]
    rig.ask(ON)
    rig.seed.say("Succeeded", 2)
    assert rig.look() == [("gate.not_applicable", "no-switch-from-overlay")]


def operations_of(writes: list[JsonObject]) -> list[str]:
    """Return what was asked of the Network, in order."""
    annotations = (write["metadata"].get("annotations") or {} for write in writes)
    return [asked[OPERATION] for asked in annotations if OPERATION in asked]


def test_a_dual_stack_shoot_is_no_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, shoot=make_shoot(network={"overlay": {"enabled": True}}, families=("IPv4", "IPv6")))
    rig.ask(rig.shoot.with_mode(Mode.NATIVE))
    rig.seed.written = "second"
    assert rig.look() == [("gate.not_applicable", "no-switch-from-overlay")]


def test_a_manifest_that_is_compressed_is_no_switch_and_keeps_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.program.compress_manifest()
    secret, managed = rig.seed.writes[-2:]
    assert managed["spec"]["secretRefs"] == [{"name": secret["metadata"]["name"]}]
    assert b"kind: DaemonSet" in base64.b64decode(secret["data"]["data.yaml.br"])
    assert secret["metadata"]["labels"] == {"collectable": "true"}
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.written = "second"
    assert rig.look() == [("gate.not_applicable", "last-manifest-unreadable")]


def test_a_restore_waits_until_the_extension_has_left_and_finds_nothing_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.say("Error", 1, WAITING)
    assert rig.look() == [("gate.held", None)]
    rig.seed.writes.clear()
    rig.program.migrate()
    rig.program.restore(rig.now_ns)
    rig.look(3)
    rig.seed.say("Succeeded", 2, kind="Migrate")
    rig.look()
    assert operations_of(rig.seed.writes) == ["migrate"]
    rig.seed.written = None
    rig.look()
    assert operations_of(rig.seed.writes) == ["migrate", "restore"]
    assert not rig.program.is_settled()
    rig.seed.written = "second"
    assert rig.look() == [("gate.not_applicable", "last-manifest-unreadable")]
    rig.seed.say("Succeeded", 3, kind="Restore")
    assert rig.program.is_settled()


def test_gardenlet_asks_again_after_three_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.ask(ON.with_mode(Mode.NATIVE))
    rig.seed.say("Error", 1, WAITING)
    rig.look()
    rig.seed.writes.clear()
    rig.look(RETRY_NS / SECOND - 1)
    assert rig.seed.writes == []
    rig.look(1)
    assert rig.seed.writes == [{"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}}]
