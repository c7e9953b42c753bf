"""Bare networks for benchmarks: a namespace with its loopback, and two namespaces joined by one veth. Inside the sandbox only.

Nothing of a cluster is in them, so that a limit found here is the instrument's or the kernel's, not the lab's. Neighbours are
written by hand: no probe waits for ARP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.linux.namespaces import NETWORK_DIRECTORY, THREAD_NETWORK, Clone, Mount, mount, set_namespace, unmount, unshare
from clusters.linux.netlink import Netlink, list_links
from clusters.linux.netlink_messages import Link, add_address, add_veth, set_link, set_neighbour
from clusters.linux.sysctls import make_sysctls, write_sysctls
from hitless.clock import wait_until

_DEVICE: Final = "eth0"
_INDEX: Final = 100
_MACS: Final = ("02:00:00:00:be:01", "02:00:00:00:be:02")
_CARRIER_S: Final = 20.0
_POLL_S: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class BarePair:
    """Two namespaces joined by one veth."""

    source: Path
    """File of the one that sends."""
    destination: Path
    source_address: str
    addresses: Sequence[str]
    """Of the destination, all on the one interface."""


@contextmanager
def make_loopback() -> Iterator[Path]:
    """Make a namespace whose loopback is up: all of 127.0.0.0/8 is there. Raises WorldError."""
    with _namespace("bench-lo") as path:
        with Netlink(path) as netlink:
            netlink.execute([set_link("lo", is_up=True)])
        yield path


@contextmanager
def make_pair(targets: int = 1) -> Iterator[BarePair]:
    """Make two namespaces and a veth between them; `targets` addresses at the far end, 1 to 200. Raises WorldError."""
    with ExitStack() as stack:
        source, destination = (stack.enter_context(_namespace(f"bench-{name}")) for name in ("source", "destination"))
        here, there = (stack.enter_context(Netlink(path)) for path in (source, destination))
        addresses = [f"10.98.1.{number}" for number in range(1, targets + 1)]
        ends = [Link(name=_DEVICE, index=_INDEX, mac=mac) for mac in _MACS]
        descriptor = os.open(destination, os.O_RDONLY | os.O_CLOEXEC)
        try:
            here.execute([set_link("lo", is_up=True), add_veth(ends[0], ends[1], descriptor)])
        finally:
            os.close(descriptor)
        there.execute([set_link("lo", is_up=True), set_link(_DEVICE, is_up=True)])
        there.execute([add_address(address, 16, _INDEX) for address in addresses])
        here.execute([add_address("10.98.0.1", 16, _INDEX)])
        here.execute([set_neighbour(address, _MACS[1], _INDEX) for address in addresses])
        there.execute([set_neighbour("10.98.0.1", _MACS[0], _INDEX)])
        for netlink in (here, there):
            _wait_carrier(netlink)
        yield BarePair(source=source, destination=destination, source_address="10.98.0.1", addresses=addresses)


def _wait_carrier(netlink: Netlink) -> None:
    """Wait until the kernel has seen the carrier: until then a veth drops packets. Raises WorldError."""

    def has_carrier() -> bool:
        return all(link.is_running for link in list_links(netlink) if link.name == _DEVICE)

    wait_until(has_carrier, timeout_s=_CARRIER_S, poll_s=_POLL_S, unmet=f"{_DEVICE}: no carrier")


@contextmanager
def _namespace(name: str) -> Iterator[Path]:
    """Have a network namespace with the lab's settings; with its last user it is gone."""
    path = NETWORK_DIRECTORY / name
    home = os.open(THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(Clone.NETWORK)
        try:
            write_sysctls(make_sysctls(is_forwarding=False, rp_filter=0))
            path.touch()
            mount(THREAD_NETWORK, path, None, Mount.BIND)
        finally:
            set_namespace(home, Clone.NETWORK)
    finally:
        os.close(home)
    try:
        yield path
    finally:
        unmount(path)
        path.unlink()
