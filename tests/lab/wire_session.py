"""One probing session in a lab that is up, as a history: tests inject by sequence number, and find the same in the measures."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clusters.agent_groups import PROCESS
from clusters.lab.network import LabNetwork
from clusters.lab.prober import LabProber
from hitless.clock import RunClock
from hitless.facts import Flow, ProbeSpec
from hitless.history import History
from hitless.words import MILLISECOND, Arm, FlowId, FlowRole, Mode, Nanoseconds
from tests.lab.kernels import IS_USER_MODE
from tests.unit.histories import facts, header

SLOWNESS = 10 if IS_USER_MODE else 1
INTERVAL_NS = Nanoseconds(2 * SLOWNESS * MILLISECOND)
TICKS = 300
THRESHOLD_NS = Nanoseconds(200 * SLOWNESS * MILLISECOND)
"""Forwarding Delay Threshold of these sessions."""
DRAIN_NS = Nanoseconds(600 * SLOWNESS * MILLISECOND)
PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a rule knows probes by sequence number and SSID: offsets from the outermost IP header, which has 20 octets."""

    protocol: str
    ports: str
    """What follows the protocol: `dport 8620`; empty: any."""
    inner_port: tuple[int, int] | None = None
    """Offset of the inner UDP header's destination port in octets, and the port; None: there is no inner header."""
    seq: int
    """Offset of the sender's sequence number, octets. Source: RFC 8762 4.2.1, 4.3.1."""
    flow: int
    """Offset of the SSID, octets. Source: RFC 8972 3."""


TO_REFLECTOR = Match(protocol="udp", ports="dport 8620", seq=28, flow=42)
TO_SENDER = Match(protocol="udp", ports="sport 8620", seq=52, flow=42)
"""Answers."""
IN_TUNNEL = {
    "ipip": Match(protocol="4", ports="", inner_port=(42, 8620), seq=48, flow=62),
    # Outer UDP and the GPE header have 8 octets each.
    "vxlan-gpe": Match(protocol="udp", ports="dport 4790", inner_port=(58, 8620), seq=64, flow=78),
}
"""Probes inside a tunnel, by its carrier."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One rule: probes of a flow, from one sequence number to another."""

    match: Match
    flow: int
    first: int
    last: int

    def as_nft(self) -> str:
        match = self.match
        words = [f"ip protocol {match.protocol}", *([f"{match.protocol} {match.ports}"] if match.ports else [])]
        if match.inner_port is not None:
            words.append(f"@nh,{8 * match.inner_port[0]},16 {match.inner_port[1]}")
        return " ".join(
            [*words, f"@nh,{8 * match.seq},32 {self.first}-{self.last}", f"@nh,{8 * match.flow},16 {self.flow} drop"]
        )

    def as_iptables(self) -> list[str]:
        match = self.match
        ports = [f"--{word}" if word.endswith("port") else word for word in match.ports.split()]
        halves = [(match.flow, self.flow), *([] if match.inner_port is None else [match.inner_port])]
        tests = [f"{offset - 2}&0xFFFF=0x{value:x}" for offset, value in halves]
        u32 = "&&".join([f"{match.seq}=0x{self.first:x}:0x{self.last:x}", *tests])
        return ["-p", match.protocol, *ports, "-m", "u32", "--u32", u32, "-j", "DROP"]


_TABLES = {"prerouting": "raw", "input": "filter", "forward": "filter", "output": "raw", "postrouting": "mangle"}
"""Hook to the table of iptables that has it."""


def has_rules() -> bool:
    """Return whether there is a program for netfilter's rules; which one works depends on the kernel."""
    return any(shutil.which(program) for program in ("nft", "iptables-legacy"))


def drop(match: Match, flow: int, first: int, last: int) -> Drop:
    return Drop(match=match, flow=flow, first=first, last=last)


def inject(namespace: str, hook: str, *drops: Drop) -> None:
    """Add rules to an IPv4 hook by nft, or by iptables if the kernel has no nft."""
    rules = "\n".join(one.as_nft() for one in drops)
    script = f"table ip wire_{hook} {{\nchain c {{\ntype filter hook {hook} priority -350;\n{rules}\n}}\n}}\n"
    inside = ["ip", "netns", "exec", namespace]
    nft = [*inside, "nft", "-f", "-"]
    if subprocess.run(nft, input=script.encode(), check=False).returncode == 0:  # noqa: S603 - the test's own words
        return
    for one in drops:
        rule = ["iptables-legacy", "--wait", "--table", _TABLES[hook], "--append", hook.upper(), *one.as_iptables()]
        subprocess.run([*inside, *rule], check=True)  # noqa: S603 - as above


def make_flows(*pairs: tuple[str, str]) -> tuple[Flow, ...]:
    return tuple(
        Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)
        for number, (source, destination) in enumerate(pairs, 1)
    )


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
        prober._senders[PROCESS].wait_state("stopped", PATIENCE_S)
    finally:
        prober.stop()
    return History(
        header=header(
            arm=Arm.UNGATED,
            start_mode=Mode.NATIVE,
            interval_ns=INTERVAL_NS,
            forwarding_delay_threshold_ns=THRESHOLD_NS,
            validation_ns=Nanoseconds(0),
            checks={},
        ),
        facts=replace(
            facts(),
            carrier=lab.carrier,
            nodes=lab.nodes,
            endpoints=lab.endpoints,
            zone_gateways=lab.zone_gateways,
            underlay_mtu=lab.underlay_mtu,
            pod_mtu=lab.pod_mtu,
        ),
        flows=tuple(flows),
        events=(),
        records=prober.collect(),
        counters_before=before,
        counters_after=lab.counters(),
        final_nodes=(),
        final_objects=(),
        errors=(),
    )
