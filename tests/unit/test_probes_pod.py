"""The keeper of a pod: what it answers, without an agent."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest

from probes.clocks import read_clock_id
from probes.pod import Keeper, main


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


@pytest.mark.parametrize("request_", [None, [], {}, {"do": "dance"}, {"do": None}], ids=str)
def test_what_is_no_request_is_answered_with_what_is_one(keeper: Keeper, request_: object) -> None:
    assert "allowed: clock, start, look, order, list, read, inspect" in keeper.answer(request_)["error"]


def test_clock(keeper: Keeper) -> None:
    answer = keeper.answer({"do": "clock"})
    assert answer["clock"] == read_clock_id() != ""
    assert answer["monotonic_ns"] > 0


def test_settings_are_checked_before_anything_starts(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "old.sender").touch()
    assert keeper.answer({"do": "start", "settings": {"agent": "x", "flows": []}})["error"].startswith("settings: endpoints:")
    assert keeper.answer({"do": "start"})["error"].startswith("settings: found nothing")
    assert (tmp_path / "old.sender").exists()
    assert keeper.answer({"do": "look"}) == {"agents": {}}
    assert keeper.answer({"do": "order", "order": {"order": "end"}}) == {}


def test_a_file_is_read_in_pieces(keeper: Keeper, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "x.clock").write_bytes(content)
    assert keeper.answer({"do": "list"}) == {"files": {"x.clock": 25_600}}
    read = b""
    while piece := _piece(keeper, name="x.clock", offset=len(read), octets=10_000):
        read += piece
    assert read == content


def _piece(keeper: Keeper, **request: Any) -> bytes:  # noqa: ANN401 - JSON
    return zlib.decompress(base64.b64decode(keeper.answer({"do": "read", **request})["content"]))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", "..", ".hidden", "keeper.socket", "x.settings", 7, None])
def test_only_the_agents_files_are_read(keeper: Keeper, name: object) -> None:
    assert "place" not in keeper.answer({"do": "read", "name": name, "offset": 0, "octets": 1})
    assert "request: name: found" in keeper.answer({"do": "read", "name": name, "offset": 0, "octets": 1})["error"]


@pytest.mark.parametrize(("offset", "octets"), [(-1, 1), (0, 0), (0, 9 << 20), ("0", 1), (0, True)])
def test_a_piece_has_a_size(keeper: Keeper, offset: object, octets: object) -> None:
    answer = keeper.answer({"do": "read", "name": "x", "offset": offset, "octets": octets})
    assert "request: offset, octets: found" in answer["error"]


def test_a_file_that_is_not_there_is_an_answer(keeper: Keeper) -> None:
    assert "No such file" in keeper.answer({"do": "read", "name": "x", "offset": 0, "octets": 1})["error"]


def test_an_agent_whose_keeper_was_started_anew_counts_as_killed(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "sender.states").write_text('{"state": "listening"}\n')
    assert keeper.answer({"do": "look"}) == {"agents": {"sender": {"states": ["listening"], "code": -9, "complaint": ""}}}


def test_nobody_answers_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("/dev/null").open(encoding="ascii") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(["ask", str(tmp_path)]) == 20
    assert "no keeper answers in" in capsys.readouterr().err
    assert main([]) == 2
