"""The lab's prober with a key: real agents on loopback, a stranger among them, and the places where the key must not be."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clusters.lab import prober as prober_module
from clusters.lab.prober import LabProber
from hitless.records import STRAYS
from probes.settings_file import KEY_WITHHELD
from probes.stamp import PORT
from tests.lab.test_prober import WAIT_S, make_mesh, make_spec
from tests.unit.stamp_by_hand import KEY, NTP_2026, by_hand_probe

ADDRESSES = ["127.4.1.1", "127.4.1.2"]


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabProber]:
    """Two pods on loopback, probing each other every 2 ms with a key that we know, live."""
    monkeypatch.setattr(prober_module, "make_key", lambda: KEY)
    endpoints, flows = make_mesh(ADDRESSES)
    prober = LabProber(endpoints, lambda _name: None)
    prober.start(flows, replace(make_spec(), is_authenticated=True), tmp_path / "run", time.monotonic_ns())
    prober._senders["sender"].wait_state("live", WAIT_S)
    yield prober
    prober.stop()


def test_every_authenticated_probe_of_a_healthy_mesh_is_answered(mesh: LabProber, tmp_path: Path) -> None:
    mesh.stop()
    records = mesh.collect()
    assert set(records.sender["copies"].tolist()) == {1}
    assert (records.sender["corrupted"].sum(), records.sender["send_errno"].sum()) == (0, 0)
    assert np.array_equal(records.reflector[["flow", "seq"]], records.sender[["flow", "seq"]])
    assert {name: report.counters[name] for report in records.reports for name in STRAYS} == dict.fromkeys(STRAYS, 0)
    told = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "run").glob("*.settings.json"))]
    assert [(document["agent"], document["packet_octets"], document["key"]) for document in told] == [
        ("reflector", 112, KEY_WITHHELD),
        ("sender", 112, KEY_WITHHELD),
    ]


def test_the_key_is_in_no_file_no_argument_and_no_environment(mesh: LabProber, tmp_path: Path) -> None:
    agents = [agent.process.pid for agent in (*mesh._senders.values(), *mesh._reflectors.values())]
    public = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in agents for name in ("cmdline", "environ")]
    mesh.stop()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"sender.json", "sender.sender", "reflector.reflector", "sender.settings.json"} <= {path.name for path in files}
    assert {path.stat().st_mode & 0o077 for path in files if path.name.endswith(".settings.json")} == {0}
    for content in (*public, *(path.read_bytes() for path in files)):
        assert KEY not in content
        assert KEY.hex().encode() not in content


def test_a_stranger_with_a_right_address_gets_no_answer_and_disturbs_nothing(mesh: LabProber) -> None:
    forged = bytearray(by_hand_probe(5, NTP_2026, 0x0001, 1))
    forged[-1] ^= 1
    again = by_hand_probe(0, NTP_2026, 0x0001, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((ADDRESSES[0], 0))
        for content in (bytes(forged), again, bytes(44)):
            stranger.sendto(content, (ADDRESSES[1], PORT))
        mesh.stop()
        assert select.select([stranger], [], [], 0)[0] == []
    records = mesh.collect()
    (counted,) = (report.counters for report in records.reports if report.agent == "reflector")
    assert {name: counted[name] for name in STRAYS if counted[name]} == {"malformed": 1, "unauthentic": 1, "replayed": 1}
    assert set(records.sender["copies"].tolist()) == {1}
    assert np.array_equal(records.reflector[["flow", "seq"]], records.sender[["flow", "seq"]])


def test_both_ends_get_the_same_key_and_every_start_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[bytes] = []

    def make_key() -> bytes:
        keys.append(bytes([len(keys)]) * 32)
        return keys[-1]

    monkeypatch.setattr(prober_module, "make_key", make_key)
    endpoints, flows = make_mesh(ADDRESSES)
    prober = LabProber(endpoints, lambda _name: None)
    for run in ("one", "two"):
        prober.start(flows, replace(make_spec(), is_authenticated=True), tmp_path / run, time.monotonic_ns())
        prober._senders["sender"].wait_state("live", WAIT_S)
        prober.stop()
    assert len(keys) == 2
