"""One probing session in a lab that is up, as a history: what tests inject by sequence number they find in the measures."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from hitless.clock import RunClock
from hitless.facts import ClusterFacts, Flow, ProbeSpec
from hitless.history import History, RunHeader
from hitless.words import MILLISECOND, Arm, FlowId, FlowRole, Mode, Nanoseconds, Overlay, Profile

INTERVAL_NS = Nanoseconds(2 * MILLISECOND)
TICKS = 300
THRESHOLD_NS = Nanoseconds(200 * MILLISECOND)
"""Forwarding Delay Threshold of these sessions."""
DRAIN_NS = Nanoseconds(600 * MILLISECOND)
PATIENCE_S = 30.0

TO_REFLECTOR = "udp dport 8620 @th,64,32 {seqs} @th,176,16 {flow}"
"""nft: probes by sequence number and SSID. Source: RFC 8762 4.2.1, RFC 8972 3; the UDP header has 64 bits."""
TO_SENDER = "udp sport 8620 @th,256,32 {seqs} @th,176,16 {flow}"
"""nft: answers by the sender's sequence number and SSID. Source: RFC 8762 4.3.1."""
IN_TUNNEL = "udp dport 4790 @th,304,16 8620 @th,352,32 {seqs} @th,464,16 {flow}"
"""nft: probes inside VXLAN-GPE: outer UDP and GPE header of 8 octets each, inner IP of 20 and UDP of 8."""


def has_nft() -> bool:
    return shutil.which("nft") is not None


def make_flows(*pairs: tuple[str, str]) -> tuple[Flow, ...]:
    return tuple(
        Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)
        for number, (source, destination) in enumerate(pairs, 1)
    )


def inject(namespace: str, hook: str, *rules: str) -> None:
    """Add rules to a base chain of its own at an IPv4 hook, before everything else."""
    script = f"table ip wire_{hook} {{\nchain c {{\ntype filter hook {hook} priority -350;\n{chr(10).join(rules)}\n}}\n}}\n"
    command = ["ip", "netns", "exec", namespace, "nft", "-f", "-"]
    subprocess.run(command, input=script.encode(), check=True)  # noqa: S603 - the test's own words


def drop(match: str, flow: int, first: int, last: int) -> str:
    return match.format(seqs=f"{first}-{last}", flow=flow) + " counter drop"


def probe(lab: LabNetwork, flows: Sequence[Flow], directory: Path) -> History:
    """Probe TICKS ticks, drain, and return what a run would have stored."""
    clock = RunClock()
    prober = LabProber(lab.endpoints, lambda name: str(lab.namespace_path(name)))
    spec = ProbeSpec(
        interval_ns=INTERVAL_NS, drain_ns=DRAIN_NS, duration_ns_max=Nanoseconds(TICKS * INTERVAL_NS), live_answers=5
    )
    before = lab.counters()
    try:
        prober.start(flows, spec, directory, clock.epoch_ns)
        prober._senders["sender"].wait_state("stopped", PATIENCE_S)
    finally:
        prober.stop()
    return History(
        header=_make_header(),
        facts=_make_facts(lab),
        flows=tuple(flows),
        events=(),
        records=prober.collect(),
        counters_before=before,
        counters_after=lab.counters(),
        final_nodes=(),
        final_objects=(),
        errors=(),
    )


def _make_header() -> RunHeader:
    return RunHeader(
        scenario="wire",
        arm=Arm.UNGATED,
        trial=1,
        profile=Profile.FAST,
        overlay=Overlay.IPIP,
        start_mode=Mode.NATIVE,
        wanted_mode=Mode.NATIVE,
        end_mode=Mode.NATIVE,
        interval_ns=INTERVAL_NS,
        forwarding_delay_threshold_ns=THRESHOLD_NS,
        validation_ns=Nanoseconds(0),
        checks={},
        mutant=None,
    )


def _make_facts(lab: LabNetwork) -> ClusterFacts:
    return ClusterFacts(
        backend="lab",
        carrier=lab.carrier,
        nodes=lab.nodes,
        endpoints=lab.endpoints,
        zone_gateways=lab.zone_gateways,
        underlay_mtu=lab.underlay_mtu,
        pod_mtu=lab.pod_mtu,
        permanent_neighbours=False,
        rp_filter=2,
        versions={},
    )
