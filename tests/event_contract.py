"""The table of hitless/events.py as data: tests hold who records events to it."""

from __future__ import annotations

import re
from typing import Final

import hitless.events
from hitless.events import Event


def _read_table() -> dict[str, frozenset[str]]:
    """Return name to the keys of its facts; what is in brackets, and after a colon or a full stop, explains."""
    table: dict[str, frozenset[str]] = {}
    for row in (hitless.events.__doc__ or "").splitlines():
        if row.startswith("| `"):
            names, facts = (cell.strip() for cell in row.strip("|").split("|"))
            keys = re.split(r"[:.]", re.sub(r"\([^)]*\)", "", facts))[0].split(",")
            found = frozenset(key.split()[0] for key in keys if key.strip())
            table |= dict.fromkeys(re.findall(r"`([a-z_.]+)`", names), found)
    return table


TABLE: Final = _read_table()
_OPTIONAL: Final = {"calico.repointed": frozenset({"peers"})}
"""Facts that the table lets be absent."""


def events_of(*subjects: str) -> set[str]:
    """Return the names whose part before the dot is one of these."""
    return {name for name in TABLE if name.partition(".")[0] in subjects}


def is_in_the_contract(event: Event) -> bool:
    """Return whether an event has a name of the table, and the facts that it names there."""
    facts, keys = TABLE.get(event.name), event.facts.keys()
    return facts is not None and facts - _OPTIONAL.get(event.name, frozenset()) <= keys <= facts
