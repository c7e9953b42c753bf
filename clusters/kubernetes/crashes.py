"""Containers that crash, with the end of their log. A wait for a pod would otherwise show only its counters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from hitless.errors import ApiError
from hitless.objects import name_of
from hitless.words import JsonObject

_DESCRIBED_MAX: Final = 2
"""Containers named in a message."""
LINES_MAX: Final = 5
"""Lines of a log in a message."""
HOPELESS_RESTARTS: Final = 3
"""Restarts after which a container is not waited for any longer. A slow API server explains one or two crashes."""


class ReadLog(Protocol):
    """Reads the last lines of a container's log; `clusters.kubernetes.api_calls.ApiCalls.read_log` is one."""

    def __call__(self, namespace: str, pod: str, container: str, *, lines_max: int, is_previous: bool) -> str:
        """Return them. Raises ApiError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedContainer:
    """A container that ended with an error, or runs and is not ready."""

    pod: JsonObject
    status: JsonObject
    """Its ContainerStatus."""
    exit_code: int | None
    """None: it runs."""

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return int(self.status.get("restartCount", 0))

    @property
    def is_hopeless(self) -> bool:
        """Whether it is pointless to wait for it."""
        return self.exit_code is not None and self.restarts >= HOPELESS_RESTARTS


def find_crashes(pods: Iterable[JsonObject]) -> tuple[FailedContainer, ...]:
    """Return the containers that ended with an error, most restarts first. Source: Kubernetes API, ContainerStatus."""
    found = (crash for pod in pods for crash in _crashes_of(pod))
    return tuple(sorted(found, key=lambda crash: (-crash.restarts, name_of(crash.pod), crash.status["name"])))


def find_unready(pods: Iterable[JsonObject]) -> tuple[FailedContainer, ...]:
    """Return the containers that run and are not ready, in order of their pods' names."""
    return tuple(
        FailedContainer(pod=pod, status=container, exit_code=None)
        for pod in sorted(pods, key=name_of)
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if "running" in (container.get("state") or {}) and not container.get("ready")
    )


def describe_crashes(read_log: ReadLog, crashes: Iterable[FailedContainer]) -> str:
    """Return a sentence for each of the first crashes, with the end of its log; empty: there is none."""
    return "; ".join(_describe(read_log, crash) for crash in islice(crashes, _DESCRIBED_MAX))


def _crashes_of(pod: JsonObject) -> Iterator[FailedContainer]:
    status: dict[str, Any] = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state, last = container.get("state") or {}, container.get("lastState") or {}
        ended = state.get("terminated") or (last.get("terminated") if "waiting" in state else None)
        if ended and ended.get("exitCode"):
            yield FailedContainer(pod=pod, status=container, exit_code=ended["exitCode"])


def _describe(read_log: ReadLog, crash: FailedContainer) -> str:
    how = "is not ready" if crash.exit_code is None else f"ended with exit code {crash.exit_code}"
    metadata, pod, container = crash.pod["metadata"], name_of(crash.pod), crash.status["name"]
    text = f"container {container} of pod {pod} on {crash.pod['spec'].get('nodeName', '')} {how}"
    # One that waits to be started again has its words in the log of the start before.
    is_previous = crash.restarts > 0 and "waiting" in (crash.status.get("state") or {})
    try:
        log = read_log(metadata.get("namespace", "default"), pod, container, lines_max=LINES_MAX, is_previous=is_previous)
    except ApiError as error:
        return f"{text}; its log cannot be read: {error}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"{text}; its log ends: {' | '.join(lines)}" if lines else f"{text}; its log is empty"
