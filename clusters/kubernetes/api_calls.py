"""HTTP calls to a Kubernetes API server: JSON in, JSON out, errors of hitless, and the user name of the caller.

The official client provides kubeconfig, expiring tokens, exec plug-ins, TLS and connections. Its generated classes are not
used, because objects are the plain dicts that the doubles write. It is imported when a connection is made, because it takes as
long to import as all of hitless, and the lab does not need it. Nothing here retries or sleeps, because a Retry-After that
urllib3 obeyed would stop the run's only loop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clusters.kubernetes.api_errors import hitless_errors, kubeconfig_errors, refusal
from hitless.documents import read_document
from hitless.errors import ApiUnavailableError
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
            NotFoundError, ConflictError, ApiUnavailableError, ApiError: see `clusters.kubernetes.api_errors`.
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
        """What the kubeconfig says, for connections that are not calls."""
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
    """Read a kubeconfig. Raises UsageError: the file is not there or cannot be used."""
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
