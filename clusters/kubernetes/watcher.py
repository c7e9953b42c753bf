"""A watch of one kind in a thread of its own that survives every failure.

A watch that the server ended is resumed where it stopped. Everything else (a version that is too old, a server that is away, a
broken stream, a kind that is not served yet) ends in the same way: wait, list, count the kind as changed, watch on. A watcher
never gives up, because a kind without a watch looks exactly like one that does not change.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.api_errors import hitless_errors
from clusters.kubernetes.changes import ChangeBook
from hitless.errors import ApiError, NotFoundError
from hitless.words import Kind

if TYPE_CHECKING:
    from kubernetes import watch

_STOP_S: Final = 0.05
_STOP_ATTEMPTS_MAX: Final = 100
"""How long and how often to wait for the thread's end, which a connection attempt can hold up for seconds."""
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 2.0
"""Longest time until a server that is back is noticed."""

_FAILURES_MAX: Final = 20


class KindWatcher:
    """Watches one kind.

    Args:
        kind: what is watched.
        find_path: the collection's path; asked again after each failure.
        calls: the API server.
        book: where changes are written.
    """

    def __init__(self, kind: Kind, *, find_path: Callable[[], str], calls: ApiCalls, book: ChangeBook) -> None:
        self._kind = kind
        self._about = f"list of {kind.value}"
        self._find_path = find_path
        self._calls = calls
        self._book = book
        self._stream = open_watch()
        self._stopping = threading.Event()
        self.version: int | None = None
        """Up to where the collection is known; None: it must be listed."""
        self._thread = threading.Thread(target=self._follow, name=f"watch {kind.value}", daemon=True)
        self.failures: deque[str] = deque(maxlen=_FAILURES_MAX)
        """What went wrong lately."""

    def start(self) -> None:
        """List, so that nothing from now on is missed, then watch in the background.

        A kind that is not served yet is watched from the moment it is.

        Raises:
            ApiError: the server does not answer, or refuses.
        """
        with contextlib.suppress(NotFoundError):
            self.version = self._list()
            self._book.begin(self._kind, self.version)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to call twice."""
        self._stopping.set()
        end_watch(self._thread, self._stream)

    def _follow(self) -> None:
        delay_s = _RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                if self.version is None:
                    version = self._list()
                    self._book.note_gap(self._kind, version)
                    self.version = version
                self._watch(self.version)
                delay_s = _RETRY_FIRST_S
            except ApiError as error:
                self.failures.append(str(error))
                self.version = None
                delay_s = min(2 * delay_s, _RETRY_MAX_S)
            self._stopping.wait(delay_s)

    def _list(self) -> int:
        """Return the collection's present version. Raises NotFoundError where the kind is not served."""
        # One object is enough to learn it; a limit of zero would mean all.
        answer = self._calls.call("GET", self._find_path(), about=self._about, query={"limit": "1"})
        with hitless_errors(f"GET {self._about}"):
            return int(answer["metadata"]["resourceVersion"])

    def _watch(self, version: int) -> None:
        for event in self._calls.watch(self._find_path(), about=self._about, version=version, stream=self._stream):
            self.version = event.version
            if not event.is_bookmark:
                self._book.note_event(self._kind, event.version, deleted_uid=event.deleted_uid)
            if self._stopping.is_set():
                return


def open_watch() -> watch.Watch:
    """Return a watch of the client, which another thread may stop."""
    from kubernetes import watch  # noqa: PLC0415 - see clusters.kubernetes.api_calls

    return watch.Watch()


def end_watch(thread: threading.Thread, stream: watch.Watch) -> None:
    """End a thread that watches, for 5 s at most. A watch that is just being opened does not hear that it is stopped."""
    for _ in range(_STOP_ATTEMPTS_MAX):
        if not thread.is_alive():
            return
        stream.stop()
        thread.join(_STOP_S)
