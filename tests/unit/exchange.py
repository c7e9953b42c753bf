"""What the tests of sender and reflector share: settings of one pod, and either inner loop."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated, STAMPSessionSenderTestUnauthenticated

from hitless.words import FlowClass
from probes import datagrams as python_loop
from probes.inner_loop import DATAGRAMS, INNER_LOOP, InnerLoop
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from probes.stamp import PORT

WAIT_S = 5.0
WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""


def make_settings(
    directory: Path,
    pod: str,
    *,
    destinations: list[str],
    port: int = PORT,
    octets: int = 44,
    sends: bool = True,
    namespace: str | None = None,
    flow_class: FlowClass = FlowClass.UDP,
) -> AgentSettings:
    """One pod that sends to (or reflects for) these addresses; SSIDs from 1, flow ids too large for an SSID."""
    return AgentSettings(
        agent="x",
        directory=directory,
        epoch_ns=0,
        interval_ns=1_000_000,
        packet_octets=octets,
        live_answers=2,
        drain_ns=1_000_000_000,
        duration_ns_max=100_000_000,
        endpoints=(EndpointSettings(name="pod", address=pod, namespace=namespace, port=port, sends=sends, reflects=not sends),),
        flows=tuple(
            FlowSettings(
                id=WIDE + index,
                ssid=index,
                source="pod",
                source_address=pod,
                destination=f"d{index}",
                destination_address=address,
                port=port,
                flow_class=flow_class,
            )
            if sends
            else FlowSettings(
                id=WIDE + index,
                ssid=index,
                source=f"s{index}",
                source_address=address,
                destination="pod",
                destination_address=pod,
            )
            for index, address in enumerate(destinations, start=1)
        ),
    )


def craft(probe: STAMPSessionSenderTestUnauthenticated, **changes: int) -> bytes:
    """What an honest reflector answers, apart from the changes."""
    raw = bytes(probe)
    fields = {
        "seq": 40,
        "ssid": probe.ssid,
        "seq_sender": probe.seq,
        "ttl_sender": 61,
        "ts": 3_990_000_000,
        "ts_rx": 3_990_000_000,
    }
    answer = bytearray(bytes(STAMPSessionReflectorTestUnauthenticated(**(fields | changes))))
    answer[28:36] = raw[4:12]
    tlvs = bytearray(raw[44:])
    if tlvs:
        tlvs[0] = 0
    return bytes(answer + tlvs)


def find_loop(kind: InnerLoop) -> ModuleType:
    if kind is InnerLoop.COMPILED and INNER_LOOP is not kind:
        pytest.skip("missing: the compiled inner loop; pip install builds it where there is a C compiler")
    return DATAGRAMS if kind is InnerLoop.COMPILED else python_loop


@pytest.fixture(params=list(InnerLoop))
def datagrams(request: pytest.FixtureRequest) -> ModuleType:
    """Both inner loops: they must not differ."""
    return find_loop(request.param)
