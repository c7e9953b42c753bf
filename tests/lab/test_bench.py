"""The benchmark's parts on the real kernel: bare networks, other people's programs, our prober under load, a whole question."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.bringup import BRINGUP, _Size
from bench.lab.accuracy import make_pair as pair_of_pods
from bench.lab.bare import make_loopback, make_pair
from bench.lab.injection import inject
from bench.peer_loads import Ends, load_fping, load_iperf, load_irtt, load_ping
from bench.probing import probe
from bench.programs import PACKAGES, Program
from bench.watchers import LEAD_S, Place, Watchers
from clusters.lab.network import LabNetwork
from clusters.lab.sharp_switch import SharpSwitch
from clusters.linux.namespaces import NETWORK_DIRECTORY, inside
from hitless.errors import MissingCapabilityError, WorldError
from hitless.facts import Endpoint, Flow
from hitless.words import FlowId, FlowRole
from probes.clocks import take_pair


def need(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(f'{name} (Debian: {PACKAGES[name]})' for name in missing)}")


def test_a_bare_pair_carries_packets_to_every_address_and_leaves_nothing() -> None:
    with make_pair(targets=3) as pair:
        with inside(pair.source):
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with here:
            for address in pair.addresses:
                with inside(pair.destination):
                    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                with there:
                    there.bind((address, 0))
                    there.settimeout(2)
                    here.sendto(b"probe", there.getsockname())
                    assert there.recvfrom(16)[1][0] == pair.source_address
    assert list(NETWORK_DIRECTORY.iterdir()) == []


def test_probing_a_veth_loses_nothing_and_counts_everything() -> None:
    with make_pair() as pair:
        source = Endpoint(name="source", node="s", zone="z", address=pair.source_address)
        destination = Endpoint(name="destination", node="d", zone="z", address=pair.addresses[0])
        paths = {"source": str(pair.source), "destination": str(pair.destination)}
        flows = [
            Flow(id=FlowId(number), source="source", destination="destination", role=FlowRole.MESH) for number in range(1, 21)
        ]
        load = probe([source, destination], paths.__getitem__, flows, 10_000_000, 0.5)
    assert (load.lost, load.refused, load.overflows) == (0, 0, (0, 0))
    assert load.probes % 20 == 0
    assert load.probes >= 20
    assert load.user_us + load.system_us > 0


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.programs.shutil.which", lambda *_args, **_keywords: None)
    with pytest.raises(MissingCapabilityError, match=r"mn is not installed \(apt-get install mininet, or make bench-peers\)"):
        Program(["mn"], tmp_path / "mn.txt")


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with make_loopback() as namespace, Program(["sleep", "60"], tmp_path / "sleep.txt", namespace) as program:
        with pytest.raises(WorldError, match="sleep did not end within"):
            program.wait(0.05)
        assert program.end().code == -signal.SIGKILL
        assert not program.is_running


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    with Program(["cat", "/nowhere"], tmp_path / "cat.txt") as program:
        with pytest.raises(WorldError, match=r"cat ended with exit code 1: .*cat: /nowhere: No such file or directory"):
            program.wait(10)
        with pytest.raises(WorldError, match="cat ended before it printed 'ready'"):
            program.wait_text("ready", 10)


def test_a_program_runs_in_its_namespace_and_its_cpu_is_known(tmp_path: Path) -> None:
    with make_loopback() as namespace, Program(["cat", "/proc/self/net/dev"], tmp_path / "cat.txt", namespace) as program:
        ended = program.wait(10)
        assert ended.code == 0
        assert ended.user_s + ended.system_s >= 0
        devices = {line.split(":")[0].strip() for line in program.text.splitlines()[2:]}
        assert devices - {"tunl0"} == {"lo"}  # the ipip module makes a tunl0 in every namespace


def test_every_tool_sends_and_loses_nothing_on_a_veth(tmp_path: Path) -> None:
    need("fping", "irtt", "iperf3", "ping")
    with make_pair(targets=5) as pair:
        ends = Ends(source=pair.source, destination=pair.destination, addresses=pair.addresses)
        loads = [load(ends, 200.0, 1.0, tmp_path) for load in (load_fping, load_irtt, load_iperf, load_ping)]
    assert [load.lost for load in loads] == [0, 0, 0, 0]
    assert all(load.sent > 20 for load in loads)


def test_every_tool_sees_the_same_outage(overlay_lab: LabNetwork, tmp_path: Path) -> None:
    """Of 300 ms, at 50 Hz: a tool that counts right says 300 +- 20 and the machine's lateness; every tool says something."""
    need("fping", "irtt", "iperf3", "ping")
    (flow,) = pair_of_pods(overlay_lab)
    addresses = {endpoint.name: endpoint.address for endpoint in overlay_lab.endpoints}
    paths = [overlay_lab.namespace_path(name) for name in (flow.source, flow.destination)]
    place = Place(source=paths[0], destination=paths[1], address=addresses[flow.destination], rate_hz=50.0)
    with ExitStack() as stack:
        switch = stack.enter_context(SharpSwitch(overlay_lab, [node.address for node in overlay_lab.nodes]))
        watchers = Watchers(place, tmp_path, stack)
        watchers.start()
        pair = take_pair(0)
        time.sleep(0.3)
        watchers.expect(0.3)
        time.sleep(LEAD_S)
        truth = inject(switch, 0.3, 0)
        time.sleep(0.4)
        watchers.note_end()
        watchers.stop()
        estimates = watchers.estimates([truth], pair)
    assert watchers.skipped == {}
    ways = [("fping", "its -o"), ("irtt", "count"), ("irtt", "send times"), ("iperf3", "count, one way")]
    ways += [("ping", "count"), ("ping", "send times")]
    assert [(estimate.tool, estimate.by) for estimate in estimates] == ways
    assert [estimate for estimate in estimates if estimate.lengths_ns[0] <= 0] == []


def test_who_is_missing_is_skipped_and_the_others_watch_on(
    overlay_lab: LabNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ping")
    monkeypatch.setattr("bench.programs.shutil.which", lambda name, **_: "/usr/bin/ping" if name == "ping" else None)
    (flow,) = pair_of_pods(overlay_lab)
    address = next(endpoint.address for endpoint in overlay_lab.endpoints if endpoint.name == flow.destination)
    paths = [overlay_lab.namespace_path(name) for name in (flow.source, flow.destination)]
    with ExitStack() as stack:
        watchers = Watchers(Place(source=paths[0], destination=paths[1], address=address, rate_hz=50.0), tmp_path, stack)
        watchers.start()
        watchers.expect(0.1)
        watchers.stop()
    assert set(watchers.skipped) == {"irtt", "iperf3", "fping"}
    assert all("is not installed (apt-get install" in why for why in watchers.skipped.values())


def test_a_whole_question_is_answered_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.bringup._SIZES_QUICK", (_Size(nodes=4, rounds=1, mininet_rounds=1),))
    is_quick = True
    answer = json.loads(json.dumps(BRINGUP.ask(is_quick)))
    (table,) = BRINGUP.show(answer)
    ((nodes, up, *_, mininet, _, _),) = table.rows
    assert nodes == "4"
    assert float(up) > 0
    assert mininet.startswith("skipped: mn is not installed") or float(mininet) > 0
