"""Bring-up and tear-down times of labs: built by hitless's netlink, by `ip -batch` and by mininet, alternately in one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.lab.ip_batch import build_with_ip
from bench.programs import Program, find_program
from bench.question import Question
from bench.tables import Table
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from commands.terminal import print_progress
from hitless.errors import WorldError
from hitless.words import JsonObject

_SETTLE_S_PER_NODE: Final = 0.06
"""Twice what the kernel needs to take a node's namespaces away. Source: clusters/linux/fence.py."""
_MININET_S_PER_NODE: Final = 2.0
"""It takes an eighth of this; more is not waited for."""
_MININET_S_MIN: Final = 30.0
_MININET_LAB: Final = Path(__file__).with_name("mininet_lab.py")
"""Never imported: it runs with another Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    nodes: int
    rounds: int
    mininet_rounds: int


_SIZES: Final = (
    _Size(nodes=4, rounds=5, mininet_rounds=3),
    _Size(nodes=50, rounds=5, mininet_rounds=2),
    _Size(nodes=200, rounds=2, mininet_rounds=1),
)
_SIZES_QUICK: Final = (_Size(nodes=4, rounds=3, mininet_rounds=1), _Size(nodes=20, rounds=1, mininet_rounds=1))


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    return {"rows": [_measure(size) for size in (_SIZES_QUICK if is_quick else _SIZES)]}


def _measure(size: _Size) -> JsonObject:
    print_progress(f"bring-up and tear-down of {size.nodes} nodes, {size.rounds} rounds ...")
    spec = LabSpec(zones=2, nodes_per_zone=size.nodes // 2)
    ups, downs, peers = [], [], []
    skipped: JsonObject = {}
    for _ in range(size.rounds):
        network = LabNetwork(spec)
        _settle(size.nodes)
        ups.append(_time(network.up))
        downs.append(_time(network.down))
        if "ip_batch" not in skipped:
            _settle(size.nodes)
            try:
                peers.append(build_with_ip(network.plan))
            except (OSError, subprocess.CalledProcessError) as error:
                skipped["ip_batch"] = f"ip: {error}"
    mininets = []
    try:
        for _ in range(size.mininet_rounds):
            _settle(size.nodes)
            mininets.append(_build_with_mininet(size.nodes))
    except WorldError as error:
        skipped["mininet"] = str(error)
    return {
        "nodes": size.nodes,
        "up_s": round(statistics.median(ups), 3),
        "down_s": round(statistics.median(downs), 4),
        "ip_batch_up_s": round(statistics.median(peers), 3) if peers else None,
        "mininet_up_s": round(statistics.median(up_s for up_s, _ in mininets), 3) if mininets else None,
        "mininet_down_s": round(statistics.median(down_s for _, down_s in mininets), 3) if mininets else None,
        "skipped": skipped,
    }


def _settle(nodes: int) -> None:
    """Let the kernel finish: it removes namespaces in the background and holds the routing lock meanwhile."""
    time.sleep(_SETTLE_S_PER_NODE * nodes)


def _time(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _build_with_mininet(nodes: int) -> tuple[float, float]:
    """Return the seconds that mininet took for bring-up and for tear-down. Raises WorldError."""
    # Whatever Python `mn` runs with has the library.
    interpreter = Path(find_program("mn")).read_bytes().splitlines()[0].removeprefix(b"#!").decode().split()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*interpreter, str(_MININET_LAB), str(nodes)]
        with Program(arguments, Path(folder) / "mininet.txt") as program:
            program.wait(_MININET_S_MIN + _MININET_S_PER_NODE * nodes)
            try:
                said = json.loads(program.text.splitlines()[-1])
                return float(said["up_s"]), float(said["down_s"])
            except (ValueError, KeyError, IndexError) as error:
                raise WorldError(f"mininet did not print its times: {program.text[-200:].strip()}") from error


def _show(document: JsonObject) -> tuple[Table, ...]:
    rows = tuple(
        (
            f"{row['nodes']}",
            f"{row['up_s']:.3f}",
            f"{row['down_s']:.4f}",
            *_beside(row, "ip_batch", row["ip_batch_up_s"]),
            *_beside(row, "mininet", row["mininet_up_s"]),
            "" if row["mininet_down_s"] is None else f"{row['mininet_down_s']:.2f}",
        )
        for row in document["rows"]
    )
    return (
        Table(
            title="Labs: median seconds",
            columns=(
                "nodes",
                "up",
                "down returns",
                "ip -batch up",
                "hitless : it",
                "mininet up",
                "hitless : it",
                "mininet down",
            ),
            rows=rows,
            note=(
                "ip -batch builds the same lab without its settings; mininet builds the same namespaces and links without "
                "addresses, routes and tunnels. After down, the kernel works on in the background; the next up waits for it."
            ),
        ),
    )


def _beside(row: JsonObject, peer: str, up_s: float | None) -> tuple[str, str]:
    if peer in row["skipped"]:
        return f"skipped: {row['skipped'][peer]}", ""
    if up_s is None:
        return "", ""
    return f"{up_s:.3f}", f"{row['up_s'] / up_s:.2f}"


BRINGUP: Final = Question(name="bringup", text="bring-up and tear-down beside ip -batch and mininet", ask=_ask, show=_show)
