"""The identity of what was tested: the cluster, what carried the overlay, and every part. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reports.summary import Summary

_COMMIT_CHARACTERS: Final = 12
_DIGEST_CHARACTERS: Final = len("sha256:") + 12
"""The summary has the whole of both."""


def identity(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield names and values."""
    yield "cluster", f"{summary.cluster}, profile {summary.profile}"
    if summary.mesh is not None and not summary.mesh.is_full:
        yield "mesh", summary.mesh.text
    yield "carrier", summary.carrier
    yield "address families", " and ".join(summary.families_probed)
    for part in summary.parts:
        words = ["double" if part.is_double else "real", part.version]
        if part.commit:
            words.append(f"at {part.commit[:_COMMIT_CHARACTERS]}")
        if part.path and part.digest:
            words.append(f"({Path(part.path).name}, {part.digest[:_DIGEST_CHARACTERS]})")
        if part.calico_version:
            words.append(f"renders Calico {part.calico_version}")
        yield part.name.value, " ".join(word for word in words if word)
    if not summary.parts and summary.kernel:
        yield "kernel", summary.kernel
