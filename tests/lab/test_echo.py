"""The ICMP sender against the kernels of other pods, through the overlay."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.lab.network import LabNetwork
from hitless.records import Rows
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.sender import Sender
from tests.unit.exchange import WAIT_S, WIDE, make_settings


def make_sender(lab: LabNetwork, directory: Path, octets: int) -> Sender:
    """The first node's mesh pod, with a flow to a pod of the same zone and one to another's."""
    source, *others = (endpoint for endpoint in lab.endpoints if endpoint.name.endswith("-mesh"))
    settings = make_settings(
        directory,
        source.address,
        destinations=[others[0].address, others[2].address],
        octets=octets,
        namespace=lab.endpoint_path(source.name),
        flow_class=FlowClass.ICMP,
    )
    return Sender(settings, Bridge(0), GrowingTable(directory / "x.skipped", "skipped", {}), {})


@pytest.fixture(params=[44, 600])
def sender(overlay_lab: LabNetwork, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sender]:
    made = make_sender(overlay_lab, tmp_path, request.param)
    yield made
    made.finish()


def exchange(sender: Sender) -> Rows:
    """Send a tick, take the kernel's answers, return its rows."""
    sender._tick()
    while sender.has_outstanding():
        assert select.select(sender._sockets, [], [], WAIT_S)[0]
        sender.collect()
    rows: Rows = sender._table.ticks[sender.ticks - 1]
    return rows


def test_the_kernel_answers_every_request_and_its_row_has_no_far_end(sender: Sender) -> None:
    rows = exchange(sender)
    assert rows["flow"].tolist() == [WIDE + 1, WIDE + 2]
    assert rows["copies"].tolist() == [1, 1]
    assert rows["corrupted"].tolist() == [0, 0]
    assert [-1, -1] == rows["reflector_received"].tolist() == rows["reflector_sent"].tolist()
    assert rows["forward_ttl"].tolist() == [0, 0]
    assert (rows["return_ttl"] > 0).all()
    assert (rows["send_began_ns"] < rows["received"]).all()
