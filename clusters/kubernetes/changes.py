"""The kinds that changed, as reported by one watcher per kind and by this process's own writes.

A write is reported as soon as it is answered, so the loop reacts at once. The watch's event for it, which comes milliseconds
later, is not reported again, and an apply that changed nothing wakes no loop. If a watcher cannot say what it missed, the kind
counts as changed. Resource versions of one kind are compared as numbers. Source: Kubernetes 1.35, KEP-5504; etcd revisions
before.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from hitless.words import Kind

_GONE_MAX: Final = 1_000
"""Number of deleted objects that are remembered until both the answer and the event have reported them."""


@dataclass(slots=True, kw_only=True)
class _Page:
    """What is known of one kind."""

    seen: int
    """The newest version that the watcher has seen."""
    told: set[int] = field(default_factory=set)
    """Versions newer than `seen` of hitless's own writes that were already reported."""
    gone: deque[str] = field(default_factory=lambda: deque(maxlen=_GONE_MAX))
    """UIDs of deleted objects that either the answer or the event has reported, but not both."""


class ChangeBook:
    """The kinds in which something changed; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed: set[Kind] = set()
        self._pages: dict[Kind, _Page] = {}

    def take(self) -> frozenset[Kind]:
        """Return the kinds that changed since the last call, and forget them."""
        with self._lock:
            changed, self._changed = frozenset(self._changed), set()
            return changed

    def begin(self, kind: Kind, version: int) -> None:
        """Note the version at which the watch of a kind begins; this is no change."""
        with self._lock:
            self._pages[kind] = _Page(seen=version)

    def note_gap(self, kind: Kind, version: int) -> None:
        """Note that events were missed and the kind was listed again: it counts as changed."""
        with self._lock:
            self._pages[kind] = _Page(seen=version)
            self._changed.add(kind)

    def note_event(self, kind: Kind, version: int, *, deleted_uid: str | None = None) -> None:
        """Note an event of the watch; `deleted_uid` is the object's UID where it was deleted."""
        with self._lock:
            page = self._pages[kind]
            page.seen = max(page.seen, version)
            is_told = version in page.told
            page.told = {newer for newer in page.told if newer > page.seen}
            if deleted_uid is not None and _cross_off(page, deleted_uid):
                return
            if not is_told:
                self._changed.add(kind)

    def note_write(self, kind: Kind, version: int) -> None:
        """Note the version in the answer to a write by hitless: a change if it is newer than every version seen.

        If none was seen yet, because the kind was not served, it counts as a change.
        """
        with self._lock:
            page = self._pages.get(kind)
            if page is not None:
                if version <= page.seen or version in page.told:
                    return
                page.told.add(version)
            self._changed.add(kind)

    def note_deletion(self, kind: Kind, uid: str) -> None:
        """Note that an object is gone, as the answer to a deletion by hitless says."""
        with self._lock:
            page = self._pages.get(kind)
            if page is None or not _cross_off(page, uid):
                self._changed.add(kind)


def _cross_off(page: _Page, uid: str) -> bool:
    """Return whether the deletion was reported already; if not, remember that it is reported now."""
    if uid in page.gone:
        page.gone.remove(uid)
        return True
    page.gone.append(uid)
    return False
