"""Reader of ConfigMap, DaemonSet and IPPools for the lab's network and its calico-nodes.

Whatever changes packets is obeyed, or refused with the Shoot's field that it comes from. Pure.

Source: docs/mechanics.md 1.6, 4.1-4.3, 4.6.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from clusters.lab.calico.pods import make_pod, read_pod
from gardener.manifests.render import DEFAULT_POOL
from hitless.calico import CALICO_CONFIG, is_calico_node
from hitless.errors import UsageError
from hitless.objects import name_of
from hitless.words import JsonObject, Kind, Mode, Overlay

HOST_LOCAL: Final = "host-local"

_PROVIDER_CONFIG: Final = "spec.networking.providerConfig"
_POOL_KEYS: Final[Mapping[str, Overlay]] = {"ipipMode": Overlay.IPIP, "vxlanMode": Overlay.VXLAN}
_POOL_MODES: Final[Mapping[str, bool]] = {"Always": True, "Never": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """What all IPPools together ask for; without pools nothing is encapsulated and nothing masqueraded."""

    overlay: Overlay | None = None
    """How packets between nodes are encapsulated; None: not at all."""
    masqueraded: frozenset[str] = frozenset()
    """CIDRs whose pods get the node's address when they leave: the pools with natOutgoing."""
    spared: frozenset[str] = frozenset()
    """CIDRs to which pods keep their own address: all pools, disabled ones too. Source: calico felix masq_mgr.go."""

    @property
    def mode(self) -> Mode:
        """The mode that follows."""
        return Mode.NATIVE if self.overlay is None else Mode.OVERLAY


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlane:
    """What a node of a cluster with these objects is like."""

    pools: Pools
    pods: str
    """CIDR of the pool that gives addresses to pods."""
    has_bird: bool
    """Whether BIRD programs routes to peers where nothing is encapsulated."""
    block_mask: int | None
    """Prefix length of the blocks in which calico-ipam keeps a node's pods; None: they live in the node's podCIDR."""
    veth_mtu: int
    """MTU of the pods' interface, octets; 0: what the encapsulation leaves."""
    has_ipv6: bool = False
    """Whether pods have IPv6 addresses, too."""


def read_pools(pools: Iterable[JsonObject]) -> Pools:
    """Read the IPPools.

    Raises:
        UsageError: CrossSubnet, or another mode that the lab's nodes do not have.
    """
    overlays: list[Overlay] = []
    masqueraded, spared = set(), set()
    for pool in pools:
        spec = pool.get("spec") or {}
        cidr: str = spec["cidr"]
        spared.add(cidr)
        if spec.get("natOutgoing"):
            masqueraded.add(cidr)
        if not spec.get("disabled"):
            overlays += [overlay for key, overlay in _POOL_KEYS.items() if _is_encapsulated(pool, key)]
    return Pools(overlay=overlays[0] if overlays else None, masqueraded=frozenset(masqueraded), spared=frozenset(spared))


def read_data_plane(objects: Iterable[JsonObject]) -> DataPlane:
    """Read all objects of a cluster as calico-node reads them when it starts.

    Raises:
        UsageError: something that the lab's nodes do not have; `place` is the Shoot's field that it comes from.
    """
    documents = tuple(objects)
    daemon_set = next(document for document in documents if is_calico_node(document))
    config = _find(documents, Kind.CONFIG_MAP, CALICO_CONFIG)
    pool = _find(documents, Kind.IP_POOL, DEFAULT_POOL)
    pools = read_pools(document for document in documents if document.get("kind") == Kind.IP_POOL.value)
    pod = read_pod(make_pod(daemon_set, "node", None), config)
    if pod.has_wireguard:
        raise _refusal("wireguardEncryption", "FELIX_WIREGUARDENABLED true", "false, because the lab's nodes have no WireGuard")
    if pools.overlay is Overlay.IPIP and pod.backend != "bird":
        found = f"calico_backend {pod.backend} with an IPPool of ipipMode Always"
        raise _refusal("backend", found, "bird, because nothing else programs the routes of IPIP")
    if pools.overlay is Overlay.VXLAN and pod.backend == "none":
        found = "calico_backend none with an IPPool of vxlanMode Always"
        raise _refusal("backend", found, "vxlan or bird, because no node has a tunnel address otherwise")
    if pod.has_ipv6 and pod.backend == "bird" and pools.mode is Mode.NATIVE:
        found, allowed = "true with IPv6", "false, because the lab's nodes have no BIRD for IPv6"
        raise _refusal("overlay.createPodRoutes", found, allowed)
    return DataPlane(
        pools=pools,
        pods=pool["spec"]["cidr"],
        has_bird=pod.backend == "bird",
        block_mask=_read_block_mask(config, pool),
        veth_mtu=int(config["data"]["veth_mtu"]),
        has_ipv6=pod.has_ipv6,
    )


def _find(documents: Iterable[JsonObject], kind: Kind, name: str) -> JsonObject:
    return next(document for document in documents if document.get("kind") == kind.value and name_of(document) == name)


def _is_encapsulated(pool: JsonObject, key: str) -> bool:
    found = pool["spec"].get(key, "Never")
    if found not in _POOL_MODES:
        raise _refusal("ipv4.mode", f"IPPool {name_of(pool)} with {key} {found}", ", ".join(_POOL_MODES))
    return _POOL_MODES[found]


def _read_block_mask(config: JsonObject, pool: JsonObject) -> int | None:
    """Return where pods live, from the CNI configuration that the ConfigMap holds."""
    text: str = config["data"]["cni_network_config"]
    network = json.loads(text.replace("__CNI_MTU__", "0"))
    ipam = next(plugin["ipam"] for plugin in network["plugins"] if plugin["type"] == "calico")
    subnet = ipam.get("subnet", "usePodCidr")
    if ipam["type"] == HOST_LOCAL:
        if subnet.casefold() != "usepodcidr":
            raise _refusal(
                "ipam.cidr", f"ipam.subnet {subnet}", "usePodCidr, because otherwise all nodes assign the same addresses"
            )
        return None
    mask: int = pool["spec"]["blockSize"]
    return mask


def _refusal(field: str, found: str, allowed: str) -> UsageError:
    return UsageError(where="Shoot", place=f"{_PROVIDER_CONFIG}.{field}", found=found, expected=allowed)
