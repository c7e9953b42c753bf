"""A watcher survives all failures of its server and misses no change; the server follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from hitless.words import JsonObject, Kind
from tests.kind.api_world import wait_told, wait_until
from tests.kind.scripted_api import Exchange, scripted_api


def event(name: str, version: int, uid: str = "u1") -> bytes:
    metadata = {"name": "node-a1", "uid": uid, "resourceVersion": str(version)}
    return json.dumps({"type": name, "object": {"kind": "Node", "metadata": metadata}}).encode()


def failure(code: int) -> bytes:
    status = {"kind": "Status", "code": code, "reason": "Expired", "message": "too old resource version: 10 (20)"}
    return json.dumps({"type": "ERROR", "object": status}).encode()


class Script:
    """Lists have version 10, 20, 30 ...; watches get the replies in turn, and the last one forever."""

    def __init__(self, *watches: Callable[[Exchange], None]) -> None:
        self._watches = list(watches)
        self.lists = 0
        self.watched_from: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        if exchange.query.get("watch") != "true":
            self.lists += 1
            exchange.send_json({"kind": "NodeList", "metadata": {"resourceVersion": str(10 * self.lists)}, "items": []})
            return
        self.watched_from.append(exchange.query["resourceVersion"])
        reply = self._watches.pop(0) if len(self._watches) > 1 else self._watches[0]
        reply(exchange)


def held(*lines: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.stream(*lines, is_held=True)


def ended(*lines: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.stream(*lines, is_held=False)


def refused(status: int) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(status, b'{"kind":"Status","message":"no"}', Retry_After="30")


def reset(exchange: Exchange) -> None:
    exchange.reset()


def run(tmp_path: Path, script: Script, until: Callable[[KindKube], object]) -> None:
    with scripted_api(tmp_path, script) as (kubeconfig, _):
        kube = KindKube(connect(kubeconfig))
        kube.start([Kind.NODE])
        try:
            until(kube)
        finally:
            kube.stop()


def test_an_event_is_told_and_a_bookmark_is_not(tmp_path: Path) -> None:
    script = Script(held(event("BOOKMARK", 11)))

    def until(kube: KindKube) -> None:
        wait_until(lambda: kube.watchers[Kind.NODE].version == 11, "the bookmark was not read")
        assert kube.take_changes() == frozenset()

    run(tmp_path, script, until)
    run(tmp_path, Script(held(event("ADDED", 11))), lambda kube: wait_told(kube, Kind.NODE))


def test_a_watch_that_the_server_ends_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    script = Script(ended(event("MODIFIED", 12)), ended(event("BOOKMARK", 15)), ended(), held(event("DELETED", 16)))

    def until(kube: KindKube) -> None:
        wait_until(lambda: kube.watchers[Kind.NODE].version == 16, "the last event was not read")

    run(tmp_path, script, until)
    assert script.watched_from == ["10", "12", "15", "15"]
    assert script.lists == 1


@pytest.mark.parametrize(
    "breakage",
    [
        refused(410),
        held(failure(410)),
        held(failure(500)),
        refused(401),
        refused(404),
        refused(429),
        refused(500),
        reset,
        held(b"no JSON"),
        held(b"[]"),
        held(b"{}"),
        held(b'{"type":"ERROR"}'),
        held(b'{"type":"ERROR","object":{}}'),
        held(b'{"type":"ADDED","object":{"metadata":{}}}'),
        held(b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"x"}}}'),
    ],
)
def test_whatever_breaks_it_lists_again_and_counts_as_changed(tmp_path: Path, breakage: Callable[[Exchange], None]) -> None:
    script = Script(breakage, held())

    def until(kube: KindKube) -> None:
        wait_told(kube, Kind.NODE)
        assert len(kube.watchers[Kind.NODE].failures) == 1

    run(tmp_path, script, until)
    assert script.lists == 2
    assert script.watched_from[0] == "10"


def test_a_watch_that_expires_again_and_again_is_tried_again_and_again(tmp_path: Path) -> None:
    script = Script(refused(410), held(failure(410)), refused(410), held(event("ADDED", 41)))

    def until(kube: KindKube) -> None:
        wait_until(lambda: kube.watchers[Kind.NODE].version == 41, "it gave up")

    run(tmp_path, script, until)
    assert script.watched_from == ["10", "20", "30", "40"]


def test_what_the_answer_has_told_the_event_does_not_tell_again(tmp_path: Path) -> None:
    node: JsonObject = {"kind": "Node", "metadata": {"name": "node-a1", "uid": "u1", "resourceVersion": "11"}}
    script = Script(held(event("MODIFIED", 11), event("BOOKMARK", 12)))

    def reply(exchange: Exchange) -> None:
        if exchange.command == "PATCH":
            exchange.send_json(node)
        else:
            script(exchange)

    with scripted_api(tmp_path, reply) as (kubeconfig, _):
        kube = KindKube(connect(kubeconfig))
        kube.start([Kind.NODE])
        wait_until(lambda: kube.watchers[Kind.NODE].version == 12, "the bookmark was not read")
        assert kube.take_changes() == {Kind.NODE}
        kube.merge_condition("node-a1", {"type": "Ready"}, actor="test")
        assert kube.take_changes() == frozenset()
        kube.stop()
