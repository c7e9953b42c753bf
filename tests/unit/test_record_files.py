"""Damaged record files: whatever their content, each raises one kind of error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hitless.errors import RecordDamagedError
from hitless.records import CLOCK_ROW, HEADER_OCTETS, encode_header, read_agents, read_record


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * HEADER_OCTETS,
        b'"table"'.ljust(HEADER_OCTETS),
        b'{"table": []}'.ljust(HEADER_OCTETS),
        encode_header("sender", {}).replace(b"record/2", b"record/1"),
        encode_header("sender", {})[: HEADER_OCTETS - 1],
        encode_header("sender", {}).rstrip(),
    ],
)
def test_what_is_no_record_is_called_damaged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.sender"
    path.write_bytes(content)
    with pytest.raises(RecordDamagedError, match=r"x\.sender"):
        read_record(path)


def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.clock"
    rows = np.ones(3, dtype=CLOCK_ROW)
    path.write_bytes(encode_header("clock", {"agent": "x"}) + rows.tobytes()[:-1])
    header, found = read_record(path)
    assert (header["agent"], found.tolist()) == ("x", rows[:2].tolist())


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"agent": "x"}', b'{"agent": "x", "counters": {}}'])
def test_a_report_that_is_none_is_called_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(RecordDamagedError, match=r"x\.json: not an agent's report"):
        read_agents(tmp_path, ["x"])
