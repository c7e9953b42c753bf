"""A table of faults: the Faults port as one pair of functions per fault.

A cluster's faults break the cluster, those of the doubles break the doubles: each brings its own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hitless.errors import UsageError
from hitless.words import JsonObject

Act = Callable[[JsonObject], None]
"""Takes the options of the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Injection and cure of one fault; both are effective on return."""

    inject: Act
    cure: Act
    """Heals what the same options broke; healing what is whole is no error."""


class FaultTable:
    """See `hitless.ports.Faults`."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        self._faults = dict(faults)

    def known(self) -> frozenset[str]:
        """Return the names of the faults."""
        return frozenset(self._faults)

    def inject(self, name: str, options: JsonObject) -> None:
        """Inject a fault. Raises UsageError: the fault is unknown, or its target does not exist."""
        self._find(name).inject(options)

    def cure(self, name: str, options: JsonObject) -> None:
        """Cure a fault. Raises UsageError: it is unknown."""
        self._find(name).cure(options)

    def _find(self, name: str) -> Fault:
        if name not in self._faults:
            raise UsageError(where="fault", place="name", found=repr(name), expected=", ".join(sorted(self._faults)) or "none")
        return self._faults[name]
