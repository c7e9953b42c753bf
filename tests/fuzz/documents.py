"""Fuzzing what reads files: an agent's settings, record files, scenarios. Each has one kind of error for bad input."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hitless.clock import RunClock
from hitless.errors import RecordDamagedError, UsageError
from hitless.records import HEADER_OCTETS, REFLECTOR_ROW, SENDER_ROW, TABLES, encode_header, read_record
from hitless.words import Profile
from probes import stamp
from probes.settings import AgentSettings, EndpointSettings, FlowSettings, parse_settings, read_settings
from scenarios.loading import CATALOGUE, catalogue, load_scenario
from scenarios.model import Scenario
from scenarios.plan import Options, make_case, make_plan
from tests.fuzz.target import Check, Draws, Target


def _check_message(error: UsageError) -> None:
    """One line that names a file, what is wrong and what to do."""
    text = str(error)
    assert text.startswith("/")
    assert "\n" not in text
    assert "; " in text  # what is wrong; what to do


def _settings_document() -> dict[str, Any]:
    return AgentSettings(
        agent="x",
        directory=Path("/"),
        epoch_ns=0,
        interval_ns=5_000_000,
        drain_ns=0,
        duration_ns_max=1_000_000_000,
        endpoints=(EndpointSettings(name="a", address="10.0.0.1"),),
        flows=(
            FlowSettings(id=1, ssid=1, source="a", source_address="10.0.0.1", destination="b", destination_address="10.0.0.2"),
        ),
    ).as_json()


_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    45,
    47,
    48,
    1 << 40,
    1 << 64,
    0.5,
    "",
    "a",
    "b",
    "udp",
    "icmp",
    "10.0.0.2",
    "x\0",
    [],
    {},
)


def _draw_settings(content: bytes) -> bytes:
    """Return good settings with a few values replaced or removed; an input that begins as JSON does is taken as it is."""
    if content[:1] in {b"{", b"["}:
        return content
    draws, document = Draws(content), _settings_document()
    places = (document, document["endpoints"][0], document["flows"][0])
    for _ in range(1 + draws.number(3)):
        place = places[draws.number(len(places) - 1)]
        name = sorted(place)[draws.number(len(place) - 1)]
        value = draws.number(len(_VALUES))
        if value == len(_VALUES):
            del place[name]
        else:
            place[name] = _VALUES[value]
    return json.dumps(document).encode()


@contextmanager
def _open_settings() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "settings.json"

        def check(content: bytes) -> None:
            path.write_bytes(_draw_settings(content))
            try:
                settings = read_settings(path)
            except UsageError as error:
                _check_message(error)
                return
            assert parse_settings(json.loads(json.dumps(settings.as_json())), where="x") == settings
            assert settings.packet_octets >= stamp.PACKET_OCTETS
            assert settings.ticks_max >= 1
            assert settings.sent_flows or settings.reflected_flows

        yield check


@contextmanager
def _open_record() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.record"

        def check(content: bytes) -> None:
            path.write_bytes(content)
            try:
                header, rows = read_record(path)
            except RecordDamagedError:
                return
            dtype = TABLES[header["table"]]
            assert rows.dtype == dtype
            assert rows.nbytes <= max(0, len(content) - HEADER_OCTETS)
            assert "flow" not in (dtype.names or ()) or (rows["flow"] != 0).all()

        yield check


def _plan(scenario: Scenario, profile: Profile) -> None:
    """Make every plan of a scenario that was found good; a Shoot that does not fit it is found now."""
    with suppress(UsageError):
        case = make_case(scenario, Options(profile=profile))
        for arm in scenario.arm_plans:
            plan = make_plan(case, arm, 1, RunClock())
            assert 0 < plan.probing.interval_ns < plan.probing.duration_ns_max


@contextmanager
def _open_scenario() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "catalogue").mkdir()
        for folder in ("shoots", "configurations"):
            (Path(name) / folder).symlink_to(CATALOGUE.parent / folder)
        path = Path(name) / "catalogue" / "plain-switch.yaml"

        def check(content: bytes) -> None:
            path.write_bytes(content)
            try:
                scenario = load_scenario(path)
            except UsageError as error:
                _check_message(error)
                return
            assert load_scenario(path) == scenario
            for profile in Profile:
                _plan(scenario, profile)

        yield check


SETTINGS = Target(
    name="settings",
    open=_open_settings,
    seeds=(
        json.dumps(_settings_document()).encode(),
        json.dumps(_settings_document() | {"flows": []}).encode(),
        *(b"[]", b'{"agent": "x"}', bytes(3), bytes(range(1, 40))),
    ),
    words=(
        *(f'"{name}"' for name in _settings_document()),
        '"udp"',
        '"icmp"',
        '"tcp-connect"',
        "null",
        "true",
        '"10.0.0.1"',
        "112",
    ),
)
RECORD = Target(
    name="record",
    open=_open_record,
    seeds=(
        *(encode_header(table, {"agent": "x"}) + bytes(2 * dtype.itemsize + 1) for table, dtype in TABLES.items()),
        encode_header("sender", {}) + np.ones(3, dtype=SENDER_ROW).tobytes(),
        encode_header("reflector", {}) + np.ones(1, dtype=REFLECTOR_ROW).tobytes(),
        encode_header("sender", {}).rstrip(),
        b"[" * 4000,
    ),
    words=('"schema"', '"table"', '"row_octets"', '"hitless.record/2"', *(f'"{table}"' for table in TABLES)),
)
SCENARIO = Target(
    name="scenario",
    open=_open_scenario,
    seeds=tuple(path.read_bytes().replace(f"name: {path.stem}\n".encode(), b"name: plain-switch\n") for path in catalogue()),
    words=(
        "arms:",
        "GATED",
        "UNGATED",
        "OVERLAY",
        "NATIVE",
        "faults:",
        "checks:",
        "{fast: ",
        "!!python/name:",
        "&a",
        "*a",
        "<<:",
    ),
)
