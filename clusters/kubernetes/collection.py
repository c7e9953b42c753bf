"""A collection of a real API that a thread watches and lists, so that the run's only loop reads it without a call.

Each event of the watch leads to a fresh list, which is small here, and the newest list is what `take` returns. It knows any
resource; `KindKube` knows only the kinds of the switch.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import Final

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.api_errors import hitless_errors
from clusters.kubernetes.resources import Resource
from clusters.kubernetes.watcher import end_watch, open_watch
from hitless.errors import ApiError
from hitless.words import JsonObject

_RETRY_S: Final = 0.2


class Collection:
    """The objects of one resource, in all namespaces or in one.

    Args:
        calls: the API server.
        resource: what is followed.
        kind: kind of its objects, which a list leaves out.
        namespace: of a namespaced resource; empty: all of them.
    """

    def __init__(self, calls: ApiCalls, resource: Resource, kind: str, namespace: str = "") -> None:
        self._calls, self._resource, self._kind = calls, resource, kind
        self._path = resource.path(namespace=namespace) if namespace else replace(resource, is_namespaced=False).path()
        self._about = f"list of {kind}"
        self._lock = threading.Lock()
        self._objects: tuple[JsonObject, ...] = ()
        self._is_new = False
        self._stream = open_watch()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow {kind}", daemon=True)

    def start(self) -> None:
        """Start to follow in the background; a resource that is not served yet is followed as soon as it is."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to call twice, and before `start`."""
        self._stopping.set()
        end_watch(self._thread, self._stream)

    @property
    def objects(self) -> tuple[JsonObject, ...]:
        """The objects as they were listed last, in order of their names. They are shared: do not change them."""
        with self._lock:
            return self._objects

    def take(self) -> tuple[JsonObject, ...] | None:
        """Return the objects where they were listed since the last call; None: nothing is new."""
        with self._lock:
            is_new, self._is_new = self._is_new, False
            return self._objects if is_new else None

    def _follow(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(ApiError):
                self._watch(self._list())
            self._stopping.wait(_RETRY_S)

    def _watch(self, version: int) -> None:
        for event in self._calls.watch(self._path, about=self._about, version=version, stream=self._stream):
            if self._stopping.is_set():
                return
            # Several events may have come meanwhile: what the list has seen already is not listed again.
            if not event.is_bookmark and event.version > version:
                version = self._list()

    def _list(self) -> int:
        answer = self._calls.call("GET", self._path, about=self._about)
        with hitless_errors(f"GET {self._about}"):
            head = {"apiVersion": self._resource.api_version, "kind": self._kind}
            objects = tuple(
                sorted(({**head, **item} for item in answer["items"] or ()), key=lambda one: one["metadata"]["name"])
            )
            version = int(answer["metadata"]["resourceVersion"])
        with self._lock:
            self._objects, self._is_new = objects, True
        return version
