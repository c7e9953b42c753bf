"""Waiting for processes that are not children of the test."""

from __future__ import annotations

import os
import select


def wait_ended(process: int, wait_s: float) -> None:
    """Return when a process has ended; fail after this time."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], wait_s)[0]
    os.close(descriptor)
