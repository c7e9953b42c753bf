"""Network namespaces, held open to create sockets in them.

A socket belongs to the namespace in which it was created, wherever it is used. A caller that makes many sockets enters by a
descriptor that stays open: two system calls per visit. One thread only: another one would make its sockets there, too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hitless.errors import WorldError

_CLONE_NEWNET: Final = 0x4000_0000
"""Source: linux/sched.h."""
_OWN: Final = "/proc/self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


class Place:
    """A network namespace to make sockets in.

    Args:
        namespace: its path, or None: the present one, where nothing has to be entered.

    Raises WorldError: there is no such namespace.
    """

    def __init__(self, namespace: str | None) -> None:
        self._home = self._there = -1
        self._is_inside = False
        if namespace is None:
            return
        try:
            self._there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise WorldError(f"cannot enter the namespace {namespace}: {error.strerror}") from error

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter the namespace, then return in any case; a thread already there stays. Raises WorldError: cannot enter."""
        if self._there < 0 or self._is_inside:
            yield
            return
        _enter(self._there)
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False
            _enter(self._home)

    def enter(self) -> None:
        """Move this thread into the namespace permanently, and every thread that it starts from now on. Raises WorldError."""
        if self._there >= 0:
            _enter(self._there)

    def close(self) -> None:
        """Close the namespace. Safe to call twice."""
        for descriptor in (self._there, self._home):
            if descriptor >= 0:
                os.close(descriptor)
        self._there = self._home = -1


def _enter(descriptor: int) -> None:
    """Enter a network namespace; Python 3.11 has no os.setns."""
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise WorldError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
