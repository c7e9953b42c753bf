"""Delay, loss, copies and disorder by the kernel's netem, each found in the measures as it was injected."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as Answer

from analysis.evidence import Evidence
from clusters.lab.network import LabNetwork
from hitless.words import MILLISECOND, Capability, FlowId
from scenarios.parts import Links
from tests.lab.capture import capturing
from tests.lab.lab_traffic import missing_pairs, pod_sockets
from tests.lab.needs import need
from tests.lab.test_wire import stamps
from tests.lab.wire_session import INTERVAL_NS, THRESHOLD_NS, make_flows, probe

A1, B1 = "node-a1-mesh", "node-b1-mesh"


@pytest.fixture
def lab(native_lab: LabNetwork) -> LabNetwork:
    need(Capability.NETEM)
    with pod_sockets(native_lab) as sockets:
        assert set() == missing_pairs(native_lab, sockets)  # or the first probes would wait for ARP, which is impaired as well
    return native_lab


def test_every_probe_that_is_sent_twice_is_duplicated_once(lab: LabNetwork, tmp_path: Path) -> None:
    lab.impair("node-a1", Links(duplicate_percent=100))
    (found,) = Evidence(probe(lab, make_flows((A1, B1)), tmp_path)).measures.values()
    assert (found.duplicated, found.lost) == (found.offered, 0)


@pytest.mark.parametrize(("delay", "is_late"), [(0.5, False), (1.5, True)])
def test_an_answer_is_late_from_the_forwarding_delay_threshold_on(
    delay: float, lab: LabNetwork, tmp_path: Path, *, is_late: bool
) -> None:
    lab.impair("node-a1", Links(delay_ms=delay * THRESHOLD_NS / MILLISECOND))
    (found,) = Evidence(probe(lab, make_flows((A1, B1)), tmp_path)).measures.values()
    assert (found.lost, found.late) == ((found.offered, found.offered) if is_late else (0, 0))


def test_what_a_link_loses_is_in_the_books_and_on_its_side(lab: LabNetwork, tmp_path: Path) -> None:
    lab.impair("node-a1", Links(loss_percent=10))
    evidence = Evidence(probe(lab, make_flows((A1, B1)), tmp_path))
    found, ledger = evidence.measures[FlowId(1)], evidence.ledger
    assert ledger is not None
    assert found.lost == found.lost_near_end > 0
    assert (ledger.lost, ledger.dropped, ledger.link_drops) == (found.lost, found.lost, found.lost)


def test_reordered_probes_are_those_that_came_below_the_next_expected_number(lab: LabNetwork, tmp_path: Path) -> None:
    lab.impair("node-a1", Links(delay_ms=5 * INTERVAL_NS / MILLISECOND, reorder_percent=25))
    with capturing(lab, (A1, "eth0")) as captures:
        (found,) = Evidence(probe(lab, make_flows((A1, B1)), tmp_path)).measures.values()
        answers = [int(stamp.seq_sender) for _, stamp in stamps(captures[0].frames(), Answer, is_outgoing=False)]
    expected, reordered = 0, 0
    for number in answers:
        reordered += number < expected
        expected = max(expected, number + 1)
    assert found.reordered == reordered > 0
    assert found.lost == 0
