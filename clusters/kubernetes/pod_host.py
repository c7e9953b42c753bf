"""Interface of a cluster that runs the prober's pods: install objects, list pods, execute a command.

It is a separate port, so that tests can use a fake. A command in a pod goes from the API server to the kubelet at the node's
own address (on a Gardener shoot through its VPN), never over the pod network. A stream may break at any time, so a command must
be safe to repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from clusters.kubernetes.api_calls import ApiCalls, hitless_errors, list_objects, refusal
from clusters.kubernetes.installer import RESOURCES, Installer
from hitless.clock import came_true
from hitless.errors import ApiUnavailableError, WorldError
from hitless.words import JsonObject, Kind

_SLICE_S: Final = 1.0
_SILENCE_S: Final = 10.0
"""Longest time for a handshake, or for the rest of a frame that has begun."""
_HANDSHAKE: Final = re.compile(r"Handshake status (\d{3}) (.*)", re.DOTALL)
"""The client's text for a refused upgrade. Source: websocket-client _handshake.py."""


class PodHost(Protocol):
    """A cluster that runs the prober's pods."""

    def install(self, documents: Sequence[JsonObject]) -> None:
        """Create objects or change them to these. Raises ApiError."""

    def get(self, document: JsonObject) -> JsonObject:
        """Return the object of the same kind and name as it is. Raises NotFoundError, ApiError."""

    def uninstall(self, documents: Sequence[JsonObject]) -> None:
        """Delete the objects of the same kinds and names, the last first, and what is in them; see `Installer`."""

    def pods(self, namespace: str) -> tuple[JsonObject, ...]:
        """Return the pods of a namespace. Raises ApiError."""

    def execute(self, namespace: str, pod: str, command: Sequence[str], line: bytes, timeout_s: float) -> bytes:
        """Run a command in a pod, with one line as its stdin; return its stdout. Threads may call it at the same time.

        Raises:
            WorldError: the pod is not there, the command failed, or the stream broke: it may have run or not.
        """


class KubePodHost(Installer):
    """A PodHost behind a kubeconfig; each command has a connection of its own."""

    def __init__(self, calls: ApiCalls) -> None:
        from websocket import setdefaulttimeout  # noqa: PLC0415 - see clusters.kubernetes.api_calls

        super().__init__(calls)
        setdefaulttimeout(_SILENCE_S)  # the client offers no other way to bound a handshake

    def pods(self, namespace: str) -> tuple[JsonObject, ...]:
        """Return the pods of a namespace; see PodHost."""
        return list_objects(self._calls, RESOURCES[Kind.POD].path(namespace=namespace), "v1", "Pod")[0]

    def execute(self, namespace: str, pod: str, command: Sequence[str], line: bytes, timeout_s: float) -> bytes:
        """Run a command over a websocket; see PodHost."""
        from kubernetes.client import ApiClient  # noqa: PLC0415 - see clusters.kubernetes.api_calls
        from websocket import WebSocketException  # noqa: PLC0415 - as above

        request = f"EXEC Pod {pod}"
        with hitless_errors(request), ApiClient(self._calls.configuration) as api_client:
            opened = _open(api_client, request, namespace, pod, command)
            try:
                return _talk(opened, request, line, timeout_s)
            except WebSocketException as error:
                raise ApiUnavailableError(f"{request}: the stream broke: {error}") from error
            finally:
                opened.close()
                opened.sock.shutdown()  # otherwise a broken stream leaves its socket open


def _open(api_client: Any, request: str, namespace: str, pod: str, command: Sequence[str]) -> Any:  # noqa: ANN401 - no types
    """Open the stream. Raises ApiError: the server refused it; the client has the status only in its text."""
    from kubernetes.client import CoreV1Api  # noqa: PLC0415 - see clusters.kubernetes.api_calls
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - as above
    from kubernetes.stream import stream  # noqa: PLC0415 - as above

    try:
        # The stream function replaces its client's request method while it connects: a client each, or threads mix.
        return stream(
            CoreV1Api(api_client).connect_get_namespaced_pod_exec,
            pod,
            namespace,
            command=list(command),
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            binary=True,
            _preload_content=False,
        )
    except ApiException as error:
        status = _HANDSHAKE.search(str(error.reason))
        if status is None:
            raise
        raise refusal(request, int(status[1]), status[2]) from error


def _talk(opened: Any, request: str, line: bytes, timeout_s: float) -> bytes:  # noqa: ANN401 - the client has no types
    """Send the line, gather what comes back until the command ends."""
    opened.write_stdin(line.rstrip(b"\n") + b"\n")
    said, complaint = [], b""

    def has_ended() -> bool:
        nonlocal complaint
        if opened.is_open():
            opened.update(timeout=_SLICE_S)
            said.append(opened.read_channel(1))
            complaint += opened.read_channel(2)
        return not opened.is_open()

    if not came_true(has_ended, timeout_s=timeout_s, poll_s=0):
        raise ApiUnavailableError(f"{request}: no answer in {timeout_s:g} s")
    said.append(opened.read_channel(1))
    complaint += opened.read_channel(2)
    try:
        code = opened.returncode
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise ApiUnavailableError(f"{request}: the stream broke before the command ended") from error
    if code != 0:
        raise WorldError(
            f"{request}: the command ended with exit code {code}: {complaint.decode(errors='replace').strip()[-500:]}"
        )
    return b"".join(said)
