"""HTTP calls to a Kubernetes API server: JSON in, JSON out, errors of hitless, and the user name of the caller.

The official client provides kubeconfig, expiring tokens, exec plug-ins, TLS and connections. Its generated classes are not
used, because objects are the plain dicts that the doubles write. It is imported when a connection is made, because it takes as
long to import as all of hitless, and the lab does not need it. Nothing here retries or sleeps, because a Retry-After that
urllib3 obeyed would stop the run's only loop.

No exception of a library leaves this package. The class of an error says what to do next: try again later, read again, correct
the access, or correct the object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from urllib3.exceptions import HTTPError

from hitless.documents import read_document
from hitless.errors import ApiError, ApiUnavailableError, ConflictError, HitlessError, NotFoundError, UsageError
from hitless.words import JsonObject

if TYPE_CHECKING:
    from kubernetes import client, watch

APPLY: Final = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML. Source: Kubernetes API concepts, patch types."""
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"

_CONNECT_S: Final = 2.0
READ_S: Final = 5.0
"""Longest time for which a call may stop the run's only loop. Calico's own limit for writing a condition is 2 s in all. Source:
node pkg/lifecycle."""
_WATCH_S: Final = 30
"""The server ends a watch after this time, and hitless resumes it. So a connection that died silently is noticed."""
_WATCH_READ_S: Final = _WATCH_S + 5.0

_CONNECTIONS_MAX: Final = 32
"""Connections that are kept open: a watch per kind, and the calls in between."""
_TEXT_LENGTH_MAX: Final = 500
"""Longest quotation of an answer in a message, characters."""

_AWAY: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which a later attempt may succeed. Source: k8s.io/apimachinery pkg/api/errors: IsServerTimeout,
IsTimeout, IsTooManyRequests, IsInternalError, IsServiceUnavailable; 502 and 504 are a load balancer's."""

_UNTYPED: Final = "failed to create typed patch object"
"""An object that does not fit its schema is a 500 in a server-side apply, and no attempt cures it. Source: k8s.io/apimachinery
pkg/util/managedfields, observed on 1.36."""


class GoneError(ApiError):
    """The resource version is too old to resume from (HTTP 410, or an event of that status): list again."""


class DeniedError(ApiError):
    """The user lacks the right (HTTP 401, 403): correct the credentials or the RBAC objects."""


_CLASSES: Final[Mapping[int, type[ApiError]]] = {
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
}


def refusal(request: str, status: int, body: str, *, reason: str = "") -> ApiError:
    """Return the error of an HTTP status. Its reason phrase is quoted if the body contains no message."""
    text = f"{request}: HTTP {status}: {_said(body) or reason or 'no reason given'}"
    if status in _CLASSES:
        return _CLASSES[status](text)
    return ApiUnavailableError(text) if status in _AWAY and _UNTYPED not in text else ApiError(text)


@contextmanager
def hitless_errors(request: str) -> Iterator[None]:
    """Turn everything that a call of the client can raise into an ApiError."""
    from kubernetes.client.exceptions import ApiException, OpenApiException  # noqa: PLC0415 - see above
    from kubernetes.config import ConfigException  # noqa: PLC0415 - as above

    try:
        yield
    except HitlessError:
        raise
    except ConfigException as error:
        raise DeniedError(f"{request}: cannot get credentials: {_one_line(error)}") from error
    except ApiException as error:
        if error.status:
            raise refusal(request, error.status, _as_text(error.body), reason=str(error.reason)) from error
        raise _no_answer(request, error) from error
    except (HTTPError, OSError) as error:
        raise _no_answer(request, error) from error
    except (OpenApiException, ValueError, KeyError, TypeError, AttributeError) as error:
        # The client's own parsing of an answer that is not the API's: no JSON, an event without its fields.
        raise ApiUnavailableError(f"{request}: the server that answered is not a Kubernetes API: {_one_line(error)}") from error


