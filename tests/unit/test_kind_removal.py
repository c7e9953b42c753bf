"""Removal: whatever state the engine is in, what hitless made goes, or one message says what holds it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusters.kind.docker import Docker
from clusters.kind.kept import GONE_S, remove_containers, remove_networks
from hitless.errors import WorldError
from hitless.words import SECOND
from tests.clocks import JumpingClock


@dataclass(slots=True, kw_only=True)
class Network:
    """A network of an engine that may be out of order."""

    names: list[str]
    counted: int
    fades: int
    """How many of those that it counts it forgets with each attempt."""
    lets_go: bool
    """Whether being disconnected helps."""


class Engine(Docker):
    """An engine in memory, which writes down what it is told."""

    def __init__(self, complaint: str = "has active endpoints") -> None:
        super().__init__(Path("docker"))
        self.networks: dict[str, Network] = {}
        self.stuck: set[str] = set()
        self.calls: list[tuple[str, ...]] = []
        self._complaint = complaint

    def hold(self, network: str, *names: str, counted: int | None = None, fades: int = 0, lets_go: bool = True) -> None:
        count = len(names) if counted is None else counted
        self.networks[network] = Network(names=list(names), counted=count, fades=fades, lets_go=lets_go)

    def run(self, *arguments: str, stdin: str | bytes | None = None, timeout_s: float = 60.0) -> str:
        assert stdin is None
        assert timeout_s > 0
        self.calls.append(arguments)
        match arguments:
            case "network", "rm", name:
                self._remove(name)
            case "network", "inspect", *_, name:
                return json.dumps({f"ep-{one}": {"Name": one} for one in self.networks[name].names})
            case "network", "disconnect", "--force", name, holder:
                network = self.networks[name]
                if network.lets_go:
                    network.names.remove(holder)
                    network.counted -= 1
            case "rm", *_, name if name in self.stuck:
                raise WorldError(f"docker rm: {name}: did not receive an exit event")
            case "rm", *_, "gone":
                raise WorldError("docker rm: Error: No such container: gone")
            case _:
                pass
        return ""

    def _remove(self, name: str) -> None:
        if name not in self.networks:
            raise WorldError(f"docker network rm: network {name} not found")
        network = self.networks[name]
        if network.counted:
            network.counted -= network.fades
            raise WorldError(f"docker network rm: error while removing network: network {name} {self._complaint} exit status 1")
        del self.networks[name]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("complaint", ["has active endpoints", "has 2 active endpoints (node-1, node-2)"])
def test_endpoints_that_stay_are_disconnected_by_force_and_the_network_goes(complaint: str) -> None:
    engine = Engine(complaint)
    engine.hold("zone-a", "node-1", "node-2")
    remove_networks(engine, ["zone-a"], JumpingClock())
    forced = [call for call in engine.calls if call[1] == "disconnect"]
    assert [("network", "disconnect", "--force", "zone-a", name) for name in ("node-1", "node-2")] == forced
    assert set() == set(engine.networks)


def test_an_endpoint_that_the_engine_is_still_forgetting_is_waited_for(engine: Engine) -> None:
    engine.hold("zone-a", counted=3, fades=1)
    clock = JumpingClock()
    remove_networks(engine, ["zone-a"], clock)
    assert set() == set(engine.networks)
    assert 0 < clock.now_ns() < GONE_S * SECOND


def test_a_network_that_is_held_for_ever_is_given_up_in_time_and_its_holder_named(engine: Engine) -> None:
    engine.hold("zone-a", "stubborn", lets_go=False)
    engine.hold("zone-b")
    clock = JumpingClock()
    with pytest.raises(
        WorldError, match=r"the network zone-a cannot be removed after 15 s: still connected after the disconnect: stubborn$"
    ):
        remove_networks(engine, ["zone-a", "zone-b"], clock)
    assert clock.now_ns() == GONE_S * SECOND
    assert {"zone-a"} == set(engine.networks)


def test_a_network_with_containers_that_are_gone_needs_a_restart_of_the_engine(engine: Engine) -> None:
    engine.hold("zone-a", counted=1)
    with pytest.raises(WorldError, match=r"zone-a cannot be removed .* it has no container, .* restart the docker engine"):
        remove_networks(engine, ["zone-a"], JumpingClock())


def test_a_network_that_is_gone_already_is_no_error(engine: Engine) -> None:
    engine.hold("zone-b")
    remove_networks(engine, ["zone-a", "zone-b"], JumpingClock())
    assert set() == set(engine.networks)


def test_containers_are_removed_one_after_the_other_and_one_that_stays_keeps_no_other(engine: Engine) -> None:
    engine.stuck = {"second"}
    with pytest.raises(WorldError, match=r"cannot remove 1 of 3 containers: second: .*did not receive an exit event"):
        remove_containers(engine, ["first", "second", "gone"])
    assert [("rm", "--force", "--volumes", name) for name in ("first", "second", "gone")] == engine.calls
