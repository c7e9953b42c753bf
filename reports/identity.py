"""What was tested, in a few words each: the cluster, what carried the overlay, and every part. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reports.summary import Summary


def identity(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Return names and values."""
    return tuple(_identity(summary))


def _identity(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "cluster", f"{summary.cluster}, profile {summary.profile}"
    yield "carrier", summary.carrier
    for part in summary.parts:
        yield part.name.value, " ".join(("double" if part.is_double else "real", part.version)).strip()
    if not summary.parts and summary.kernel:
        yield "kernel", summary.kernel
