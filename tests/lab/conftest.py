"""Every test of this directory runs inside the sandbox: entered once, before the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.sandbox import enter_sandbox
from hitless.errors import MissingCapabilityError
from hitless.words import Mode, Overlay


@pytest.fixture(scope="session", autouse=True)
def sandbox() -> None:
    """Enter the sandbox; in one already, do nothing."""
    try:
        enter_sandbox()
    except MissingCapabilityError as error:
        pytest.skip(f"missing: namespaces of our own: {error}")


def make_lab(overlay: Overlay, mode: Mode, rp_filter: int = 2) -> Iterator[LabNetwork]:
    lab = LabNetwork(LabSpec(overlay=overlay, start_mode=mode, rp_filter=rp_filter))
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
