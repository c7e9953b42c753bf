"""Small UDP traffic between the pods of a lab, for tests that need no probes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations

from clusters.lab.network import LabNetwork
from clusters.linux.namespaces import inside
from hitless.words import IpFamily

PORT = 8620
PATIENCE_S = 5.0
QUIET_S = 0.05
"""Longer than anything stays on its way in a lab."""

Sockets = Mapping[str, socket.socket]


@contextmanager
def pod_sockets(lab: LabNetwork, family: IpFamily = IpFamily.IPV4) -> Iterator[Sockets]:
    """Give one UDP socket inside every pod, bound to the pod's address."""
    domain = socket.AF_INET6 if family is IpFamily.IPV6 else socket.AF_INET
    opened: dict[str, socket.socket] = {}
    try:
        for endpoint in lab.endpoints:
            with inside(lab.namespace_path(endpoint.name)):
                opened[endpoint.name] = socket.socket(domain, socket.SOCK_DGRAM)
            opened[endpoint.name].bind((endpoint.address_of(family), PORT))
            opened[endpoint.name].setblocking(False)  # noqa: FBT003 - the standard library's signature
        yield opened
    finally:
        for one in opened.values():
            one.close()


def missing_pairs(
    lab: LabNetwork, sockets: Sockets, wait_s: float = PATIENCE_S, family: IpFamily = IpFamily.IPV4
) -> set[tuple[str, str]]:
    """Send one packet from every pod to every other; return the pairs where none arrived."""
    addresses = {endpoint.name: endpoint.address_of(family) for endpoint in lab.endpoints}
    missing = set(permutations(sockets, 2))
    for source, destination in sorted(missing):
        sockets[source].sendto(source.encode(), (addresses[destination], PORT))
    names = {one: name for name, one in sockets.items()}
    while missing:
        ready, _, _ = select.select(list(names), [], [], wait_s)
        if not ready:
            break
        for one in ready:
            missing.discard((one.recv(100).decode(), names[one]))
    return missing


def send_many(lab: LabNetwork, sockets: Sockets, source: str, destination: str, count: int) -> int:
    """Send packets one way and return how many arrived, once nothing has for a while."""
    address = next(endpoint.address for endpoint in lab.endpoints if endpoint.name == destination)
    arrived = 0
    for number in range(count):
        sockets[source].sendto(b"count me", (address, PORT))
        if number % 50 == 49:  # before the receive buffer is full
            arrived += _drain(sockets[destination], 0)
    return arrived + _drain(sockets[destination], QUIET_S)


def _drain(receiver: socket.socket, wait_s: float) -> int:
    arrived = 0
    while select.select([receiver], [], [], wait_s)[0]:
        receiver.recv(100)
        arrived += 1
    return arrived
