"""Removal of containers and networks that leaves nothing behind, in any state of the engine.

Containers go one after the other: `docker rm A B C` removes them at the same time, and engines before 28.1 keep the number of a
network's endpoints in a record that they change without a lock. If several decrements happen at once, one can be lost; the
network then "has active endpoints" that are not listed, until the engine restarts. Source: libnetwork endpoint_cnt.go
(atomicIncDecEpCnt) and store.go (getNetworksFromStore), as in engine 20.10; moby issue 42119 and pull request 49736.

Containers that are still attached are disconnected by force, and the removal is retried for a bounded time.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from typing import Final

from clusters.kind.docker import Docker
from hitless.clock import wait_until
from hitless.errors import WorldError
from hitless.plural import plural
from hitless.ports import Clock

GONE_S: Final = 15.0
"""How long an engine may take to forget the endpoints of containers that are gone. Chosen here: under load it takes a second or
two."""
_POLL_S: Final = 0.5
_IN_USE: Final = re.compile(r"has (\d+ )?active endpoint")
"""Source: libnetwork error.go, ActiveEndpointsError; with a number from engine 28.1 on (moby pull request 49773)."""
_GONE: Final = ("no such network", "not found", "no such container", "is already in progress")
"""In lower case; the last one is for a container that another client is removing. Source: moby daemon/{network,delete}.go."""


def remove_containers(docker: Docker, names: Sequence[str]) -> None:
    """End and remove containers with their volumes, one after the other; a missing container is no error.

    Raises:
        WorldError: some could not be removed; the others were.
    """
    refusals = []
    for name in names:
        try:
            docker.run("rm", "--force", "--volumes", name)
        except WorldError as error:
            if not _is_gone(error):
                refusals.append(f"{name}: {error}")
    if refusals:
        raise WorldError(f"cannot remove {len(refusals)} of {plural(len(names), 'container')}: {'; '.join(refusals)}")


def remove_networks(docker: Docker, names: Sequence[str], clock: Clock | None = None) -> None:
    """Disconnect all containers from networks and remove the networks; a missing network is no error.

    Raises:
        WorldError: some are still there after `GONE_S`, or the engine refused; it names what holds them. The others are gone.
    """
    refusals = []
    for name in names:
        try:
            _remove_network(docker, name, clock)
        except WorldError as error:
            refusals.append(str(error))
    if refusals:
        raise WorldError("; ".join(refusals))


def _remove_network(docker: Docker, name: str, clock: Clock | None) -> None:
    holders: tuple[str, ...] = ()

    def is_removed() -> bool:
        nonlocal holders
        try:
            docker.run("network", "rm", name)
        except WorldError as error:
            if _is_gone(error):
                return True
            if _IN_USE.search(str(error)) is None:
                raise
        else:
            return True
        holders = _find_holders(docker, name)
        for holder in holders:
            # One that disappeared meanwhile is no error; the others are checked again.
            with contextlib.suppress(WorldError):
                docker.run("network", "disconnect", "--force", name, holder)
        return False

    unmet = f"the network {name} cannot be removed"
    wait_until(is_removed, timeout_s=GONE_S, poll_s=_POLL_S, unmet=unmet, describe=lambda: _describe(holders), clock=clock)


def _is_gone(error: WorldError) -> bool:
    return any(words in str(error).lower() for words in _GONE)


def _find_holders(docker: Docker, network: str) -> tuple[str, ...]:
    """Return the names of a network's endpoints: the names of their containers, even if these no longer exist."""
    try:
        found = json.loads(docker.run("network", "inspect", "--format", "{{json .Containers}}", network)) or {}
    except WorldError:
        return ()  # it has gone in between; the next attempt notices
    return tuple(sorted(entry["Name"] for entry in found.values()))


def _describe(holders: Sequence[str]) -> str:
    if holders:
        return f"still connected after the disconnect: {', '.join(holders)}"
    return "it has no container, but the engine still counts an endpoint; restart the docker engine"
