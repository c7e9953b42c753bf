"""Counts in sentences: "1 probe", "2 probes"."""

from __future__ import annotations


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun for one of them, or with `nouns` for any other number; None: the noun with an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
