"""Every error between hitless and an API server becomes one message of hitless; no library's exception is passed on."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException, ApiTypeError
from kubernetes.config import ConfigException
from urllib3.exceptions import MaxRetryError, ProtocolError, ReadTimeoutError

from clusters.kubernetes.api_calls import DeniedError, GoneError, connect, hitless_errors, refusal
from clusters.kubernetes.kube import KindKube
from hitless.errors import ApiError, ApiUnavailableError, ConflictError, HitlessError, NotFoundError, UsageError
from hitless.words import JsonObject, Kind
from tests.kind.scripted_api import Exchange, scripted_api, write_kubeconfig

SOON_S = 0.2
STATUSES: dict[int, type[ApiError]] = {
    301: ApiError,
    400: ApiError,
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    408: ApiUnavailableError,
    409: ConflictError,
    410: GoneError,
    413: ApiError,
    422: ApiError,
    429: ApiUnavailableError,
    500: ApiUnavailableError,
    502: ApiUnavailableError,
    503: ApiUnavailableError,
    504: ApiUnavailableError,
}


def status_document(message: str) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


def make_node() -> JsonObject:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a1", "resourceVersion": "1"}, "status": {}}


CALLS: dict[str, Callable[[KindKube], object]] = {
    "get": lambda kube: kube.get(Kind.NODE, "node-a1"),
    "list": lambda kube: kube.list(Kind.NODE),
    "apply": lambda kube: kube.apply(make_node(), actor="test"),
    "delete": lambda kube: kube.delete(Kind.NODE, "node-a1"),
    "replace_status": lambda kube: kube.replace_status(make_node(), actor="test"),
    "merge_condition": lambda kube: kube.merge_condition("node-a1", {"type": "Ready"}, actor="test"),
    "start": lambda kube: kube.start(),
    "install": lambda kube: kube.installer.install([make_node()]),
}


def raised(kube: KindKube, call: str) -> HitlessError:
    with pytest.raises(HitlessError) as caught:
        CALLS[call](kube)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("call", ["get", "apply"])
def test_every_status_says_what_to_do_next(tmp_path: Path, status: int, call: str) -> None:
    def reply(exchange: Exchange) -> None:
        # A client that honoured Retry-After would hold the run's one loop for half a minute.
        exchange.send(status, status_document("the reason"), Retry_After="30")

    with scripted_api(tmp_path, reply) as (kubeconfig, server):
        kube = KindKube(connect(kubeconfig))
        error = raised(kube, call)
        kube.stop()
    assert type(error) is STATUSES[status]
    assert str(error).endswith(f"HTTP {status}: the reason")
    assert len(server.requests) == 1


def answer_nothing(exchange: Exchange) -> None:
    exchange.wait_for_ever()


def answer_half(exchange: Exchange) -> None:
    exchange.send(200, b'{"metadata":', claimed=500)


def answer_reset(exchange: Exchange) -> None:
    exchange.reset()


def answer_page(exchange: Exchange) -> None:
    exchange.send(200, b"<html>welcome</html>")


def answer_list(exchange: Exchange) -> None:
    exchange.send(200, b"[1, 2]")


def answer_no_text(exchange: Exchange) -> None:
    exchange.send(200, b"\xff\xfe")


def answer_plain_failure(exchange: Exchange) -> None:
    exchange.send(503, b"\n\nupstream connect error\nor so\xff")


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize(
    "reply", [answer_nothing, answer_half, answer_reset, answer_page, answer_list, answer_no_text, answer_plain_failure]
)
def test_an_answer_that_is_none_means_away(tmp_path: Path, reply: Callable[[Exchange], None], call: str) -> None:
    with scripted_api(tmp_path, reply) as (kubeconfig, _):
        kube = KindKube(connect(kubeconfig, read_s=SOON_S))
        assert type(raised(kube, call)) is ApiUnavailableError
        kube.stop()


@pytest.mark.parametrize("call", list(CALLS))
def test_a_server_that_does_not_listen_is_unavailable(tmp_path: Path, call: str) -> None:
    # Port 1 of loopback: only root may listen there, and nothing does.
    kube = KindKube(connect(write_kubeconfig(tmp_path, "http://127.0.0.1:1")))
    assert type(raised(kube, call)) is ApiUnavailableError
    kube.stop()


@pytest.mark.parametrize("call", [name for name in CALLS if name != "get"])
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"kind": "Status"},
        {"metadata": None, "items": [{}], "resources": [{}], "apiVersion": "v1"},
        {"metadata": {"resourceVersion": "x"}, "items": 7, "resources": 7, "apiVersion": "v1"},
    ],
)
def test_json_that_is_not_the_apis_means_away(tmp_path: Path, call: str, answer: JsonObject) -> None:
    with scripted_api(tmp_path, lambda exchange: exchange.send_json(answer)) as (kubeconfig, _):
        kube = KindKube(connect(kubeconfig))
        assert type(raised(kube, call)) is ApiUnavailableError
        kube.stop()


@pytest.mark.parametrize(
    "answer", [{"kind": "Status", "details": {"uid": "u"}}, make_node()], ids=["gone", "a finalizer delays it"]
)
def test_both_answers_to_a_deletion_are_understood(tmp_path: Path, answer: JsonObject) -> None:
    with scripted_api(tmp_path, lambda exchange: exchange.send_json(answer)) as (kubeconfig, _):
        kube = KindKube(connect(kubeconfig))
        kube.delete(Kind.NODE, "node-a1")
        kube.stop()


@pytest.mark.parametrize(
    "text", ["{", "a: 1\na: 2\n", "[]", "{}", "apiVersion: v1\nkind: Config\ncurrent-context: none\n", "clusters: 7\n"]
)
def test_a_kubeconfig_that_is_none_is_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        KindKube(connect(path))


def test_a_kubeconfig_that_is_not_there_or_lacks_the_context_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        KindKube(connect(tmp_path / "none"))
    with pytest.raises(UsageError, match="elsewhere"):
        KindKube(connect(write_kubeconfig(tmp_path, "http://127.0.0.1:1"), "elsewhere"))


@given(status=st.integers(100, 599), body=st.text(max_size=2_000))
def test_any_status_and_any_body_make_one_line(status: int, body: str) -> None:
    text = str(refusal("GET Node x", status, body))
    assert text.startswith(f"GET Node x: HTTP {status}: ")
    assert len(text) < 600
    assert "\n" not in text


def test_an_object_that_fits_no_schema_is_not_away() -> None:
    body = status_document(
        "failed to create typed patch object (/x; apps/v1, Kind=DaemonSet): .spec.x: field not declared in schema"
    )
    assert type(refusal("PATCH", 500, body.decode())) is ApiError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MaxRetryError(None, "/", ProtocolError("gone")), ApiUnavailableError),  # type: ignore[arg-type]  # a pool is not needed
        (ReadTimeoutError(None, "/", "late"), ApiUnavailableError),  # type: ignore[arg-type]  # as above
        (ConnectionResetError("reset"), ApiUnavailableError),
        (ssl.SSLError("record layer failure"), ApiUnavailableError),
        (ApiException(status=0, reason="SSLError\n[SSL: CERTIFICATE_VERIFY_FAILED]"), DeniedError),
        (ApiException(status=410, reason="Expired: too old"), GoneError),
        (ApiException(status=None, reason="strange"), ApiUnavailableError),
        (ApiTypeError("x"), ApiUnavailableError),
        (KeyError("raw_object"), ApiUnavailableError),
        (json.JSONDecodeError("Expecting value", "", 0), ApiUnavailableError),
        (ConfigException("exec: process returned 1"), DeniedError),
        (ConflictError("ours"), ConflictError),
    ],
)
def test_what_the_client_raises_becomes_ours(error: Exception, expected: type[HitlessError]) -> None:
    with pytest.raises(HitlessError) as caught, hitless_errors("GET Node x"):
        raise error
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
