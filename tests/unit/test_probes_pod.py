"""The supervisor of a pod: what it answers, without an agent."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest

from probes.clocks import read_clock_id
from probes.pod import main
from probes.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path)


@pytest.mark.parametrize("request_", [None, [], {}, {"do": "dance"}, {"do": None}], ids=str)
def test_what_is_no_request_is_answered_with_what_is_one(supervisor: Supervisor, request_: object) -> None:
    assert "expected clock, start, look, order, list, read, inspect" in supervisor.answer(request_)["error"]


def test_clock(supervisor: Supervisor) -> None:
    answer = supervisor.answer({"do": "clock"})
    assert answer["clock"] == read_clock_id() != ""
    assert answer["monotonic_ns"] > 0


def test_settings_are_checked_before_anything_starts(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "old.sender").touch()
    wrong = supervisor.answer({"do": "start", "settings": [{"agent": "x", "flows": []}]})["error"]
    assert wrong.startswith("settings: epoch_ns: found nothing; expected a whole number")
    for settings in (None, list[object](), {"agent": "x"}):
        assert "a list with one entry per agent" in supervisor.answer({"do": "start", "settings": settings})["error"]
    assert (tmp_path / "old.sender").exists()
    assert supervisor.answer({"do": "look"}) == {"process": None}
    assert supervisor.answer({"do": "order", "order": {"order": "end"}}) == {}


def test_a_file_is_read_in_pieces(supervisor: Supervisor, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "x.clock").write_bytes(content)
    assert supervisor.answer({"do": "list"}) == {"files": {"x.clock": 25_600}}
    read = b""
    while piece := _piece(supervisor, name="x.clock", offset=len(read), octets=10_000):
        read += piece
    assert read == content


def _piece(supervisor: Supervisor, **request: Any) -> bytes:  # noqa: ANN401 - JSON
    return zlib.decompress(base64.b64decode(supervisor.answer({"do": "read", **request})["content"]))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", "..", ".hidden", "supervisor.socket", "x.settings", 7, None])
def test_only_the_agents_files_are_read(supervisor: Supervisor, name: object) -> None:
    assert "place" not in supervisor.answer({"do": "read", "name": name, "offset": 0, "octets": 1})
    assert "request: name: found" in supervisor.answer({"do": "read", "name": name, "offset": 0, "octets": 1})["error"]


@pytest.mark.parametrize(("offset", "octets"), [(-1, 1), (0, 0), (0, 9 << 20), ("0", 1), (0, True)])
def test_a_piece_has_a_size(supervisor: Supervisor, offset: object, octets: object) -> None:
    answer = supervisor.answer({"do": "read", "name": "x", "offset": offset, "octets": octets})
    assert "request: offset, octets: found" in answer["error"]


def test_a_file_that_is_not_there_is_an_answer(supervisor: Supervisor) -> None:
    assert "No such file" in supervisor.answer({"do": "read", "name": "x", "offset": 0, "octets": 1})["error"]


def test_agents_whose_supervisor_was_started_anew_count_as_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "process.states").write_text('{"state": "listening"}\n')
    assert supervisor.answer({"do": "look"}) == {"process": {"states": ["listening"], "code": -9, "complaint": ""}}


def test_no_answer_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("/dev/null").open(encoding="ascii") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(["ask", str(tmp_path)]) == 20
    assert "the supervisor in" in capsys.readouterr().err
    assert main([]) == 2
