"""What an agent may be told; everything else is one message and exit code 2."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.errors import UsageError
from probes.agent import main
from probes.settings import parse_settings, read_settings

WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""


def document(directory: Path) -> dict[str, Any]:
    return {
        "agent": "sender",
        "directory": str(directory),
        "epoch_ns": 0,
        "interval_ns": 5_000_000,
        "drain_ns": 0,
        "duration_ns_max": 1_000_000_000,
        "endpoints": [{"name": "b", "address": "127.0.0.2"}, {"name": "a", "address": "127.0.0.1", "reflects": False}],
        "flows": [
            {
                "id": WIDE + number,
                "ssid": number,
                "source": source,
                "source_address": addresses[0],
                "destination": destination,
                "destination_address": addresses[1],
            }
            for number, source, destination, addresses in (
                (9, "a", "b", ("127.0.0.1", "127.0.0.2")),
                (4, "b", "c", ("127.0.0.2", "127.0.0.3")),
                (2, "a", "c", ("127.0.0.1", "127.0.0.3")),
                (1, "c", "a", ("127.0.0.3", "127.0.0.1")),
            )
        ],
    }


def test_settings_survive_json(tmp_path: Path) -> None:
    settings = parse_settings(document(tmp_path), where="x")
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings.as_json()))
    assert read_settings(path) == settings
    assert settings.ticks_max == 201


def test_flows_of_a_source_stand_next_to_each_other_in_the_order_of_the_endpoints(tmp_path: Path) -> None:
    settings = parse_settings(document(tmp_path), where="x")
    assert [flow.id for flow in settings.sent_flows] == [WIDE + 4, WIDE + 2, WIDE + 9]
    assert [flow.id for flow in settings.reflected_flows] == [WIDE + 9]


def test_an_ipv6_address_is_kept_in_its_shortest_form(tmp_path: Path) -> None:
    text = json.dumps(document(tmp_path)).replace("127.0.0.", "fd00:0:0::")
    settings = parse_settings(json.loads(text), where="x")
    assert [endpoint.address for endpoint in settings.endpoints] == ["fd00::2", "fd00::1"]
    assert [flow.sent_to for flow in settings.sent_flows] == ["fd00::3", "fd00::3", "fd00::2"]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("interval_ns",), 0, "interval_ns: found 0; expected a whole number from 50000"),
        (("interval_ns",), True, "interval_ns: found True"),
        (("packet_octets",), 43, "packet_octets: found 43"),
        (("packet_octets",), 46, "packet_octets: found 46; expected 44, or 48 and more"),
        (("directory",), "/nowhere/at/all", "directory: found /nowhere/at/all; expected a directory that exists"),
        (("agent",), "../x", "agent: found '../x'"),
        (("flows",), {}, "flows: found an object; expected a list"),
        (("flows",), [], "flows: found no flow"),
        (("flows", 1, "id"), WIDE + 9, "flows: found id 70009 twice"),
        (("flows", 0, "id"), 1 << 32, "flows[0].id: found 4294967296; expected a whole number from 1 to 4294967295"),
        (("flows", 1, "ssid"), 9, "flows: found ssid 9 twice"),
        (("flows", 0, "ssid"), 65_536, "flows[0].ssid: found 65536; expected a whole number from 1 to 65535"),
        (("flows", 0, "source_address"), "127.0.0.9", "flows[0].source_address: found '127.0.0.9'"),
        (("flows", 2, "colour"), "red", "flows[2]: found the key 'colour'"),
        (("endpoints", 0, "address"), "::1", "found IPv4 and IPv6 addresses; expected one family"),
        (("flows", 0, "rewritten_sources"), ["fd00::1"], "found IPv4 and IPv6 addresses; expected one family"),
        (("endpoints", 0, "address"), "a", "endpoints[0].address: found 'a'; expected an IPv4 or IPv6 address"),
        (
            ("endpoints", 0, "address"),
            "fe80::1%eth0",
            "endpoints[0].address: found 'fe80::1%eth0'; expected an IPv4 address, or",
        ),
        (("endpoints", 0, "address"), "::ffff:10.0.0.1", "endpoints[0].address: found '::ffff:10.0.0.1'; expected an IPv4"),
        (("endpoints", 0, "name"), "a", "endpoints: found 'a' twice"),
        (("duration_ns_max",), 86_400 * 10**9 + 1, "duration_ns_max: found"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, place: tuple[Any, ...], value: object, message: str) -> None:
    content = document(tmp_path)
    inner: Any = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(UsageError) as caught:
        parse_settings(content, where="x.json")
    assert str(caught.value).startswith(f"x.json: {message}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_nonsense_is_a_usage_error_and_nothing_else(data: st.DataObject) -> None:
    content = document(Path("/"))
    inner: Any = content if data.draw(st.booleans()) else data.draw(st.sampled_from(content["flows"] + content["endpoints"]))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    with contextlib.suppress(UsageError):
        parse_settings(content, where="x")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"agent": 3}'])
def test_the_agent_refuses_with_one_message_and_exit_code_2(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert str(path) in err


def test_the_agent_wants_one_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m probes.agent SETTINGS.json...\n"
