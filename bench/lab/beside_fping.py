"""An outage in the lab's router that fping and hitless watch side by side: what did each say?

For the test that holds the estimator of fping (reports/estimators) against the real one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analysis.classify import classify
from analysis.measure import Outage, find_outages
from bench.lab.accuracy import make_mesh, wait_live
from bench.lab.drop_switch import DropSwitch
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from clusters.lab.spec import LabSpec
from clusters.linux.namespaces import inside
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, WorldError
from hitless.facts import ProbeSpec
from hitless.words import MILLISECOND, SECOND, Nanoseconds

_SOURCE: Final = "node-a1-mesh"
_DESTINATION: Final = "node-b1-mesh"
_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)
_PROBING: Final = ProbeSpec(
    interval_ns=Nanoseconds(5 * MILLISECOND), drain_ns=_THRESHOLD_NS, duration_ns_max=Nanoseconds(60 * SECOND)
)
_MARGIN_PACKETS: Final = 6
"""fping sends this many more than the outage is long: at least one of them is answered after it."""
_OUTAGE_MS: Final = re.compile(r"outage\(ms\) = (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What both said of one outage."""

    outages: tuple[Outage, ...]
    """By hitless, of the flow between the same pods in the same direction."""
    reported_ms: int
    """By `fping -o`."""


def has_fping() -> bool:
    """Return whether there is an fping to run."""
    return shutil.which("fping") is not None


def watch_with_fping(length_ms: float, wait_ms: float, period_ms: int, directory: Path) -> Beside:
    """Bring a lab up, drop for a while what goes between two pods of different zones, and let both watch. In the sandbox only.

    Args:
        length_ms: how long the outage is, about.
        wait_ms: how long after fping's first answer it begins: the phase.
        period_ms: fping's -p.
        directory: an empty folder for the agents' records.

    Raises:
        MissingCapabilityError: there is no fping.
        WorldError: the lab, the agents or fping failed.
    """
    if not has_fping():
        raise MissingCapabilityError("fping is not on PATH; install fping (Debian)")
    clock = RunClock()
    network = LabNetwork(LabSpec(), clock)
    network.up()
    prober = LabProber(network.endpoints, lambda name: str(network.namespace_path(name)))
    try:
        flow = next(one for one in make_mesh(network) if (one.source, one.destination) == (_SOURCE, _DESTINATION))
        prober.start([flow], _PROBING, directory, clock.epoch_ns)
        wait_live(prober)
        reported_ms = _drop_beside(network, length_ms, wait_ms, period_ms)
        prober.stop()
        records = prober.collect()
    finally:
        prober.stop()
        network.down()
    probes = classify(records.sender, records.reflector, _THRESHOLD_NS, is_log_whole=True)
    return Beside(outages=find_outages(flow.id, probes), reported_ms=reported_ms)


def _drop_beside(network: LabNetwork, length_ms: float, wait_ms: float, period_ms: int) -> int:
    address = next(endpoint.address for endpoint in network.endpoints if endpoint.name == _DESTINATION)
    switch = DropSwitch(network, [node.address for node in network.nodes])
    count = round(length_ms / period_ms) + _MARGIN_PACKETS
    command = ["fping", "-o", "-c", str(count), "-p", str(period_ms), address]
    with inside(network.namespace_path(_SOURCE)):
        fping = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - fping from PATH
    with fping:
        try:
            assert fping.stdout is not None  # noqa: S101 - asked for above
            fping.stdout.readline()  # its first answer
            time.sleep(wait_ms / 1000)
            switch.drop()
            time.sleep(length_ms / 1000)
            switch.restore()
            _, said = fping.communicate(timeout=count * period_ms / 1000 + 10)
        finally:
            fping.kill()
    found = _OUTAGE_MS.search(said)
    if found is None:
        raise WorldError(f"fping reported no outage: {said.strip()}")
    return int(found[1])
