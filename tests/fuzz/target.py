"""What a fuzz target is, and how it makes structure of octets that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

Check = Callable[[bytes], None]
"""Raises whatever the octets make it raise: AssertionError where a promise is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing that is fuzzed."""

    name: str
    open: Callable[[], AbstractContextManager[Check]]
    """Makes the check, with what it needs until it is closed."""
    seeds: tuple[bytes, ...]
    """Inputs that reach far; the fuzzer goes on from there."""
    words: tuple[str, ...] = ()
    """Text worth inserting."""


class Draws:
    """Reads numbers and octets from an input, as long as there is any; then everything is zero or empty."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def is_over(self) -> bool:
        """Whether everything was read."""
        return self._at >= len(self._content)

    def octets(self, count: int) -> bytes:
        """Return this many octets, fewer at the end."""
        found = self._content[self._at : self._at + count]
        self._at += count
        return found

    def number(self, most: int) -> int:
        """Return a number from 0 to `most`, of one octet, or of four where it is large."""
        return int.from_bytes(self.octets(1 if most < 1 << 8 else 4), "big") % (most + 1)

    def changed(self, content: bytes) -> bytes:
        """Return the content with up to three octets changed, cut or not."""
        made = bytearray(content)
        for _ in range(self.number(3)):
            at, mask = self.number(max(len(made) - 1, 0)), self.number(255)
            if made:
                made[at] ^= mask
        return bytes(made[: len(made) - self.number(255)]) if self.number(7) == 0 else bytes(made)
