"""Our test packets in foreign programs: tshark's dissector and another STAMP implementation."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import wrpcap

from clusters.lab.network import LabNetwork
from hitless.records import STRAYS, Rows
from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.reflector import Reflector
from probes.sender import Sender
from probes.stamp import PORT
from tests.lab.capture import capturing
from tests.lab.wire_session import make_flows, probe
from tests.unit.exchange import make_settings
from tests.unit.loopbacks import LOOPBACK_4

POD, PEER = LOOPBACK_4.pod, LOOPBACK_4.peer
A1, A2, B1 = (f"node-{name}-mesh" for name in ("a1", "a2", "b1"))
WAIT_S = 20.0
PROBES = 20
OTHER = shutil.which("stamp-suite")
"""https://crates.io/crates/stamp-suite, by `cargo install stamp-suite`: RFC 8762 and 8972 in Rust."""

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="missing: tshark, the program")
needs_other = pytest.mark.skipif(OTHER is None, reason="missing: stamp-suite, the program (cargo install stamp-suite)")


def dissect(path: Path) -> list[dict[str, Any]]:
    """Return what tshark finds in each packet: field name to text, and name + `_raw` to [octets, position, length, ...].

    STAMP's unauthenticated packets are TWAMP-Test's, with the SSID where that has zeroes. Source: RFC 8762 4.6, RFC 8972 3.
    """
    command = ["tshark", "-r", str(path), "-d", f"udp.port=={PORT},twamp.test", "-T", "json", "-x"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - the test's own words
    packets = [packet["_source"]["layers"] for packet in found]
    return [{**layers["ip"], **layers["udp"], **layers["twamp.test"]} for layers in packets]


def number(fields: dict[str, Any], name: str) -> int:
    return int(fields[f"twamp.test.{name}"])


def octets(fields: dict[str, Any], name: str) -> str:
    return str(fields[f"twamp.test.{name}_raw"][0])


@needs_tshark
def test_tshark_reads_in_our_packets_what_we_recorded(native_lab: LabNetwork, tmp_path: Path) -> None:
    flows = make_flows((A1, B1), (A1, A2))
    with capturing(native_lab, (A1, "eth0")) as (capture,):
        history = probe(native_lab, flows, tmp_path)
        packets = [frame.packet for frame in capture.frames()]
    wrpcap(str(tmp_path / "seen.pcap"), packets)
    seen = dissect(tmp_path / "seen.pcap")
    probes = [fields for fields in seen if fields["udp.dstport"] == str(PORT)]
    answers = [fields for fields in seen if fields["udp.srcport"] == str(PORT)]
    rows = history.records.sender
    # The SSID stands in the first two MBZ octets.
    assert sorted((number(f, "mbz1"), number(f, "seq_number")) for f in probes) == rows[["flow", "seq"]].tolist()
    assert {("255", 0, 0)} == {(f["ip.ttl"], number(f, "mbz2"), number(f, "sender_ttl")) for f in probes}
    assert [0] * len(seen) == [int(f["twamp.test.error_estimate_tree"]["twamp.test.error_estimate.z"]) for f in seen]
    read = [
        (number(f, "mbz1"), number(f, "sender_seq_number"), int(f["ip.ttl"]), number(f, "sender_ttl"), number(f, "seq_number"))
        for f in answers
    ]
    assert sorted(read) == rows[rows["copies"] == 1][["flow", "seq", "return_ttl", "forward_ttl", "reflector_seq"]].tolist()
    sent = {(number(f, "mbz1"), number(f, "seq_number")): f for f in probes}
    for fields in answers:
        source = sent[number(fields, "mbz1"), number(fields, "sender_seq_number")]
        assert octets(fields, "sender_timestamp") == octets(source, "timestamp")
        assert octets(fields, "sender_error_estimate") == octets(source, "error_estimate")
        assert octets(source, "timestamp") <= octets(fields, "receive_timestamp") <= octets(fields, "timestamp")


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the other implementation in unauthenticated mode, its default."""
    assert OTHER is not None
    with subprocess.Popen([OTHER, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - as above
        try:
            yield process
        finally:
            process.kill()


@needs_other
def test_another_implementation_takes_our_answers(tmp_path: Path) -> None:
    port = LOOPBACK_4.find_port()
    told = make_settings(tmp_path, POD, port=port, destinations=[PEER], sends=False)
    reflector = Reflector(told, Bridge(0), GrowingTable(tmp_path / "x.reflector", "reflector", {}))
    options = ("-r", POD, "-p", str(port), "-S", PEER, "--ssid", "1", "-c", str(PROBES), "-d", "5ms", "-L", "1")
    with running(*options, "--output-format", "json") as other:
        assert other.stdout is not None
        said = other.stdout.fileno()
        while not select.select([said], [], [], 0)[0]:
            assert select.select([*reflector.descriptors, said], [], [], WAIT_S)[0]
            reflector.reflect(reflector.descriptors)
        summary = json.loads(other.communicate(timeout=WAIT_S)[0])
    reflector.finish()
    counted = {name: count for name, count in reflector.counters.items() if count}
    assert counted == {"probes": PROBES, "answered": PROBES}
    assert summary["packets_received"] == PROBES


@needs_other
def test_we_take_the_answers_of_another_implementation(tmp_path: Path) -> None:
    port = LOOPBACK_4.find_port(address=PEER)
    told = make_settings(tmp_path, POD, port=port, destinations=[PEER])
    sender = Sender(told, Bridge(0), GrowingTable(tmp_path / "x.skipped", "skipped", {}), {})
    rows: Rows = sender._table.rows
    with running("-i", "-S", PEER, "-o", str(port), "--stateful-reflector"):
        while (rows["copies"] > 0).sum() < PROBES and not sender.is_exhausted:  # the first may come before it listens
            sender._tick()
            select.select([sender._sockets[0]], [], [], 0.1)
            sender.collect()
    taken = rows[rows["copies"] > 0]
    sender.finish()
    assert len(taken) == PROBES
    assert (set(taken["copies"].tolist()), taken["corrupted"].sum()) == ({1}, 0)
    assert taken["reflector_seq"].tolist() == list(range(PROBES))
    assert {name for name in STRAYS if sender.counters[name]} == set()
