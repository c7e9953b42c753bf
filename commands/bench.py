"""`hitless bench`: what the instrument can do on this machine, measured.

Four questions: how accurate, at what CPU a probe, up to which mesh without a false loss, and how fast labs come and go, the
last against `ip -batch` in the same run. Times are this machine's at this moment: compare ratios.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from clusters.lab.accuracy import Accuracy, make_mesh, measure_accuracy, wait_live
from clusters.lab.ip_batch import build_with_ip
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from clusters.lab.sandbox import enter_sandbox
from clusters.lab.spec import LabSpec
from commands.settings import RUNS, make_run_directory
from commands.terminal import print_progress, print_table
from hitless.clock import RunClock
from hitless.ports import ProbeSpec
from hitless.records import ProbeRecords
from hitless.store import write_json
from hitless.words import SECOND, Nanoseconds

MESH_RATE_HZ: Final = 25
_DRAIN_NS: Final = Nanoseconds(2 * SECOND)
_SETTLE_S_PER_NODE: Final = 0.06
"""Twice what the kernel needs to take a node's namespaces away. Source: clusters/lab/fence.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One mesh under load."""

    nodes: int
    flows: int
    rate_hz: float
    seconds: float
    probes: int
    lost: int
    ticks_missed: int
    user_us: float
    """CPU of both agents in user mode, a probe (a round trip), us."""
    system_us: float
    """The same in the kernel; includes what softirqs do on their time."""
    machine_us: float
    """CPU of the whole machine, a probe, us."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost and at most one tick in a hundred was late."""
        return self.lost == 0 and self.ticks_missed <= 0.01 * self.rate_hz * self.seconds


def run_bench(*, is_quick: bool) -> None:
    """Run everything, print tables, store `bench.json`."""
    enter_sandbox()
    directory = make_run_directory(RUNS, "bench")
    accuracy = [_measure_accuracy(rate, 20 if is_quick else 100) for rate in (200.0, 1000.0)]
    _print_accuracy(accuracy)
    cpu = [_measure_load(2, rate, 2 if is_quick else 5) for rate in (200.0, 1000.0)]
    _print_loads("CPU a probe, 4 nodes, 12 flows", cpu)
    meshes = _measure_meshes((5, 15) if is_quick else (5, 10, 15, 18, 21, 24), 2 if is_quick else 5)
    _print_loads(f"Largest mesh without a false loss, {MESH_RATE_HZ} Hz a flow", meshes)
    sizes = ((4, 3), (50, 3)) if is_quick else ((4, 5), (50, 5), (200, 2))
    builds = [_measure_build(nodes, rounds) for nodes, rounds in sizes]
    _print_builds(builds)
    document = {
        "schema": "hitless.bench/1",
        "accuracy": accuracy,
        "cpu": [asdict(load) for load in cpu],
        "meshes": [asdict(load) | {"is_clean": load.is_clean} for load in meshes],
        "builds": builds,
    }
    write_json(directory / "bench.json", document)
    print_progress(f"written: {directory / 'bench.json'}")


def _measure_accuracy(rate_hz: float, count: int) -> dict[str, float]:
    print_progress(f"accuracy at {rate_hz:g} Hz: {count} outages of 5 ms to 2 s ...")
    with tempfile.TemporaryDirectory() as folder:
        found: Accuracy = measure_accuracy(rate_hz, count, Path(folder))
    errors = [sample.error_ns / found.interval_ns for sample in found.samples if sample.error_ns is not None]
    return {
        "rate_hz": rate_hz,
        "outages": count,
        "samples": len(found.samples),
        "wrong": sum(not sample.holds for sample in found.samples),
        "unseen": sum(sample.outage is None for sample in found.samples),
        "false": len(found.false_outages),
        "ticks_missed": found.ticks_missed,
        "error_intervals_mean": statistics.fmean(abs(error) for error in errors),
        "error_intervals_max": max(abs(error) for error in errors),
        "bias_intervals": statistics.fmean(errors),
    }


