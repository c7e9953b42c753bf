"""Largest rate without a false loss: on one veth between two namespaces, and through the lab.

Every tool starts at a low rate and climbs. A step that fails is tried twice; the tool stops at the first one that it fails or
cannot reach. hitless must then hold the wanted rate on the veth for ten million probes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.lab.accuracy import make_pair as pair_of_pods
from bench.lab.bare import make_pair
from bench.lab.injection import precedence
from bench.limits import describe_load
from bench.peer_loads import Ends, PeerLoad, load_fping, load_iperf, load_irtt, load_ping
from bench.probing import probe
from bench.question import Question
from bench.tables import Table
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from commands.terminal import print_progress
from hitless.errors import WorldError
from hitless.facts import Endpoint, Flow
from hitless.words import FlowId, FlowRole, JsonObject

WANTED_HZ: Final = 87_000.0
WANTED_PROBES: Final = 10_000_000
_ENDURANCE_S_MAX: Final = 150.0
_ENDURANCE_S_QUICK: Final = 4.0
_TICK_HZ: Final = 100.0
"""Rate of one of our flows; the load grows by flows, as a mesh does."""
_STEP_S: Final = 3.0
_STEP_S_QUICK: Final = 1.0
_TARGETS: Final = 200
"""Addresses at the far end of the veth: fping is best with many."""
_GROWTH_MIN: Final = 1.05
"""A peer whose rate grows by less than this when it is asked for more has found its limit."""
_OURS_HZ: Final = (40_000.0, WANTED_HZ, 120_000.0, 160_000.0, 200_000.0, 250_000.0, 300_000.0)
_OURS_LAB_HZ: Final = (20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0, 120_000.0)
_OURS_QUICK_HZ: Final = (20_000.0, WANTED_HZ)
_OURS_LAB_QUICK_HZ: Final = (10_000.0, 20_000.0)

_IRTT_HZ: Final = 1_000.0
"""A client of irtt does not go much faster; more of it are started."""

LoadPeer = Callable[[Ends, float, float, Path], PeerLoad]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peer:
    """One of the others, and the rates that it is asked for."""

    load: LoadPeer
    rates_hz: tuple[float, ...]
    rates_quick_hz: tuple[float, ...]


def _load_irtt(ends: Ends, rate_hz: float, seconds: float, folder: Path) -> PeerLoad:
    return load_irtt(ends, rate_hz, seconds, folder, clients=math.ceil(rate_hz / _IRTT_HZ))


_PEERS: Final[dict[str, _Peer]] = {
    "fping": _Peer(
        load=load_fping,
        rates_hz=(5_000.0, 20_000.0, 40_000.0, WANTED_HZ, 150_000.0, 250_000.0),
        rates_quick_hz=(10_000.0,),
    ),
    "irtt": _Peer(load=_load_irtt, rates_hz=(1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0), rates_quick_hz=(1_000.0,)),
    "iperf3": _Peer(
        load=load_iperf,
        rates_hz=(40_000.0, WANTED_HZ, 150_000.0, 250_000.0, 400_000.0),
        rates_quick_hz=(20_000.0,),
    ),
    "ping": _Peer(load=load_ping, rates_hz=(100.0, 1_000.0, 5_000.0, 20_000.0), rates_quick_hz=(1_000.0,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """One path to send on."""

    endpoints: tuple[Endpoint, Endpoint]
    namespaces: dict[str, str]
    ends: Ends


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    step_s = _STEP_S_QUICK if is_quick else _STEP_S
    with _veth() as path:
        ours = _climb_ours(path, "veth", _OURS_QUICK_HZ if is_quick else _OURS_HZ, step_s)
        best_hz = max((step["wanted_hz"] for step in ours if step["is_clean"]), default=_OURS_HZ[0])
        seconds = _ENDURANCE_S_QUICK if is_quick else min(_ENDURANCE_S_MAX, WANTED_PROBES / min(best_hz, WANTED_HZ))
        print_progress(f"endurance on one veth: {min(best_hz, WANTED_HZ):,.0f} probes/s for {seconds:.0f} s ...")
        endurance = _load_ours(path, min(best_hz, WANTED_HZ), seconds)
        veth = {"hitless": ours} | _climb_peers(path, "veth", is_quick=is_quick, step_s=step_s)
    with _lab() as path:
        ours = _climb_ours(path, "lab", _OURS_LAB_QUICK_HZ if is_quick else _OURS_LAB_HZ, step_s)
        lab = {"hitless": ours} | ({} if is_quick else _climb_peers(path, "lab", is_quick=False, step_s=step_s))
    return {"paths": {"one veth": veth, "the lab": lab}, "endurance": endurance}


@contextmanager
def _veth() -> Iterator[_Path]:
    with make_pair(_TARGETS) as pair:
        source = Endpoint(name="source", node="source", zone="veth", address=pair.source_address)
        destination = Endpoint(name="destination", node="destination", zone="veth", address=pair.addresses[0])
        yield _Path(
            endpoints=(source, destination),
            namespaces={"source": str(pair.source), "destination": str(pair.destination)},
            ends=Ends(source=pair.source, destination=pair.destination, addresses=pair.addresses),
        )


@contextmanager
def _lab() -> Iterator[_Path]:
    network = LabNetwork(LabSpec())
    network.up()
    try:
        (flow,) = pair_of_pods(network)
        endpoints = {endpoint.name: endpoint for endpoint in network.endpoints}
        source, destination = endpoints[flow.source], endpoints[flow.destination]
        others = [one.address for one in network.endpoints if one.zone == destination.zone and one != destination]
        paths = {name: network.namespace_path(name) for name in (source.name, destination.name)}
        yield _Path(
            endpoints=(source, destination),
            namespaces={name: str(path) for name, path in paths.items()},
            ends=Ends(source=paths[source.name], destination=paths[destination.name], addresses=[destination.address, *others]),
        )
    finally:
        network.down()


def _climb_ours(path: _Path, name: str, rates_hz: Sequence[float], step_s: float) -> list[JsonObject]:
    print_progress(f"largest rate on {name}: hitless ...")
    return _climb(rates_hz, lambda rate_hz: _load_ours(path, rate_hz, step_s))


def _load_ours(path: _Path, rate_hz: float, seconds: float) -> JsonObject:
    source, destination = path.endpoints
    flows = [
        Flow(id=FlowId(number), source=source.name, destination=destination.name, role=FlowRole.MESH)
        for number in range(1, round(rate_hz / _TICK_HZ) + 1)
    ]
    load = probe(path.endpoints, path.namespaces.__getitem__, flows, 1e9 / _TICK_HZ, seconds)
    return {"wanted_hz": rate_hz} | describe_load(load)


def _climb_peers(path: _Path, name: str, *, is_quick: bool, step_s: float) -> JsonObject:
    found: JsonObject = {}
    for tool, peer in _PEERS.items():
        print_progress(f"largest rate on {name}: {tool} ...")
        with precedence():
            found[tool] = _climb_peer(path, peer, peer.rates_quick_hz if is_quick else peer.rates_hz, step_s)
    return found


def _climb_peer(path: _Path, peer: _Peer, rates_hz: Sequence[float], step_s: float) -> list[JsonObject]:
    """Return the steps up to the first that lost something twice, that failed, or that was no faster than the one before."""
    steps: list[JsonObject] = []
    for rate_hz in rates_hz:
        try:
            (step,) = _climb([rate_hz], lambda rate_hz: _load_peer(path, peer, rate_hz, step_s))
        except WorldError as error:
            steps.append({"wanted_hz": rate_hz, "failed": str(error)})
            break
        best_hz = max((before["reached_hz"] for before in steps), default=0.0)
        if step["is_clean"] and step["reached_hz"] < _GROWTH_MIN * best_hz:
            step |= {"is_clean": False, "limit": "it does not send faster"}
        steps.append(step)
        if not step["is_clean"]:
            break
    return steps


def _load_peer(path: _Path, peer: _Peer, rate_hz: float, seconds: float) -> JsonObject:
    with tempfile.TemporaryDirectory() as folder:
        load = peer.load(path.ends, rate_hz, seconds, Path(folder))
    return {
        "wanted_hz": rate_hz,
        "reached_hz": round(load.rate_hz, 1),
        "probes": load.sent,
        "lost": load.lost,
        "is_clean": not load.lost,
        "limit": f"{load.lost:,} lost" if load.lost else "nothing",
    }


def _climb(rates_hz: Sequence[float], measure: Callable[[float], JsonObject]) -> list[JsonObject]:
    """Return the steps up to the first that was not clean twice."""
    steps: list[JsonObject] = []
    for rate_hz in rates_hz:
        step = measure(rate_hz)
        if not step["is_clean"]:
            step = measure(rate_hz)
        steps.append(step)
        if not step["is_clean"]:
            break
    return steps


def _show(document: JsonObject) -> tuple[Table, ...]:
    rows = [_make_cells(where, tool, steps) for where, tools in document["paths"].items() for tool, steps in tools.items()]
    held = document["endurance"]
    return (
        Table(
            title="Largest rate without a false loss, probes per second",
            columns=("path", "tool", "largest clean", "next requested", "reached", "lost", "limit"),
            rows=tuple(rows),
            note=(
                "Clean: nothing lost, and at most one tick in a hundred late (hitless). For the other tools it is the rate "
                "that they reached; the requested rate is raised until that does not help. iperf3 sends one way, which is "
                "half the work. fping refuses more than 65,536 probes in 10 s, so its runs are shorter. If the interval is "
                f"too short, ping sends as soon as it is answered. Aim on the veth: {WANTED_HZ:,.0f}."
            ),
        ),
        Table(
            title="Endurance on one veth",
            columns=(
                "probes/s requested",
                "reached",
                "probes",
                "lost",
                "missed ticks",
                "busiest process",
                "limit",
            ),
            rows=(
                (
                    f"{held['wanted_hz']:,.0f}",
                    f"{held['reached_hz']:,.0f}",
                    f"{held['probes']:,}",
                    f"{held['lost']:,}",
                    f"{held['ticks_missed']:,} ({held['missed_share']:.2%})",
                    f"{max(held['cores'].values()):.0%}",
                    held["limit"],
                ),
            ),
            note="Aim: ten million probes at 87,000 a second, none lost.",
        ),
    )


def _make_cells(where: str, tool: str, steps: Sequence[JsonObject]) -> tuple[str, ...]:
    if "failed" in steps[0]:
        return (where, tool, f"skipped: {steps[0]['failed']}", *[""] * 4)
    # A peer that cannot go faster may have shown its best in that last step; hitless's late ticks are no rate.
    done = [step for step in steps if "failed" not in step]
    clean = [step["reached_hz"] for step in done if step["is_clean"] or (tool != "hitless" and not step["lost"])]
    best = f"{max(clean):,.0f}" if clean else "none"
    last = steps[-1]
    name = f"{last['wanted_hz']:,.0f}"
    if "failed" in last:
        return (where, tool, best, name, "", "", last["failed"])
    if last["is_clean"]:
        return (where, tool, best, "not tried", *[""] * 3)
    return (where, tool, best, name, f"{last['reached_hz']:,.0f}", f"{last['lost']:,}", last["limit"])


RATE: Final = Question(
    name="rate", text="largest rate without a false loss on one veth and through the lab", ask=_ask, show=_show
)
