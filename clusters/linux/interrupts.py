"""Handlers that turn the signals that end a program into KeyboardInterrupt, at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final

ENDING_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_REPEAT_NS: Final = 1_000_000_000
"""A second signal within this time is a copy: one that is sent to the group arrives directly and through the sandbox, which a
busy machine delays. Chosen here: more than 200 ms were seen in user-mode Linux."""
_AGAIN_S: Final = 0.02
"""Delay after which a dropped interrupt is sent again. Chosen here."""


def listen_to_signals() -> None:
    """Install handlers for the signals that end a program, except for signals that were ignored at the start (nohup).

    Python drops what a handler raises while a finaliser runs. So such an interrupt is sent again a moment later.
    """
    last_ns = -_REPEAT_NS
    report = sys.unraisablehook

    def send_again(dropped: sys.UnraisableHookArgs) -> None:
        nonlocal last_ns
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            report(dropped)
            return
        last_ns = -_REPEAT_NS
        name = str(dropped.exc_value) or signal.SIGINT.name
        threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.Signals[name])).start()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal last_ns
        now_ns = time.monotonic_ns()
        repeated, last_ns = now_ns - last_ns < _REPEAT_NS, now_ns
        if not repeated:
            raise KeyboardInterrupt(signal.Signals(number).name)

    sys.unraisablehook = send_again
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is a signal's KeyboardInterrupt, or the SchemaError of pydantic's core that quotes one.

    Other errors may quote one as well: an AssertionError does so with what an interrupted program printed.
    """
    is_schema_error = type(error).__name__ == "SchemaError" and "KeyboardInterrupt: SIG" in str(error)
    return isinstance(error, KeyboardInterrupt) or is_schema_error
