"""Every test of this directory runs inside the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.sandbox import is_inside
from hitless.words import Mode, Overlay


@pytest.fixture(scope="session", autouse=True)
def sandbox(sandbox_refusal: str | None) -> None:
    """The sandbox that the session entered at its start."""
    if sandbox_refusal is not None:
        pytest.skip(f"missing: namespaces of our own: {sandbox_refusal}")
    assert is_inside()


def make_lab(overlay: Overlay, mode: Mode, rp_filter: int = 2) -> Iterator[LabNetwork]:
    block_mask = 26 if overlay is Overlay.VXLAN and mode is Mode.OVERLAY else None
    lab = LabNetwork(LabSpec(overlay=overlay, start_mode=mode, rp_filter=rp_filter, block_mask=block_mask))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def overlay_lab() -> Iterator[LabNetwork]:
    """2 zones x 2 nodes, OVERLAY by IPIP or what stands in for it."""
    yield from make_lab(Overlay.IPIP, Mode.OVERLAY)


@pytest.fixture
def vxlan_lab() -> Iterator[LabNetwork]:
    """2 zones x 2 nodes, OVERLAY by VXLAN."""
    yield from make_lab(Overlay.VXLAN, Mode.OVERLAY)


@pytest.fixture
def native_lab() -> Iterator[LabNetwork]:
    """2 zones x 2 nodes, NATIVE."""
    yield from make_lab(Overlay.IPIP, Mode.NATIVE)
