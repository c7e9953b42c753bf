"""The inner loop of the agents: the compiled one (`_datagrams.c`), or Python's (`probes.datagrams`) where it was not built.

`pip install` builds it where there is a C compiler. Both have the same classes and behave alike; the compiled one takes a
fraction of the CPU (docs/benchmarks.md). It uses the memory layout of the records' rows, so it needs a 64-bit little-endian
machine.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum, unique
from importlib import import_module
from types import ModuleType

from hitless.errors import WorldError


@unique
class InnerLoop(StrEnum):
    """How an agent handles datagrams."""

    COMPILED = "compiled"
    PYTHON = "python"


def _load() -> tuple[InnerLoop, ModuleType]:
    if sys.byteorder == "little" and sys.maxsize > 1 << 32:
        with contextlib.suppress(ImportError):
            return InnerLoop.COMPILED, import_module("probes._datagrams")
    return InnerLoop.PYTHON, import_module("probes.datagrams")


INNER_LOOP, DATAGRAMS = _load()
"""The inner loop of this machine's agents, and its module."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Translate the loop's error: a socket failed, or the kernel lacks the requested control data. Raises WorldError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise WorldError(f"recvmmsg: {error.strerror if isinstance(error, OSError) else error}") from error
