"""The inner loop of the agents: the compiled one (`_datagrams.c`), or Python and numpy where it was not built.

`pip install` builds it where there is a C compiler. Both behave alike; the compiled one takes a fraction of the CPU
(docs/benchmarks.md).
"""

from __future__ import annotations

from enum import StrEnum, unique
from importlib import import_module
from types import ModuleType
from typing import Final

from hitless.errors import WorldError

try:
    DATAGRAMS: ModuleType | None = import_module("probes._datagrams")
except ImportError:
    DATAGRAMS = None


@unique
class InnerLoop(StrEnum):
    """How an agent handles datagrams."""

    COMPILED = "compiled"
    PYTHON = "python"


INNER_LOOP: Final = InnerLoop.PYTHON if DATAGRAMS is None else InnerLoop.COMPILED
"""The one that agents have here."""


def explain_failure(call: str, error: OSError | ValueError) -> WorldError:
    """Return what the compiled loop's error means: a socket failed, or the kernel does not say what it was asked for."""
    return WorldError(f"{call}: {error.strerror if isinstance(error, OSError) else error}")