@contextmanager
def kubeconfig_errors(kubeconfig: Path) -> Iterator[None]:
    """Turn everything that reading a kubeconfig can raise into a UsageError: the client does not check the file's structure."""
    from kubernetes.config import ConfigException  # noqa: PLC0415 - see above

    try:
        yield
    except HitlessError:
        raise
    except (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        allowed = "a kubeconfig with a context that works"
        raise UsageError(where=str(kubeconfig), found=_one_line(error), expected=allowed) from error


def _no_answer(request: str, error: Exception) -> ApiError:
    text = _one_line(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return DeniedError(f"{request}: the server's certificate does not match the kubeconfig: {text}")
    return ApiUnavailableError(f"{request}: no answer: {text}")


def _said(body: str) -> str:
    """Return the message of a Status object, or the beginning of any other answer."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    message = status.get("message") if isinstance(status, dict) else None
    return " ".join(str(message or body).split())[:_TEXT_LENGTH_MAX]


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_TEXT_LENGTH_MAX]


def _as_text(body: object) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")


class ApiCalls:
    """Calls one API server, by the official client; a watch waits longer than `read_s` for an answer. See `connect`."""

    def __init__(self, api_client: client.ApiClient, read_s: float = READ_S) -> None:
        self._client = api_client
        self._read_s = read_s

    def call(
        self,
        method: str,
        path: str,
        *,
        about: str,
        query: Mapping[str, str | bool] | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
        user: str | None = None,
    ) -> JsonObject:
        """Send one request and return the answer.

        Messages call the object `about`, such as `Node node-a1`. With a user the request impersonates that user, whose groups
        (of a ServiceAccount) the server adds; else it is the kubeconfig's own user's.

        Raises:
            NotFoundError, ConflictError, ApiUnavailableError, ApiError: see `clusters.kubernetes.api_calls`.
        """
        request = f"{method} {about}" + (f" as {user}" if user else "")
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if user is not None:
            headers["Impersonate-User"] = user
        with hitless_errors(request):
            answer = json.loads(self._ask(request, method, path, query or {}, headers, body))
            if not isinstance(answer, dict):
                raise ApiUnavailableError(
                    f"{request}: the server that answered is not a Kubernetes API: {type(answer).__name__}"
                )
            return answer

    def patch(self, path: str, body: JsonObject, *, about: str, content_type: str = MERGE) -> JsonObject:
        """Patch an object and return it. Raises ApiError: as `call`."""
        return self.call("PATCH", path, about=about, body=body, content_type=content_type)

    def read_log(self, namespace: str, pod: str, container: str, *, lines_max: int, is_previous: bool) -> str:
        """Return the last lines of a container's log, or of the one before its last restart. Raises ApiError: as `call`."""
        request = f"GET the log of {container} in {pod}"
        query: dict[str, str | bool] = {"container": container, "tailLines": str(lines_max), "previous": is_previous}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with hitless_errors(request):
            return self._ask(request, "GET", path, query, {"Accept": "*/*"}, None).decode(errors="replace")

    def watch(self, path: str, *, about: str, version: int, stream: watch.Watch) -> Iterator[tuple[int, bool]]:
        """Yield for each event after a version the collection's version, and whether something happened: no bookmark.

        It goes on until the server ends the watch, as it does after a while.

        It uses the client's Watch.stream, but not its `deserialize=False`, which turns an expired version into a KeyError; a
        function without a declared return type has the same effect. Because of the timeout the caller has to resume and list.

        Raises:
            GoneError: the version is too old, said by status or by event.
            ApiError: as `call`.
        """
        request = f"WATCH {about}"

        def open_stream(**options: Any) -> Any:  # noqa: ANN401 - an urllib3 response, as Watch.stream wants it
            query = {
                "watch": True,
                "allowWatchBookmarks": True,
                "resourceVersion": options["resource_version"],
                "timeoutSeconds": str(options["timeout_seconds"]),
            }
            response = self._send("GET", path, query, {"Accept": "application/json"}, None, (_CONNECT_S, _WATCH_READ_S))
            if response.status != 200:  # noqa: PLR2004 - HTTP OK
                try:
                    text = response.data.decode(errors="replace")
                finally:
                    response.release_conn()
                raise refusal(request, response.status, text, reason=str(response.reason))
            return response

        with hitless_errors(request):
            for event in stream.stream(open_stream, resource_version=str(version), timeout_seconds=_WATCH_S):
                metadata = event["object"]["metadata"]
                yield int(metadata["resourceVersion"]), event["type"] != "BOOKMARK"

    @property
    def configuration(self) -> client.Configuration:
        """Configuration from the kubeconfig, for connections that are not calls."""
        found: client.Configuration = self._client.configuration
        return found

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._client.close()

    def _ask(
        self,
        request: str,
        method: str,
        path: str,
        query: Mapping[str, str | bool],
        headers: dict[str, str],
        body: JsonObject | None,
    ) -> bytes:
        """Send one request and return the content of a successful answer."""
        response = self._send(method, path, query, headers, body, (_CONNECT_S, self._read_s))
        try:
            text: bytes = response.data
        finally:
            response.release_conn()
        if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's range of success
            raise refusal(request, response.status, text.decode(errors="replace"), reason=str(response.reason))
        return text

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | bool],
        headers: dict[str, str],
        body: JsonObject | None,
        timeouts_s: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - an urllib3 response; the client has no types
        spelled = [(key, json.dumps(value) if isinstance(value, bool) else value) for key, value in query.items()]
        request = self._client.param_serialize(
            method, path, query_params=spelled, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        return self._client.call_api(*request, _request_timeout=timeouts_s).response


def list_objects(calls: ApiCalls, path: str, api_version: str, kind: str) -> tuple[tuple[JsonObject, ...], int]:
    """Return the objects of a collection, in order of their names, and the version of the collection.

    Raises:
        NotFoundError: the server does not know the kind (a CRD is missing, the API version is not served).
        ApiError: as `ApiCalls.call`.
    """
    about = f"list of {kind}"
    answer = calls.call("GET", path, about=about)
    with hitless_errors(f"GET {about}"):
        # The items of a list come without the two fields that are the same for all.
        items = ({"apiVersion": api_version, "kind": kind, **item} for item in answer["items"] or ())
        objects = tuple(sorted(items, key=lambda item: str(item["metadata"]["name"])))
        return objects, int(answer["metadata"]["resourceVersion"])


def connect(kubeconfig: Path, context: str | None = None, read_s: float = READ_S) -> ApiCalls:
    """Read a kubeconfig. Raises UsageError: the file is missing or cannot be used."""
    from kubernetes import client, config  # noqa: PLC0415 - see above

    read_document(kubeconfig)  # An error in the YAML is reported with file and line, as for every other document.
    with kubeconfig_errors(kubeconfig):
        settings = client.Configuration()
        settings.retries = False
        settings.connection_pool_maxsize = _CONNECTIONS_MAX
        made = config.new_client_from_config(
            config_file=str(kubeconfig), context=context, persist_config=False, client_configuration=settings
        )
        return ApiCalls(made, read_s)
