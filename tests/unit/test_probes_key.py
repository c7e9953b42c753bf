"""What an agent is told of its key, and that the key shows nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hitless.errors import UsageError, WorldError
from probes.settings import AgentSettings, parse_settings, read_settings
from probes.settings_file import KEY_WITHHELD, withhold_key, write_settings
from tests.unit.stamp_by_hand import KEY
from tests.unit.test_probes_settings import document


def told(directory: Path, **changes: object) -> dict[str, Any]:
    return document(directory) | {"key": KEY.hex(), "packet_octets": 112} | changes


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return parse_settings(told(tmp_path), where="x")


def test_the_key_survives_a_settings_file_that_nobody_else_may_read(settings: AgentSettings, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("what was here before, for all to read")
    path.chmod(0o644)
    write_settings(path, settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_settings(path) == settings
    assert settings.key == KEY


def test_a_key_that_was_read_is_taken_out_of_the_file(settings: AgentSettings, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write_settings(path, settings)
    withhold_key(path, settings)
    assert json.loads(path.read_bytes()) == json.loads(json.dumps(settings.as_json())) | {"key": KEY_WITHHELD}
    with pytest.raises(UsageError, match=r"key: found a string of 8 characters, not shown; allowed: 64 hexadecimal digits"):
        read_settings(path)


def test_without_a_key_the_file_is_left_alone(settings: AgentSettings, tmp_path: Path) -> None:
    withhold_key(tmp_path / "settings.json", replace(settings, key=None))
    assert not (tmp_path / "settings.json").exists()


def test_a_settings_file_that_cannot_be_written_is_a_world_error(settings: AgentSettings, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot write the settings file") as caught:
        write_settings(tmp_path / "nowhere" / "settings.json", settings)
    assert KEY.hex() not in str(caught.value)


def test_the_key_does_not_show_in_what_settings_say_of_themselves(settings: AgentSettings) -> None:
    assert KEY.hex() not in f"{settings} {settings!r}"
    assert repr(KEY) not in f"{settings} {settings!r}"


@pytest.mark.parametrize("key", [KEY.hex()[:-1], KEY.hex() + "00", KEY.hex().upper(), KEY.hex()[:-1] + "g", "", 5, [KEY.hex()]])
def test_a_wrong_key_is_refused_and_not_repeated(key: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(told(tmp_path, key=key), where="x.json")
    text = str(caught.value)
    assert text.startswith("x.json: key: found ")
    assert "allowed: 64 hexadecimal digits, or null" in text
    assert KEY.hex()[:16].lower() not in text.lower()


@pytest.mark.parametrize("octets", [44, 111, 113, 115])
def test_authenticated_probes_have_112_octets_or_room_for_a_tlv_behind_them(octets: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"packet_octets: found {octets}; allowed: 112, or 116 and more"):
        parse_settings(told(tmp_path, packet_octets=octets), where="x")
    assert parse_settings(told(tmp_path, packet_octets=116), where="x").packet_octets == 116


def test_only_udp_is_authenticated(tmp_path: Path) -> None:
    content = told(tmp_path)
    for flow in content["flows"]:
        flow["flow_class"] = "icmp"
    with pytest.raises(UsageError, match=r"key: found one beside flows of icmp; allowed: null"):
        parse_settings(content, where="x")