@contextmanager
def _lab(nodes: int) -> Iterator[LabNetwork]:
    network = LabNetwork(LabSpec(zones=2, nodes_per_zone=nodes // 2))
    network.up()
    try:
        yield network
    finally:
        network.down()


def _measure_load(nodes_per_zone: int, rate_hz: float, seconds: float) -> Load:
    nodes = 2 * nodes_per_zone
    print_progress(f"{nodes} nodes, {nodes * (nodes - 1)} flows at {rate_hz:g} Hz for {seconds:g} s ...")
    clock = RunClock()
    with _lab(nodes) as network, tempfile.TemporaryDirectory() as folder:
        prober = LabProber(network.endpoints, lambda name: str(network.namespace_path(name)))
        probing = ProbeSpec(
            interval_ns=Nanoseconds(round(SECOND / rate_hz)),
            drain_ns=_DRAIN_NS,
            duration_ns_max=Nanoseconds(120 * SECOND),
        )
        try:
            flows = make_mesh(network)
            prober.start(flows, probing, Path(folder), clock.epoch_ns)
            wait_live(prober)
            busy_s = _machine_busy_s()
            began = time.monotonic()
            time.sleep(seconds)
            busy_s, lasted = _machine_busy_s() - busy_s, time.monotonic() - began
            prober.stop()
            records = prober.collect()
        finally:
            prober.stop()
    return _make_load(records, nodes, len(flows), rate_hz, lasted, busy_s)


def _make_load(records: ProbeRecords, nodes: int, flows: int, rate_hz: float, seconds: float, busy_s: float) -> Load:
    sender = records.sender
    probes = int(sender.size)
    cpu_us = {
        name: sum(report.counters[f"cpu_{name}_ns"] for report in records.reports) / 1000 / probes
        for name in ("user", "system")
    }
    return Load(
        nodes=nodes,
        flows=flows,
        rate_hz=rate_hz,
        seconds=round(seconds, 2),
        probes=probes,
        lost=int((sender["copies"] == 0).sum()),
        ticks_missed=int(records.skipped.size),
        user_us=round(cpu_us["user"], 2),
        system_us=round(cpu_us["system"], 2),
        machine_us=round(busy_s / (flows * rate_hz * seconds) * 1e6, 2),
    )


def _measure_meshes(sizes: tuple[int, ...], seconds: float) -> list[Load]:
    """Grow the mesh until it is no longer clean, twice in a row: one bad second is the machine's."""
    loads: list[Load] = []
    for size in sizes:
        load = _measure_load(size, MESH_RATE_HZ, seconds)
        if not load.is_clean:
            load = _measure_load(size, MESH_RATE_HZ, seconds)
        loads.append(load)
        if not load.is_clean:
            break
    return loads


def _machine_busy_s() -> float:
    """Return the CPU time that all cores have spent on something, s. Source: proc(5), /proc/stat."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, _ = fields
    return (user + nice + system + irq + softirq) / 100


def _measure_build(nodes: int, rounds: int) -> dict[str, float]:
    """Build and take down, by turns with `ip -batch` doing the same."""
    print_progress(f"bring-up and tear-down of {nodes} nodes, {rounds} rounds ...")
    spec = LabSpec(zones=2, nodes_per_zone=nodes // 2)
    ups, downs, peers = [], [], []
    for _ in range(rounds):
        network = LabNetwork(spec)
        # The kernel takes namespaces away in the background, and holds the routing lock meanwhile: let it finish first.
        time.sleep(_SETTLE_S_PER_NODE * nodes)
        ups.append(_time(network.up))
        downs.append(_time(network.down))
        time.sleep(_SETTLE_S_PER_NODE * nodes)
        peers.append(build_with_ip(network.plan))
    return {
        "nodes": nodes,
        "up_s": round(statistics.median(ups), 3),
        "down_s": round(statistics.median(downs), 3),
        "ip_batch_up_s": round(statistics.median(peers), 3),
        "up_to_ip_batch": round(statistics.median(up / peer for up, peer in zip(ups, peers, strict=True)), 3),
    }


def _time(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _print_accuracy(rows: list[dict[str, float]]) -> None:
    names = ("samples", "wrong", "unseen", "false", "ticks_missed")
    print_table(
        "Accuracy: injected outages against measured bounds",
        ("rate", "outages x flows", "bounds wrong", "unseen", "false", "missed ticks", "error mean", "error max", "bias"),
        (
            (
                f"{row['rate_hz']:g} Hz",
                *(f"{row[name]:g}" for name in names),
                f"{row['error_intervals_mean']:.2f}",
                f"{row['error_intervals_max']:.2f}",
                f"{row['bias_intervals']:+.2f}",
            )
            for row in rows
        ),
        "errors in probe intervals: middle of the measured bounds - middle of the true ones",
    )


def _print_loads(title: str, loads: list[Load]) -> None:
    print_table(
        title,
        ("nodes", "flows", "probes/s", "probes", "lost", "missed ticks", "agents user", "agents system", "machine"),
        (
            (
                f"{load.nodes}",
                f"{load.flows}",
                f"{load.flows * load.rate_hz:,.0f}",
                f"{load.probes:,}",
                f"{load.lost}",
                f"{load.ticks_missed}",
                f"{load.user_us:.1f}",
                f"{load.system_us:.1f}",
                f"{load.machine_us:.1f}",
            )
            for load in loads
        ),
        "CPU in us a round trip; machine: everything that runs on it meanwhile",
    )


def _print_builds(builds: list[dict[str, float]]) -> None:
    names = ("nodes", "up_s", "down_s", "ip_batch_up_s", "up_to_ip_batch")
    print_table(
        "Labs: median seconds",
        ("nodes", "up", "down", "ip -batch up", "up : ip -batch"),
        ([f"{build[name]:g}" for name in names] for build in builds),
    )
