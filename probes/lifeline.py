"""A child process of the harness: it reports its states, notices the end of its parent and gives up its privileges.

It reports states on stdout, a JSON line each. It stops when its stdin, a pipe, ends. Once its sockets are open, it needs no
more privileges than those of an ordinary user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import stat
import sys
from typing import Any, Final, TextIO

from hitless.errors import attempting

_PR_SET_NO_NEW_PRIVS: Final = 38
"""Source: linux/prctl.h."""
_CAPABILITY_VERSION_3: Final = 0x2008_0522
"""Source: linux/capability.h."""

_libc = ctypes.CDLL(None, use_errno=True)


def say(state: str, stream: TextIO | None = None, **facts: Any) -> None:  # noqa: ANN401 - JSON
    """Report a state on `stream` (default: stdout), with facts that the harness needs."""
    with contextlib.suppress(BrokenPipeError):  # the reader has ended, so stdin ends, too
        print(json.dumps({"state": state, **facts}), file=stream or sys.stdout, flush=True)


def is_pipe(descriptor: int) -> bool:
    """Return whether a descriptor is a pipe or a socket: its end means that the parent has ended. /dev/null means nothing."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def cpu_counters() -> dict[str, int]:
    """Return the CPU time that this process has used, as facts for its report."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_user_ns": round(used.ru_utime * 1e9), "cpu_system_ns": round(used.ru_stime * 1e9)}


def give_up_privileges() -> None:
    """Give up every capability of this thread and of the programs that it executes.

    Raises:
        WorldError: the kernel refuses.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, for 64 capabilities
    with attempting("give up privileges"):
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(_libc.capset(header, nothing))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({errno.errorcode.get(number, number)})")
