"""Parsers of other tools' output, tested on real output (tests/unit/captured)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.outputs import (
    Counts,
    FpingReport,
    read_fping,
    read_iperf_row,
    read_iperf_sum,
    read_irtt,
    read_irtt_counts,
    read_ping,
    read_ping_counts,
)
from hitless.errors import WorldError

CAPTURED = Path(__file__).parent / "captured"


def captured(name: str) -> str:
    return (CAPTURED / name).read_text(encoding="utf-8")


def test_fping_reports_every_target_and_its_outage() -> None:
    first, *others = read_fping(captured("fping.txt"))
    assert first == FpingReport(target="100.96.3.2", counts=Counts(sent=11, received=5), outage_ms=300)
    assert [(report.target, report.counts, report.outage_ms) for report in others] == [
        (f"127.0.1.{number}", Counts(sent=5, received=5), 0) for number in (1, 2, 3)
    ]


def test_fping_without_o_says_no_outage() -> None:
    (report,) = read_fping("10.0.0.1 : xmt/rcv/%loss = 5/0/100%\n")
    assert (report.counts, report.outage_ms) == (Counts(sent=5, received=0), None)


def test_ping_tells_which_probes_were_not_answered() -> None:
    probes = read_ping(captured("ping.txt"))
    assert (np.flatnonzero(probes.is_lost) + 1).tolist() == [8, 9, 10, 11, 12, 20, 21]
    assert probes.sent_ns.size == 36


def test_ping_tells_when_they_were_sent() -> None:
    """Answered ones by the answer less its round trip, the others by the word that comes with the next one."""
    sent = read_ping(captured("ping.txt")).sent_ns
    assert sent[0] == 1_795_575_070_920_962_000 - 63_000
    assert sent[9 - 1] == 1_795_575_071_394_345_000  # when it was said that 8 is not answered yet
    assert sent[8 - 1] == pytest.approx((sent[7 - 1] + sent[9 - 1]) / 2, abs=1)
    assert (np.diff(sent) > 0).all()


def test_pings_sequence_numbers_begin_again_after_65535() -> None:
    lines = [
        f"[{1000 + index}.000000] 64 bytes from 10.0.0.1: icmp_seq={(index + 1) % 65536} ttl=62 time=0.1 ms"
        for index in range(65540)
    ]
    del lines[65537]
    probes = read_ping("\n".join([*lines, "65540 packets transmitted, 65539 received, 0% packet loss, time 1ms"]))
    assert np.flatnonzero(probes.is_lost).tolist() == [65537]


def test_ping_counts() -> None:
    assert read_ping_counts(captured("ping.txt")) == Counts(sent=36, received=29)


def test_irtt_tells_send_times_and_losses() -> None:
    probes = read_irtt(captured("irtt.json"))
    assert np.flatnonzero(probes.is_lost).tolist() == [7, 8, 9, 10, 11, 12]
    assert probes.rate_hz == pytest.approx(20, abs=0.1)


def test_irtt_counts_and_duration() -> None:
    counts, seconds = read_irtt_counts(captured("irtt.txt"))
    assert counts == Counts(sent=45, received=37)
    assert 2 < seconds < 3
    text = "                duration: 1m5.02s (wait 19.87ms)\n   packets sent/received: 5035/5030 (0.10% loss)\n"
    counts, seconds = read_irtt_counts(text)
    assert counts == Counts(sent=5035, received=5030)
    assert seconds == pytest.approx(65.00013)


def test_iperf_counts_a_loss_in_the_row_in_which_it_ends() -> None:
    rows = [row for row in map(read_iperf_row, captured("iperf3.txt").splitlines()) if row is not None]
    lost = {row.since_s: row.lost for row in rows if row.lost and not row.is_sum}
    assert lost == {0.8: 6, 1.3: 2}


def test_iperf_sums_up() -> None:
    row = read_iperf_sum(captured("iperf3.txt").splitlines())
    assert (row.lost, row.total, row.until_s) == (8, 45, 2.2)


@pytest.mark.parametrize("text", ["", "Segmentation fault", "[  5]   0.00-0.10   sec"])
def test_what_cannot_be_read_is_said(text: str) -> None:
    readers = (read_fping, read_ping, read_irtt, read_irtt_counts, read_ping_counts, lambda said: read_iperf_sum([said]))
    for read in readers:
        with pytest.raises(WorldError, match="unexpected output of"):
            read(text)
