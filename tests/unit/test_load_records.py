"""Files of a load: written and read again, whole and damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hitless.errors import RecordDamagedError, WorldError
from hitless.records import HEADER_OCTETS, AgentReport
from hitless.store import read_load, write_spec
from probes.recording import GrowingTable
from tests.unit.load_rows import request, rows, spec


def write_worker(directory: Path, name: str, *began_ms: float, is_finished: bool = True) -> None:
    (directory / f"{name}.settings.json").write_text("{}")
    file = GrowingTable(directory / f"{name}.requests", "requests", {"worker": name})
    for began in began_ms:
        file.append(rows([request(began)]))
    file.close()
    if is_finished:
        report = {"agent": name, "counters": {"requests": len(began_ms)}, "finished": True}
        (directory / f"{name}.json").write_text(json.dumps(report))


def test_what_was_written_is_read_in_order_of_time(tmp_path: Path) -> None:
    write_spec(tmp_path, spec())
    write_worker(tmp_path, "worker-a", 1, 3)
    write_worker(tmp_path, "worker-b", 2)
    records = read_load(tmp_path)
    assert records.spec == spec()
    assert np.array_equal(records.rows, rows([request(1), request(2), request(3)]))
    assert records.reports == (
        AgentReport(agent="worker-a", counters={"requests": 2}, finished=True),
        AgentReport(agent="worker-b", counters={"requests": 1}, finished=True),
    )


def test_a_killed_worker_still_gives_its_rows(tmp_path: Path) -> None:
    write_spec(tmp_path, spec())
    write_worker(tmp_path, "worker-a", 1, 2, is_finished=False)
    with (tmp_path / "worker-a.requests").open("ab") as file:
        file.write(b"cut off")
    records = read_load(tmp_path)
    assert np.array_equal(records.rows, rows([request(1), request(2)]))
    assert records.reports == (AgentReport(agent="worker-a", counters={}, finished=False),)


def test_a_process_that_died_before_its_first_row_is_named(tmp_path: Path) -> None:
    write_spec(tmp_path, spec())
    (tmp_path / "worker-a.settings.json").write_text("{}")
    records = read_load(tmp_path)
    assert records.rows.size == 0
    assert records.reports == (AgentReport(agent="worker-a", counters={}, finished=False),)


@pytest.mark.parametrize("content", [b"", b"no record", b"{}".ljust(HEADER_OCTETS), b"[]".ljust(HEADER_OCTETS)])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write_spec(tmp_path, spec())
    (tmp_path / "worker-a.requests").write_bytes(content)
    with pytest.raises(RecordDamagedError, match=r"worker-a\.requests: not a record file"):
        read_load(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"clients": 1}'])
def test_a_load_without_its_settings_is_damaged(tmp_path: Path, content: str) -> None:
    with pytest.raises(RecordDamagedError, match=r"spec\.json: "):
        read_load(tmp_path)
    (tmp_path / "spec.json").write_text(content)
    with pytest.raises(RecordDamagedError, match=r"spec\.json: "):
        read_load(tmp_path)


def test_a_damaged_report_is_refused_by_name(tmp_path: Path) -> None:
    write_spec(tmp_path, spec())
    write_worker(tmp_path, "worker-a", 1)
    (tmp_path / "worker-a.json").write_text("{}")
    with pytest.raises(RecordDamagedError, match=r"worker-a\.json: not an agent's report"):
        read_load(tmp_path)


def test_a_disk_that_takes_no_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot write"):
        write_spec(tmp_path / "nowhere", spec())


def test_the_spec_is_kept_whole(tmp_path: Path) -> None:
    asked = replace(spec(), users=8, body_octets=17)
    write_spec(tmp_path, asked)
    assert read_load(tmp_path).spec == asked
