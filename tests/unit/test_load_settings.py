"""What the processes of the load are told: read back whole, and refused with the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hitless.errors import UsageError
from probes.load_settings import (
    LocustSettings,
    PeerSettings,
    PlaceSettings,
    ServiceSettings,
    read_locust_settings,
    read_service_settings,
)


def service(directory: Path) -> ServiceSettings:
    return ServiceSettings(
        name="service",
        directory=directory,
        body_octets=1000,
        connections_max=16,
        duration_ns_max=10**9,
        places=(
            PlaceSettings(pod="a-mesh", address="100.96.0.2", namespace="/run/netns/a-mesh"),
            PlaceSettings(pod="b-mesh", address="100.96.1.2", port=0),
        ),
    )


def worker(directory: Path) -> LocustSettings:
    return LocustSettings(
        name="worker-a-mesh",
        directory=directory,
        epoch_ns=-5,
        namespace="/run/netns/a-mesh",
        client=1,
        peers=(PeerSettings(server=3, pod="b-mesh", address="100.96.1.2"),),
        users=4,
        interval_ns=100_000_000,
        body_octets=10,
        timeout_ns=2 * 10**9,
        duration_ns_max=60 * 10**9,
    )


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_settings_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert read_service_settings(write(path, service(tmp_path).as_json())) == service(tmp_path)
    assert read_locust_settings(write(path, worker(tmp_path).as_json())) == worker(tmp_path)
    master = LocustSettings(name="master", directory=tmp_path, epoch_ns=0, duration_ns_max=1)
    assert read_locust_settings(write(path, master.as_json())) == master


@pytest.mark.parametrize(
    ("changes", "place", "allowed"),
    [
        ({"users": -1}, "users", "a whole number from 0 to 100"),
        ({"users": True}, "users", "a whole number from 0 to 100"),
        ({"users": 101}, "users", "a whole number from 0 to 100"),
        ({"peers": []}, "peers", "at least one, for 4 users"),
        ({"peers": None}, "peers", "a list of objects"),
        ({"peers": [1]}, "peers[0]", "an object with server, pod, address, port"),
        ({"peers": [{"server": 0, "pod": "b", "address": "b", "port": 1}]}, "peers[0].address", "an IPv4 or IPv6 address"),
        ({"peers": [{"server": 0, "pod": "b", "address": "10.0.0.1", "port": 0}]}, "peers[0].port", "from 1 to 65535"),
        ({"peers": [{"server": 0, "pod": "b\r\n", "address": "10.0.0.1", "port": 1}]}, "peers[0].pod", "a name of letters"),
        ({"name": "../up"}, "name", "a name of letters"),
        ({"directory": "/nowhere/at/all"}, "directory", "a directory that exists"),
        ({"namespace": "a\0b"}, "namespace", "a string that is not empty"),
        ({"interval_ns": 0}, "interval_ns", "a whole number from 1000000 to"),
        ({"timeout_ns": 0}, "timeout_ns", "a whole number from 1 to"),
        ({"duration_ns_max": 10**15}, "duration_ns_max", "a whole number from 1 to"),
        ({"body_octets": 1201}, "body_octets", "a whole number from 0 to 1200"),
        ({"body": 1}, "", "name, directory, epoch_ns"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, changes: dict[str, Any], place: str, allowed: str) -> None:
    path = write(tmp_path / "settings.json", worker(tmp_path).as_json() | changes)
    with pytest.raises(UsageError) as caught:
        read_locust_settings(path)
    assert (caught.value.where, caught.value.place) == (str(path), place)
    assert allowed in caught.value.expected


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"places": []}, "places"),
        ({"places": [{"pod": "a", "address": "10.0.0.1", "port": 65536}]}, "places[0].port"),
        ({"connections_max": 0}, "connections_max"),
        ({"body_octets": 1 << 30}, "body_octets"),
        ({"duration_ns_max": None}, "duration_ns_max"),
    ],
)
def test_a_service_is_bounded(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    path = write(tmp_path / "settings.json", service(tmp_path).as_json() | changes)
    with pytest.raises(UsageError) as caught:
        read_service_settings(path)
    assert caught.value.place == place


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="one JSON object"):
        read_service_settings(path)
    with pytest.raises(UsageError, match="a readable JSON file"):
        read_service_settings(tmp_path / "none.json")


@pytest.mark.parametrize("document", [None, 1, [], "text"])
def test_what_is_no_object_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(UsageError, match="an object with name, directory"):
        read_locust_settings(write(tmp_path / "settings.json", document))
