"""The load in a stored run: collected, left behind by a killed harness, damaged, or not there at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hitless.errors import RecordDamagedError
from hitless.load import LoadRecords
from hitless.records import AgentReport
from hitless.store import RunStore, read_history, write_spec
from probes.recording import GrowingTable
from tests.clocks import JumpingClock
from tests.unit.histories import history
from tests.unit.load_rows import load, request, spec

REPORTS = (
    AgentReport(agent="master", counters={"requests": 2, "failures": 0}, finished=True),
    AgentReport(agent="worker-node-a1-mesh", counters={}, finished=False),
)


def make_store(directory: Path) -> RunStore:
    known, store = history(), RunStore(directory, JumpingClock())
    store.write_header(known.header)
    store.write_cluster(known.facts, known.flows, {})
    return store


def leave_behind(directory: Path) -> None:
    """Leave what the processes of a load wrote, as they do while a run lasts."""
    directory.mkdir()
    write_spec(directory, spec())
    (directory / "worker-node-a1-mesh.settings.json").write_text("{}")
    file = GrowingTable(directory / "worker-node-a1-mesh.requests", "requests", {})
    file.append(load(request(1)).rows)
    file.close()


def same(found: LoadRecords | None, expected: LoadRecords) -> bool:
    assert found is not None
    assert np.array_equal(found.rows, expected.rows)
    return replace(found, rows=expected.rows) == expected


def test_a_load_is_read_as_it_was_collected_and_its_own_files_go(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run")
    leave_behind(store.load_directory)
    records = load(request(1), request(2.5, nth=0), reports=REPORTS)
    store.write_load(records)
    store.write_final({}, (), (), ())
    store.close()
    assert same(read_history(store.directory).load, records)
    assert not store.load_directory.exists()


def test_a_load_without_a_request_is_a_load(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run")
    leave_behind(store.load_directory)
    store.write_load(load())
    store.close()
    assert same(read_history(store.directory).load, load())


def test_a_killed_harness_leaves_what_the_processes_wrote(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run")
    leave_behind(store.load_directory)
    store.close()
    assert same(read_history(store.directory).load, load(request(1), reports=REPORTS[1:]))


def test_a_run_without_load_has_none(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run")
    store.close()
    assert read_history(store.directory).load is None
    store.load_directory.mkdir()  # the harness was killed before anything was asked
    assert read_history(store.directory).load is None


def test_a_damaged_load_is_refused_by_name(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run")
    leave_behind(store.load_directory)
    store.write_load(load(request(1)))
    store.close()
    (store.directory / "load.parquet").write_bytes(b"no parquet")
    with pytest.raises(RecordDamagedError, match=r"load\.parquet"):
        read_history(store.directory)
    history = read_history(store.directory, must_be_whole=False)
    assert history.load is None
    assert "load.parquet" in history.errors[-1]
