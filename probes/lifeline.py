"""A child process of the harness: it reports its states, takes orders, notices the end of its parent, gives up its privileges.

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
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final, TextIO

from hitless.errors import attempting

_PR_SET_NO_NEW_PRIVS: Final = 38
"""Source: linux/prctl.h."""
_CAPABILITY_VERSION_3: Final = 0x2008_0522
"""Source: linux/capability.h."""
_libc = ctypes.CDLL(None, use_errno=True)
_LINE_OCTETS_MAX: Final = 4096
"""A longer line is no order."""


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
    """Give up every capability of this thread and of the programs that it executes. Raises WorldError: the kernel refuses."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, for 64 capabilities
    with attempting("give up privileges"):
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(_libc.capset(header, nothing))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({errno.errorcode.get(number, number)})")


@unique
class OrderKind(StrEnum):
    """Kind of an order, which is one JSON line on the process's stdin.

        {"order": "send", "at_ns": 3000000000}    send from then on (run clock); only once, only an agent that waits
        {"order": "stop", "at_ns": 9000000000}    send nothing from then on
        {"order": "end"}                          end now: the answers are no longer needed

    Agents that are told one after the other still begin and stop together, because an order says when. A line that is
    not an order is ignored: a process that may write to this pipe could also end the agent.
    """

    SEND = "send"
    STOP = "stop"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order."""

    kind: OrderKind
    at_ns: int = 0
    """Run clock, ns; without a meaning for END."""


class OrderReader:
    """Assembles lines from the pieces that a pipe returns."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, content: bytes) -> Iterator[Order]:
        """Yield the orders that are complete now."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._rest = self._rest[:_LINE_OCTETS_MAX]
        for line in lines:
            order = parse_order(line)
            if order is not None:
                yield order


def parse_order(line: bytes) -> Order | None:
    """Return the order in a line; None: there is none."""
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"order": "end"}:
            return Order(kind=OrderKind.END)
        case {"order": "send" | "stop" as kind, "at_ns": int(at_ns)} if type(at_ns) is int:
            return Order(kind=OrderKind(kind), at_ns=at_ns)
        case _:
            return None


def encode_order(order: Order) -> dict[str, Any]:
    """Return an order as one JSON object: what `parse_order` reads."""
    return {"order": order.kind.value, **({} if order.kind is OrderKind.END else {"at_ns": order.at_ns})}
