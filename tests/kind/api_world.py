"""Shared by the tests of the Kubernetes API: a server with accounts and CRD, an API on it, and waiting without sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.kubernetes.api_calls import APPLY, connect
from clusters.kubernetes.kube import KindKube
from clusters.programs.api_server import ApiServer, find_assets
from gardener.manifests.rbac import calico_objects, make_account, make_grant, make_rule, part_objects
from hitless.errors import ApiError, MissingCapabilityError
from hitless.words import JsonObject, Kind
from tests.kind.ippool_crd import ip_pool_crd

WAIT_S = 10.0


def validate(kube: KindKube, documents: Iterable[JsonObject]) -> None:
    """Let the server validate objects without storing them: schema, unknown fields, defaulting, admission."""
    query: dict[str, str | bool] = {"fieldManager": "hitless", "force": True, "dryRun": "All", "fieldValidation": "Strict"}
    for document in documents:
        path = kube.installer._path(document)
        kube._calls.call("PATCH", path, about=document["kind"], query=query, body=document, content_type=APPLY)


@contextmanager
def running_server(directory: Path, flags: Sequence[str] = ()) -> Iterator[ApiServer]:
    """Run a server that holds the accounts of all parts, IPPool's CRD, and the suite's own accounts, which have all rights."""
    try:
        server = ApiServer(find_assets(), directory, flags)
    except MissingCapabilityError as missing:
        pytest.skip(f"missing: a Kubernetes API server: {missing}")
    try:
        server.up()
        kube = KindKube(connect(server.kubeconfig))
        suite = ("hitless-conformance", "hitless-conformance-other")
        everything = make_rule(["*"], ["*"], group="*")
        kube.installer.install(
            [
                *part_objects(),
                *calico_objects(),
                *(make_account(name) for name in suite),
                *make_grant("hitless-conformance", [everything], *suite),
                ip_pool_crd(),
            ]
        )
        wait_until(lambda: is_served(kube, Kind.IP_POOL), "IPPool is not served")
        kube.stop()
        yield server
    finally:
        server.down()


@contextmanager
def watched_api(kubeconfig: Path) -> Iterator[KindKube]:
    """Follow the API of a kubeconfig, and end the watches."""
    kube = KindKube(connect(kubeconfig))
    try:
        kube.start()
        yield kube
    finally:
        kube.stop()


def is_served(kube: KindKube, kind: Kind) -> bool:
    """Return whether the server answers for a kind."""
    try:
        kube.list(kind)
    except ApiError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition is true; fail with the text `what` after a time-out."""
    pause, deadline = threading.Event(), time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"after {WAIT_S:.0f} s: {what}"
        pause.wait(0.01)


def wait_told(kube: KindKube, kind: Kind) -> None:
    """Wait until a change of a kind is reported."""
    wait_until(lambda: kind in kube.take_changes(), f"no change of {kind.value} was told")


def register_node(kube: KindKube, name: str) -> str:
    """Create a Ready Node, as a kubelet does, and return its name."""
    kube.installer.install([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}])
    kube.merge_condition(name, {"type": "Ready", "status": "True", "reason": "KubeletReady"}, actor="hitless-conformance")
    return name
