"""What limits a load is named from what was counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.limits import name_limit
from bench.machine import MachineLoad, parse_cpu, parse_softnet
from bench.probing import Load

IDLE = MachineLoad(seconds=5, cores=2, busy={"user": 0.1, "system": 0.1, "softirq": 0.1}, backlog_dropped=0, squeezed=0)
FULL = replace(IDLE, busy={"user": 0.2, "system": 0.3, "softirq": 0.45})
CLEAN = Load(
    flows=100,
    interval_ns=10_000_000,
    seconds=5,
    probes=50_000,
    lost=0,
    refused=0,
    ticks_missed=0,
    processes_us={"sender": (2.0, 3.0), "reflector": (1.0, 3.0)},
    overflows=(0, 0),
    limited=0,
    machine=IDLE,
)
LATE = replace(CLEAN, probes=45_000, ticks_missed=50)


def test_a_clean_load_is_limited_by_nothing() -> None:
    assert CLEAN.is_clean
    assert name_limit(CLEAN) == "nothing"
    assert CLEAN.rate_hz == 10_000
    assert CLEAN.cores == pytest.approx({"sender": 0.05, "reflector": 0.04})


def test_missed_ticks_lower_the_rate() -> None:
    assert LATE.rate_hz == 9_000
    assert LATE.missed_share == pytest.approx(0.1)
    assert not LATE.is_clean


def test_late_ticks_are_the_machines_where_nothing_was_idle() -> None:
    assert name_limit(replace(LATE, machine=FULL)) == (
        "10% of the ticks late: the machine's CPU is used up (user 20%, system 30%, softirq 45%)"
    )


def test_late_ticks_are_the_senders_where_it_fills_a_core() -> None:
    assert (
        name_limit(replace(LATE, processes_us={"sender": (60.0, 40.0)}))
        == "10% of the ticks late: the process sender takes 90% of a core"
    )


def test_both_are_named_where_both_are_full() -> None:
    said = name_limit(replace(LATE, processes_us={"sender": (60.0, 40.0)}, machine=FULL))
    assert said.startswith(
        "10% of the ticks late: the process sender takes 90% of a core, the machine's CPU is used up (user 20%"
    )


def test_late_ticks_of_an_idle_machine_are_not_explained_away() -> None:
    assert name_limit(LATE) == "10% of the ticks late, although 70% of the CPU was idle"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overflows": (0, 7)}, "full socket of the reflector: 7 dropped"),
        ({"overflows": (7, 0)}, "full socket of the sender: 7 dropped"),
        ({"machine": replace(IDLE, backlog_dropped=7)}, "full softirq queue: 7 dropped"),
        ({"limited": 7}, "the reflector's rate limit: 7"),
        ({}, "7 lost and no counter moved"),
    ],
)
def test_a_loss_is_where_a_counter_moved(changes: dict[str, object], said: str) -> None:
    load = replace(CLEAN, lost=7, **changes)  # type: ignore[arg-type]
    assert not load.is_clean
    assert name_limit(load) == said


def test_refused_probes_are_a_limit_of_their_own() -> None:
    assert name_limit(replace(CLEAN, refused=7)) == "the kernel took no more: 7 refused"


def test_cpu_times_by_kind() -> None:
    text = "cpu  100 1 50 800 4 2 30 5 0 0\ncpu0 50 0 25 400 2 1 15 2 0 0\nintr 1\n"
    assert parse_cpu(text) == {
        "user": 100, "nice": 1, "system": 50, "idle": 800, "iowait": 4, "irq": 2, "softirq": 30, "steal": 5,
    }  # fmt: skip


def test_softnet_counts_of_all_cpus() -> None:
    line = "0000a5f1 0000000a 00000010 00000000"
    assert parse_softnet(f"{line} 0 0\n{line} 0 1\n") == (20, 32)


def test_the_machines_load_says_what_was_idle_and_used() -> None:
    assert IDLE.idle == pytest.approx(0.7)
    assert IDLE.busy_s == pytest.approx(3.0)
