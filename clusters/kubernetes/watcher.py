"""Watches of collections of a real API, each in its own thread, which survives every failure.

A watch that the server ended is resumed where it stopped. Everything else (a version that is too old, an unavailable server, a
broken stream, a kind that is not served yet) is handled alike: wait, list, count the collection as changed, watch again. A
watcher never gives up, because a kind without a watch looks exactly like one that does not change.

Resource versions of one kind are compared as numbers. Source: Kubernetes 1.35, KEP-5504; etcd revisions before.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from clusters.kubernetes.api_calls import ApiCalls, hitless_errors, list_objects
from clusters.kubernetes.installer import Resource
from hitless.errors import ApiError, NotFoundError
from hitless.words import JsonObject

_STOP_S: Final = 0.05
_STOP_ATTEMPTS_MAX: Final = 100
"""How long and how often to wait for the thread's end, which a connection attempt can hold up for seconds."""
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 2.0
"""Longest time until a server that is back is noticed."""
_RETRY_UNSERVED_S: Final = 0.25
"""Time until a kind that the server does not serve yet is requested again. It is short, so that the first objects are not
missed."""
_FAILURES_MAX: Final = 20


class KindWatcher:
    """Watches one collection: it knows when something in it changed, not what.

    Args:
        find_path: the collection's path; asked again after each failure.
    """

    def __init__(self, calls: ApiCalls, kind: str, find_path: Callable[[], str]) -> None:
        from kubernetes import watch  # noqa: PLC0415 - see clusters.kubernetes.api_calls

        self._calls, self._find_path = calls, find_path
        self._about = f"list of {kind}"
        self._stream = watch.Watch()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"watch {kind}", daemon=True)
        self.version: int | None = None
        """Version up to which the collection is known; None: it must be listed."""
        self.changed = 0
        """Version of the last change that the watch told."""
        self.has_missed = False
        """Whether changes may have been missed before the last list; the reader resets it."""
        self.failures: deque[str] = deque(maxlen=_FAILURES_MAX)
        """The latest error."""

    def start(self) -> None:
        """List, so that nothing from now on is missed, then watch in the background.

        A kind that is not served yet is watched from the moment it is.

        Raises:
            ApiError: the server does not answer, or refuses.
        """
        with contextlib.suppress(NotFoundError):
            self.version = self._list()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, for 5 s at most. Safe to call twice, and before `start`."""
        self._stopping.set()
        for _ in range(_STOP_ATTEMPTS_MAX):
            if not self._thread.is_alive():
                return
            self._stream.stop()  # A watch that is just being opened does not notice it.
            self._thread.join(_STOP_S)

    def _follow(self) -> None:
        delay_s = _RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                if self.version is None:
                    self.version, self.has_missed = self._list(), True
                self._watch(self.version)
                delay_s = _RETRY_FIRST_S
            except ApiError as error:
                self.failures.append(str(error))
                self.version = None
                delay_s = min(2 * delay_s, _RETRY_UNSERVED_S if isinstance(error, NotFoundError) else _RETRY_MAX_S)
            self._stopping.wait(delay_s)

    def _watch(self, version: int) -> None:
        events = self._calls.watch(self._find_path(), about=self._about, version=version, stream=self._stream)
        for reached, is_change in events:
            if self._stopping.is_set():
                return
            if is_change:
                self._note_change(reached)
            self.version = reached

    def _note_change(self, version: int) -> None:
        self.changed = version

    def _list(self) -> int:
        """Return the collection's present version. Raises NotFoundError if the kind is not served."""
        # One object is enough to read it; a limit of zero would mean all.
        answer = self._calls.call("GET", self._find_path(), about=self._about, query={"limit": "1"})
        with hitless_errors(f"GET {self._about}"):
            return int(answer["metadata"]["resourceVersion"])


class Collection(KindWatcher):
    """The objects of one resource, in all namespaces or in one, so that the run's only loop reads them without a call.

    Each event leads to a fresh list, which is small here, and the newest list is what `take` returns. It knows any resource;
    `KindKube` knows only the kinds of the switch.

    Args:
        kind: kind of its objects, which a list leaves out.
        namespace: of a namespaced resource; empty: all of them.
    """

    def __init__(self, calls: ApiCalls, resource: Resource, kind: str, namespace: str = "") -> None:
        path = resource.path(namespace=namespace) if namespace else replace(resource, is_namespaced=False).path()
        super().__init__(calls, kind, lambda: path)
        self._head = (resource.api_version, kind)
        self._lock = threading.Lock()
        self._objects: tuple[JsonObject, ...] = ()
        self._is_new = False
        self._listed = 0

    @property
    def objects(self) -> tuple[JsonObject, ...]:
        """The objects as they were listed last, in order of their names. They are shared: do not change them."""
        with self._lock:
            return self._objects

    def read(self) -> tuple[JsonObject, ...]:
        """List now and return the objects: the watch may not have reported existing objects yet.

        Raises:
            ApiError: the server does not answer, or refuses; NotFoundError: the kind is not served.
        """
        self._list()
        return self.objects

    def take(self) -> tuple[JsonObject, ...] | None:
        """Return the objects if they were listed since the last call; None: nothing is new."""
        with self._lock:
            is_new, self._is_new = self._is_new, False
            return self._objects if is_new else None

    def _note_change(self, version: int) -> None:
        # Several events may have come meanwhile: what the list has seen already is not listed again.
        if version > self._listed:
            self._list()

    def _list(self) -> int:
        objects, version = list_objects(self._calls, self._find_path(), *self._head)
        with self._lock:
            # `read` lists in another thread: an answer that comes late may be the older one.
            if version >= self._listed:
                self._objects, self._is_new, self._listed = objects, True, version
        return version
