"""CPU per probe, on the loopback of a namespace of its own: only the instrument and the kernel take part.

Every shape has the same aggregate rate for every tool. A probe is a round trip; of hitless and irtt both ends are programs, so
both are counted, while fping is answered by the kernel, on fping's own time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from bench.lab.bare import make_loopback
from bench.peer_loads import Ends, PeerLoad, load_fping, load_irtt
from bench.probing import probe
from bench.question import Question
from bench.tables import Table
from commands.terminal import print_progress
from hitless.errors import WorldError
from hitless.facts import Endpoint, Flow
from hitless.words import FlowId, FlowRole, JsonObject

_SECONDS: Final = 8.0
_SECONDS_QUICK: Final = 1.5
_IRTT_HZ: Final = 1000.0
"""One irtt client at a high rate costs less than many at a low one, so irtt gets as few as can hold the rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Senders, targets and rate of one experiment."""

    name: str
    pods: int
    """Addresses that are probed."""
    is_mesh: bool
    """Every address probes all others; otherwise one more address probes them all."""
    rate_hz: float
    """A flow."""
    aim_us: float | None = None
    """Most that a round trip of hitless should take, both ends."""
    aim_fping: float | None = None
    """Most of fping's CPU that a round trip of hitless should take."""

    @property
    def flows(self) -> int:
        return self.pods * (self.pods - 1) if self.is_mesh else self.pods


_SHAPES: Final = (
    _Shape(name="1 to 1", pods=1, is_mesh=False, rate_hz=1000.0, aim_us=80.0),
    _Shape(name="1 to 3", pods=3, is_mesh=False, rate_hz=100.0, aim_us=66.7),  # 2 % of a core
    _Shape(name="1 to 100", pods=100, is_mesh=False, rate_hz=100.0, aim_fping=1.0),
    _Shape(name="mesh of 11", pods=11, is_mesh=True, rate_hz=100.0, aim_fping=0.5),
)


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    seconds = _SECONDS_QUICK if is_quick else _SECONDS
    rows: list[JsonObject] = []
    for shape in _SHAPES:
        print_progress(f"CPU per probe, {shape.name} at {shape.rate_hz:g} Hz per flow ...")
        with make_loopback() as namespace:
            rows.append(_measure_ours(shape, namespace, seconds))
            rows += [_measure_peer(tool, load, shape, namespace, seconds) for tool, load in _PEERS.items()]
    aims = {shape.name: {"hitless": shape.aim_us, "fping": shape.aim_fping} for shape in _SHAPES}
    return {"rows": rows, "aims": aims}


def _measure_ours(shape: _Shape, namespace: Path, seconds: float) -> JsonObject:
    pods = [Endpoint(name=f"pod-{index}", node="lo", zone="lo", address=address) for index, address in _addresses(shape)]
    source = Endpoint(name="source", node="lo", zone="lo", address="127.0.2.1")
    pairs = permutations(pods, 2) if shape.is_mesh else ((source, pod) for pod in pods)
    flows = [
        Flow(id=FlowId(number), source=here.name, destination=there.name, role=FlowRole.MESH)
        for number, (here, there) in enumerate(pairs, 1)
    ]
    load = probe([source, *pods], lambda _: str(namespace), flows, 1e9 / shape.rate_hz, seconds)
    return _make_row("hitless", shape, load.probes, load.rate_hz, load.lost, load.user_us, load.system_us)


def _addresses(shape: _Shape) -> list[tuple[int, str]]:
    return [(index, f"127.0.1.{index}") for index in range(1, shape.pods + 1)]


def _load_fping(shape: _Shape, namespace: Path, seconds: float, folder: Path) -> PeerLoad:
    addresses = [address for _, address in _addresses(shape)]
    ends = Ends(
        source=namespace, destination=namespace, addresses=addresses, sources=addresses if shape.is_mesh else ["127.0.2.1"]
    )
    # In a mesh no pod probes itself, so the period defines the rate.
    whole_hz = shape.rate_hz * shape.pods * (shape.pods if shape.is_mesh else 1)
    return load_fping(ends, whole_hz, seconds, folder)


def _load_irtt(shape: _Shape, namespace: Path, seconds: float, folder: Path) -> PeerLoad:
    ends = Ends(source=namespace, destination=namespace, addresses=["127.0.0.1"])
    whole_hz = shape.flows * shape.rate_hz
    return load_irtt(ends, whole_hz, seconds, folder, clients=max(1, round(whole_hz / _IRTT_HZ)))


_PEERS: Final[dict[str, Callable[[_Shape, Path, float, Path], PeerLoad]]] = {"fping": _load_fping, "irtt": _load_irtt}


def _measure_peer(
    tool: str, load: Callable[[_Shape, Path, float, Path], PeerLoad], shape: _Shape, namespace: Path, seconds: float
) -> JsonObject:
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = load(shape, namespace, seconds, Path(folder))
    except WorldError as error:
        return {"tool": tool, "shape": shape.name, "skipped": str(error)}
    user_us, system_us = found.user_s * 1e6 / found.sent, found.system_s * 1e6 / found.sent
    return _make_row(tool, shape, found.sent, found.rate_hz, found.lost, user_us, system_us)


def _make_row(tool: str, shape: _Shape, probes: int, rate_hz: float, lost: int, user_us: float, system_us: float) -> JsonObject:
    return {
        "tool": tool,
        "shape": shape.name,
        "flows": shape.flows,
        "wanted_hz": shape.flows * shape.rate_hz,
        "reached_hz": round(rate_hz, 1),
        "probes": probes,
        "lost": lost,
        "user_us": round(user_us, 2),
        "system_us": round(system_us, 2),
    }


def _show(document: JsonObject) -> tuple[Table, ...]:
    ours = {row["shape"]: row for row in document["rows"] if row["tool"] == "hitless"}
    rows = tuple(_make_cells(row, ours[row["shape"]], document["aims"]) for row in document["rows"])
    return (
        Table(
            title="CPU per probe on loopback, us per round trip",
            columns=("shape", "tool", "probes/s", "of", "lost", "user", "system", "both", "hitless : tool", "aim"),
            rows=rows,
            note=(
                "Both ends of hitless and of irtt, which has one client per 1,000 Hz; the kernel answers fping. The kernel "
                "samples user and system time at its tick, so only their sum is exact. The figures of the other tools include "
                "the start of the program."
            ),
        ),
    )


def _make_cells(row: JsonObject, ours: JsonObject, aims: JsonObject) -> tuple[str, ...]:
    if "skipped" in row:
        return (row["shape"], row["tool"], f"skipped: {row['skipped']}", *[""] * 7)
    both, our_both = (one["user_us"] + one["system_us"] for one in (row, ours))
    counts = (f"{row['reached_hz']:,.0f}", f"{row['wanted_hz']:,.0f}", f"{row['lost']}")
    times = (f"{row['user_us']:.1f}", f"{row['system_us']:.1f}", f"{both:.1f}")
    is_ours, aim = row["tool"] == "hitless", aims[row["shape"]].get(row["tool"])
    ratio = "" if is_ours or not both else f"{our_both / both:.2f}"
    return (row["shape"], row["tool"], *counts, *times, ratio, "" if aim is None else f"{aim:g} us" if is_ours else f"{aim:g}")


CPU: Final = Question(name="cpu", text="CPU per probe on loopback beside fping and irtt", ask=_ask, show=_show)
