"""TCP flows through the lab: the effect of an outage, and of the far end's death, on connections."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from analysis.connections import Complaint, ConnectionMeasure, StallEnd, judge_flow
from bench.lab.drop_switch import DropSwitch
from clusters.lab.network import LabNetwork
from hitless.records import ConnectionEvent, ProbeRecords, encode_address, read_agents, read_record
from hitless.words import SECOND, FlowClass, Nanoseconds
from probes.settings import AgentSettings, EndpointSettings, FlowSettings

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
INTERVAL_NS = 50_000_000
THRESHOLD_NS = Nanoseconds(2 * SECOND)
OUTAGE_S = 0.6
CLASSES = (FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT)


@dataclass(frozen=True)
class Probing:
    """Agents between the mesh pods of a lab: `sender` sends, others answer."""

    lab: LabNetwork
    directory: Path
    epoch_ns: int
    running: list[subprocess.Popen[bytes]]

    @property
    def flows(self) -> tuple[FlowSettings, ...]:
        """Both classes between every two mesh pods."""
        pods = [node.mesh for node in self.lab.plan.nodes]
        pairs = [(flow_class, *pair) for flow_class in CLASSES for pair in permutations(pods, 2)]
        return tuple(
            FlowSettings(
                id=number,
                ssid=number,
                source=source.name,
                source_address=source.address,
                destination=destination.name,
                destination_address=destination.address,
                flow_class=flow_class,
            )
            for number, (flow_class, source, destination) in enumerate(pairs, 1)
        )

    def crosses_router(self, flow: FlowSettings) -> bool:
        zones = {endpoint.name: endpoint.zone for endpoint in self.lab.endpoints}
        return zones[flow.source] != zones[flow.destination]

    def start(self, agent: str, *, sends: bool) -> subprocess.Popen[bytes]:
        """Start an agent and return when it listens."""
        settings = AgentSettings(
            agent=agent,
            directory=self.directory,
            epoch_ns=self.epoch_ns,
            interval_ns=INTERVAL_NS,
            drain_ns=THRESHOLD_NS,
            duration_ns_max=60 * SECOND,
            endpoints=tuple(
                EndpointSettings(
                    name=node.mesh.name,
                    address=node.mesh.address,
                    namespace=str(self.lab.namespace_path(node.mesh.name)),
                    sends=sends,
                    reflects=not sends,
                )
                for node in self.lab.plan.nodes
            ),
            flows=self.flows,
        )
        path = self.directory / f"{agent}.settings.json"
        path.write_text(json.dumps(settings.as_json()))
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "probes.agent", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        self.running.append(process)
        assert says(process) == "listening"
        return process

    def collect(self, *agents: str) -> ProbeRecords:
        return read_agents(self.directory, ("sender", *agents))

    def latest(self) -> dict[int, int]:
        """Return the last recorded event of every flow's connection."""
        rows = read_record(self.directory / "sender.connection")[1]
        return dict(zip(rows["flow"].tolist(), rows["what"].tolist(), strict=True))

    def wait(self, is_true: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not is_true():
            assert time.monotonic() < deadline_s
            select.select([], [], [], 0.02)


def says(agent: subprocess.Popen[bytes]) -> str:
    assert agent.stdout is not None
    assert select.select([agent.stdout], [], [], WAIT_S)[0]
    return str(json.loads(agent.stdout.readline())["state"])


def is_silent(agent: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether the agent reports nothing, and does not die, for this long."""
    assert agent.stdout is not None
    return select.select([agent.stdout], [], [], seconds)[0] == []


def end(agent: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    agent.send_signal(number)
    agent.wait(WAIT_S)
    for stream in (agent.stdin, agent.stdout):
        assert stream is not None
        stream.close()


@pytest.fixture
def probing(overlay_lab: LabNetwork, tmp_path: Path) -> Iterator[Probing]:
    made = Probing(lab=overlay_lab, directory=tmp_path, epoch_ns=time.monotonic_ns(), running=[])
    yield made
    for agent in made.running:
        if agent.poll() is None:
            end(agent, signal.SIGKILL)


def judge_all(probing: Probing, records: ProbeRecords) -> dict[int, tuple[FlowSettings, ConnectionMeasure]]:
    return {
        flow.id: (
            flow,
            judge_flow(
                flow.flow_class,
                records.sender[records.sender["flow"] == flow.id],
                records.connections[records.connections["flow"] == flow.id],
                THRESHOLD_NS,
            ),
        )
        for flow in probing.flows
    }


def test_an_outage_is_a_stall_that_recovers_and_makes_new_connections_slow(probing: Probing) -> None:
    reflector, sender = probing.start("reflector", sends=False), probing.start("sender", sends=True)
    assert says(sender) == "live"
    assert is_silent(sender, 0.5)
    switch = DropSwitch(probing.lab, [node.address for node in probing.lab.plan.nodes])
    _, dropped_before_ns = switch.drop()
    assert is_silent(sender, OUTAGE_S)
    restored_after_ns, _ = switch.restore()
    outage_ns = restored_after_ns - dropped_before_ns
    assert is_silent(sender, 2.5)
    for agent in (sender, reflector):
        end(agent)
    records = probing.collect("reflector")
    for flow, found in judge_all(probing, records).values():
        assert found.answered == found.offered > 60
        if not probing.crosses_router(flow):
            assert found.complaints == {}
        elif flow.flow_class is FlowClass.TCP_ESTABLISHED:
            assert {one: found.count(one) for one in found.complaints} == {Complaint.STALLED: 1}
            (stall,) = found.stalls
            assert (stall.end, found.opened) == (StallEnd.RECOVERED, 1)
            assert stall.shortest_ns >= outage_ns - 2 * INTERVAL_NS
            assert stall.start_ns + probing.epoch_ns <= restored_after_ns
            assert records.sender["retransmits"][records.sender["flow"] == flow.id].any()
        else:
            assert set(found.complaints) == {Complaint.SLOW}
            rows = records.sender[(records.sender["flow"] == flow.id) & (records.sender["retransmits"] > 0)]
            delays_ns = rows["received"] - rows["send_began_ns"]
            assert found.count(Complaint.SLOW) >= OUTAGE_S * SECOND // INTERVAL_NS - 2
            assert delays_ns.max() >= SECOND  # a SYN was lost
    events = records.connections["what"].tolist()
    assert events == [ConnectionEvent.OPENED, ConnectionEvent.CLOSED] * (len(probing.flows) // 2)
    _check_log(probing, records)


def _check_log(probing: Probing, records: ProbeRecords) -> None:
    """Every message is in the far end's log once, from the address that sent it, and the times are in order."""
    log = records.reflector
    sources = {flow.id: encode_address(flow.source_address) for flow in probing.flows}
    assert log["source"].tolist() == [sources[flow] for flow in log["flow"].tolist()]
    assert log.size == records.sender.size
    assert (log["received"] <= log["sent"]).all()
    order = np.lexsort((log["seq"], log["flow"]))
    rows = records.sender
    assert (log["seq"][order] == rows["seq"]).all()
    assert (np.abs(log["received"][order] - rows["reflector_received"]) < 1_000_000).all()
    # Clock pairs of two agents convert the kernel's times, each with an error of its own.
    assert (log["received"][order] >= rows["send_began_ns"] - 1_000_000).all()
    assert (rows["received"] >= log["sent"][order] - 1_000_000).all()
    assert [report.counters["foreign"] + report.counters["malformed"] for report in records.reports] == [0, 0]


def test_a_far_end_that_dies_ends_connections_refuses_new_ones_and_is_found_again(probing: Probing) -> None:
    first, sender = probing.start("first", sends=False), probing.start("sender", sends=True)
    assert says(sender) == "live"
    count = len(probing.flows) // 2
    end(first, signal.SIGKILL)
    probing.wait(lambda: list(probing.latest().values()) == [ConnectionEvent.REFUSED] * count)
    second = probing.start("second", sends=False)
    probing.wait(lambda: set(probing.latest().values()) == {ConnectionEvent.OPENED})
    assert is_silent(sender, 0.3)
    for agent in (sender, second):
        end(agent)
    records = probing.collect("first", "second")
    for flow, found in judge_all(probing, records).values():
        if flow.flow_class is FlowClass.TCP_ESTABLISHED:
            assert (found.count(Complaint.ENDED), found.count(Complaint.REFUSED)) == (1, 1)
            # The kernel may close a dying process' connections first and its listeners, with what they have, after that.
            assert found.opened == 2 + found.count(Complaint.RESET)
            assert found.count(Complaint.RESET) <= 1
            assert found.unconnected_ns > 0
        else:
            assert found.count(Complaint.REFUSED) > 0
        last = records.sender[records.sender["flow"] == flow.id][-1]
        assert (last["copies"], last["failure"]) == (1, 0)
