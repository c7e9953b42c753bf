"""Connections in a report, family by family."""

from __future__ import annotations

import errno

from analysis.comparison import Comparison
from analysis.evidence import Evidence, JudgedRun
from hitless.history import History
from hitless.records import ConnectionEvent
from hitless.words import FlowClass, FlowSet, Verdict
from reports.connections import summarise_connections
from tests.unit.pages import page_text
from tests.unit.tcp_rows import message, messages, opened, quiet, story, tcp_flow, tcp_history, told


def judged(history: History) -> JudgedRun:
    return JudgedRun(evidence=Evidence(history), results=(), verdict=Verdict.PASS)


def run() -> JudgedRun:
    """One connection that stalls for 600 ms, is reset and opened again; of four new ones one is refused, one slow."""
    established = messages(
        quiet(0, 4),
        message(4, delay_ms=600, retransmits=2),
        message(5, delay_ms=550),
        quiet(20, 3),
        message(23, delay_ms=None, failure=errno.ECONNRESET),
        quiet(24, 2),
    )
    connects = messages(
        quiet(0, 2, flow=8),
        message(2, delay_ms=None, failure=errno.ECONNREFUSED, flow=8),
        message(3, delay_ms=1_010, retransmits=1, flow=8),
    )
    connections = story(
        opened(),
        told(ConnectionEvent.RESET, 1_151, seq=24, errno=errno.ECONNRESET),
        told(ConnectionEvent.OPENED, 1_153, seq=24, connection=1),
    )
    flows = [tcp_flow(7), tcp_flow(8, FlowSet.TCP_CONNECT, FlowClass.TCP_CONNECT)]
    return judged(tcp_history(flows, messages(established, connects), connections))


def test_each_family_has_its_totals_over_all_trials() -> None:
    found = summarise_connections([run(), run()])
    assert list(found) == ["tcp-established", "tcp-connect"]
    established, connects = found.values()
    assert (established.flows, established.offered, established.answered, established.opened) == (2, 24, 22, 4)
    assert (established.reset, established.stalled, established.recovered, established.stall_ms_max) == (2, 2, 2, 600.0)
    assert established.unconnected_ms_max == 2.0
    assert (connects.offered, connects.answered, connects.refused, connects.slow) == (8, 6, 2, 2)
    assert connects.stall_ms_max is None


def test_a_row_shows_only_what_there_was_to_complain_of() -> None:
    text = page_text(Comparison(runs=(run(),)))
    assert "| GATED | tcp-established | 2 | 11 of 12 | 1 | - | - | - | - | 1 (1 recovered), up to 600.0 ms |" in text
    assert "| GATED | tcp-connect | 3 | 3 of 4 | - | 1 | - | - | 1 | - |" in text


def test_without_connections_there_is_nothing_to_say() -> None:
    assert summarise_connections([]) == {}
