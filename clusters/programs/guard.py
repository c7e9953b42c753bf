"""Supervision of the programs during a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from hitless.errors import ApiUnavailableError
from hitless.words import MILLISECOND, Kind, Nanoseconds

_GUARD_NS: Final = Nanoseconds(10 * MILLISECOND)


class Followed(Protocol):
    """A participant that knows the programs' objects from watches."""

    def refresh(self) -> None:
        """List them. Raises ApiError."""
        ...

    def is_settled(self) -> bool:
        """See `hitless.ports.Participant`."""
        ...


class Guard:
    """Looks whether every process still runs, and at the end whether what seems settled is; a Participant.

    Watches of two kinds report at different times: a Network can be reported as reconciled before its new ManagedResource, and
    that to be applied before the new DaemonSet is. A run would end in between, before anything is switched.

    Args:
        check: raises WorldError where a process has ended.
        followed: the participants that know from watches, those first that say when the others are done.
    """

    name: Final = "guard"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, check: Callable[[], None], followed: Sequence[Followed]) -> None:
        self._check, self._followed = check, followed

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Raise WorldError where one has ended."""
        self._check()
        return Nanoseconds(now_ns + _GUARD_NS)

    def is_settled(self) -> bool:
        """Return whether they are settled after a list, too; asked when all others have said so."""
        try:
            for one in self._followed:
                one.refresh()
        except ApiUnavailableError:
            return False
        # Read after all lists: an apply is written before the status reports it.
        return all(one.is_settled() for one in self._followed)
