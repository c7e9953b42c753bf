"""Namespaces by system call: Python 3.11 has neither os.unshare nor os.setns, and no mount in any version.

A namespace belongs to a thread: a thread that enters one must leave it again (`inside`). A socket stays in the namespace in
which it was opened. Errors are WorldErrors with the request and the errno's name.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import Final

from hitless.errors import WorldError


class Clone(IntFlag):
    """Kinds of namespaces. Source: linux/sched.h."""

    MOUNT = 0x0002_0000
    USER = 0x1000_0000
    PID = 0x2000_0000
    NETWORK = 0x4000_0000


class Mount(IntFlag):
    """Flags of mount(2). Source: linux/mount.h."""

    NO_SUID = 0x2
    NO_DEV = 0x4
    NO_EXEC = 0x8
    BIND = 0x1000
    RECURSIVE = 0x4000
    PRIVATE = 0x4_0000


NETWORK_DIRECTORY: Final = Path("/run/netns")
"""Folder of iproute2's named network namespaces. Source: ip-netns(8)."""
THREAD_NETWORK: Final = "/proc/thread-self/ns/net"

_MOUNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    """Raise WorldError if a system call failed; the errno is the error's cause."""
    if result == 0:
        return
    number = ctypes.get_errno()
    name = errno.errorcode.get(number, str(number))
    raise WorldError(f"{what}: {name} ({os.strerror(number)})") from OSError(number, os.strerror(number))


def unshare(kinds: Clone) -> None:
    """Move this thread into new namespaces (PID: its future children)."""
    _check(_LIBC.unshare(ctypes.c_int(kinds)), f"cannot unshare {kinds!r}")


def set_namespace(descriptor: int, kind: Clone) -> None:
    """Move this thread into the namespace that an open file stands for."""
    _check(_LIBC.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), f"cannot enter a namespace ({kind!r})")


def mount(source: str, target: Path, kind: str | None, flags: Mount, options: str = "") -> None:
    """Mount a file system, or bind one with Mount.BIND."""
    result = _LIBC.mount(source.encode(), os.fsencode(target), kind.encode() if kind else None, int(flags), options.encode())
    _check(result, f"cannot mount {kind or source} at {target}")


def unmount(target: Path) -> None:
    """Detach the mount at `target`, even if it is in use, with everything mounted below it."""
    _check(_LIBC.umount2(os.fsencode(target), _MOUNT_DETACH), f"cannot unmount {target}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent thread ends.

    A parent that has ended already is not noticed: the caller must check afterwards. A change of credentials resets it.
    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "cannot ask for a signal at the parent's death")


@contextmanager
def open_namespace(file: str | Path) -> Iterator[int]:
    """Yield a descriptor of a network namespace. Raises WorldError: there is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise WorldError(f"no network namespace {file}: {error}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def return_home() -> Iterator[int]:
    """Bring this thread back to its present network namespace at the end; yield a descriptor of that."""
    with open_namespace(THREAD_NETWORK) as home:
        try:
            yield home
        finally:
            set_namespace(home, Clone.NETWORK)


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """Be in the network namespace of that file, in this thread only, and come back."""
    with return_home():
        with open_namespace(namespace) as there:
            set_namespace(there, Clone.NETWORK)
        yield
