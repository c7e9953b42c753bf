"""An outage in the lab's router, measured by fping and hitless at the same time.

For the test that holds the estimator of fping (bench/estimators) against the real one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analysis.classify import classify
from analysis.measure import Outage, find_outages
from bench.lab.accuracy import make_mesh, probed_lab, wait_live
from bench.lab.drop_switch import DropSwitch
from bench.outputs import read_fping
from bench.programs import Program
from clusters.lab.network import LabNetwork
from hitless.clock import RunClock
from hitless.errors import WorldError
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
_READY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What both said of one outage."""

    outages: tuple[Outage, ...]
    """By hitless, of the flow between the same pods in the same direction."""
    reported_ms: int
    """By `fping -o`."""


def watch_with_fping(length_ms: float, wait_ms: float, period_ms: int, directory: Path) -> Beside:
    """Bring a lab up and drop packets between two pods of different zones for a while; both tools measure. In the sandbox only.

    Args:
        length_ms: how long the outage is, about.
        wait_ms: how long after fping's first answer it begins: the phase.
        period_ms: fping's -p.
        directory: an empty folder for the agents' records.

    Raises:
        MissingCapabilityError: there is no fping.
        WorldError: the lab, the agents or fping failed.
    """
    clock = RunClock()
    with probed_lab(clock) as (network, prober):
        flow = next(one for one in make_mesh(network) if (one.source, one.destination) == (_SOURCE, _DESTINATION))
        prober.start([flow], _PROBING, directory, clock.epoch_ns)
        wait_live(prober)
        reported_ms = _drop_beside(network, length_ms, wait_ms, period_ms, directory / "fping.txt")
        prober.stop()
        records = prober.collect()
    probes = classify(records.sender, records.reflector, _THRESHOLD_NS, is_log_whole=True)
    return Beside(outages=find_outages(flow.id, probes), reported_ms=reported_ms)


def _drop_beside(network: LabNetwork, length_ms: float, wait_ms: float, period_ms: int, output: Path) -> int:
    address = next(endpoint.address for endpoint in network.endpoints if endpoint.name == _DESTINATION)
    switch = DropSwitch(network, [node.address for node in network.nodes])
    count = round(length_ms / period_ms) + _MARGIN_PACKETS
    arguments = ["fping", "-o", "-c", str(count), "-p", str(period_ms), address]
    with Program(arguments, output, network.namespace_path(_SOURCE)) as fping:
        fping.wait_text("[0]", _READY_S)  # its first answer
        time.sleep(wait_ms / 1000)
        switch.drop()
        time.sleep(length_ms / 1000)
        switch.restore()
        fping.wait(count * period_ms / 1000 + _READY_S, allowed=(0, 1))
        (report,) = read_fping(fping.text)
    if report.outage_ms is None:
        raise WorldError("fping reported no outage")
    return report.outage_ms
