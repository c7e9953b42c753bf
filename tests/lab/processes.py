"""Processes that a test has lost hold of."""

from __future__ import annotations

import os
import select


def wait_ended(process: int, wait_s: float) -> None:
    """Return when a process is gone; after so long that is an error."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], wait_s)[0]
    os.close(descriptor)
