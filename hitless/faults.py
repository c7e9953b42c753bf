"""The faults: what a scenario may name, with their options and what else is known of each; and a table of what can be injected.

Mistakes in a scenario are found here, before anything runs. Which faults a cluster can bring about is the cluster's matter
(`FaultTable.known`); one that it cannot is a skip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from hitless.errors import UsageError
from hitless.words import JsonObject

KUBE_API_DOWN: Final = "kube-api-down"
NODE_ROUTE_LOST: Final = "node-route-lost"
NODE_LEAVES: Final = "node-leaves"
CALICO_NODE_RESTART: Final = "calico-node-restart"
MTU_LOWERED: Final = "mtu-lowered"
CLOCK_STEPPED: Final = "wall-clock-stepped"


class Owner(Enum):
    """Who brings a fault about."""

    CLUSTER = auto()
    """Every cluster with a cloud double."""
    MACHINES = auto()
    """A cluster with access to the nodes' machines."""
    LAB = auto()
    SWITCH = auto()
    """The parts that perform the switch, on every cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One kind of fault."""

    owner: Owner
    options: Mapping[str, type | range] = field(default_factory=dict)
    """Its options, no more and no less."""
    is_momentary: bool = False
    """It is over at once: it may be repeated without a cure in between."""
    is_through_api: bool = False
    """It is brought about by calls to the Kubernetes API."""
    is_harmless: bool = False
    """No packet passes what it breaks; what it does to routes has events of its own."""
    is_of_ipv6: bool = False
    """It needs pods with IPv6 addresses, and no IPv4 packet meets it."""
    needs_nft: bool = False
    """It is a rule of nftables in a node."""


_NODE: Final[Mapping[str, type]] = {"node": str}

FAULTS: Final[Mapping[str, FaultKind]] = {
    # Every call to the Kubernetes API fails.
    KUBE_API_DOWN: FaultKind(owner=Owner.CLUSTER, is_harmless=True),
    # Every call to the cloud's route API fails.
    "route-api-down": FaultKind(owner=Owner.CLUSTER, is_harmless=True),
    # No call to the cloud's route API gets an answer until it is cured.
    "route-api-hangs": FaultKind(owner=Owner.CLUSTER, is_harmless=True),
    # The route to `node` disappears from the table of `zone`; the cure creates it again unless it exists.
    NODE_ROUTE_LOST: FaultKind(owner=Owner.CLUSTER, options={"zone": str, "node": str}),
    # The cloud does not find the machine of `node`: CreateRoute to it fails.
    "instance-unknown": FaultKind(owner=Owner.CLUSTER, options=_NODE, is_harmless=True),
    # The pod of `node` is deleted; its DaemonSet makes another, so there is nothing to cure.
    CALICO_NODE_RESTART: FaultKind(
        owner=Owner.CLUSTER, options=_NODE, is_momentary=True, is_through_api=True, is_harmless=True
    ),
    # The network interface of `node` drops packets that are neither from nor to the node's own address, as a cloud's
    # source/destination check does.
    "source-check-on": FaultKind(owner=Owner.MACHINES, options=_NODE, needs_nft=True),
    # `node` drops the first packet of every new connection, as with a full conntrack table.
    "connections-refused": FaultKind(owner=Owner.MACHINES, options=_NODE, needs_nft=True),
    # The MTU of `node`'s interface is `octets`, at least the minimum of IPv6 (RFC 8200, 5), below Ethernet's 1,500.
    MTU_LOWERED: FaultKind(owner=Owner.MACHINES, options={"node": str, "octets": range(1280, 1500)}),
    # The Node object is deleted and the machine is gone, for good; nothing to cure. The pods of `node` are not probed.
    NODE_LEAVES: FaultKind(owner=Owner.MACHINES, options=_NODE, is_through_api=True),
    # The cloud no longer delivers packets to the IPv6 prefix of `node`, from any zone.
    "node-prefix-lost": FaultKind(owner=Owner.LAB, options=_NODE, is_of_ipv6=True),
    # The Node object is deleted while the machine keeps running; the cure registers it anew, without NetworkUnavailable, as a
    # node that joins.
    "node-unregistered": FaultKind(owner=Owner.LAB, options=_NODE, is_through_api=True, is_harmless=True),
    # Where calico-node's pod of `node` is replaced, its containers end only when its successor's start, after cleanup-routes.
    "calico-node-lingers": FaultKind(owner=Owner.LAB, options=_NODE, is_harmless=True),
    # The wall clock (CLOCK_REALTIME) of the machine is `ms` ahead, or behind where `ms` is negative. Only a machine that is a
    # process of the user's can do it: user-mode Linux.
    CLOCK_STEPPED: FaultKind(owner=Owner.LAB, options={"ms": int}),
    # The process does not run; it starts anew, without memory, when it is cured.
    "route-controller-away": FaultKind(owner=Owner.SWITCH, is_harmless=True),
    "extension-away": FaultKind(owner=Owner.SWITCH, is_harmless=True),
    # The operator, or gardenlet, annotates the Network, which makes the extension look; nothing to cure.
    "network-annotated": FaultKind(owner=Owner.SWITCH, is_momentary=True, is_harmless=True),
    # The control plane leaves its seed; its ManagedResources go, their objects stay. The cure restores it in another seed.
    "control-plane-migrated": FaultKind(owner=Owner.SWITCH, is_harmless=True),
}


def faults_of(*owners: Owner) -> frozenset[str]:
    """Return the names of the faults that these bring about."""
    return _names(lambda kind: kind.owner in owners)


def _names(is_meant: Callable[[FaultKind], bool]) -> frozenset[str]:
    return frozenset(name for name, kind in FAULTS.items() if is_meant(kind))


MOMENTARY: Final = _names(lambda kind: kind.is_momentary)
THROUGH_API: Final = _names(lambda kind: kind.is_through_api)
HARMLESS: Final = _names(lambda kind: kind.is_harmless)
OF_IPV6: Final = _names(lambda kind: kind.is_of_ipv6)
NEEDS_NFT: Final = _names(lambda kind: kind.needs_nft)
OF_SWITCH: Final = faults_of(Owner.SWITCH)


def check_fault(name: str, options: JsonObject) -> None:
    """Refuse a fault that does not exist, or with other options than it needs. Raises UsageError."""
    if name not in FAULTS:
        raise UsageError(where="fault", place="name", found=repr(name), expected=", ".join(sorted(FAULTS)))
    needed = FAULTS[name].options
    if options.keys() != needed.keys():
        found = ", ".join(sorted(map(repr, options))) or "no options"
        allowed = ", ".join(sorted(needed)) or "no options"
        raise UsageError(where=f"fault {name}", place="options", found=found, expected=allowed)
    for key, wanted in needed.items():
        if isinstance(wanted, range):
            is_allowed = type(options[key]) is int and options[key] in wanted
            allowed = f"a whole number, {wanted.start} to {wanted.stop - 1}"
        else:
            is_allowed, allowed = type(options[key]) is wanted, "a name" if wanted is str else "a whole number"
        if not is_allowed:
            raise UsageError(where=f"fault {name}", place=f"options.{key}", found=repr(options[key]), expected=allowed)


def faults_missing(named: Collection[str], known: Collection[str]) -> list[str]:
    """Return, in words, the faults that a scenario names and a cluster does not have; the switch's own it need not have."""
    return [f"the fault {name}" for name in sorted({*named} - {*known} - OF_SWITCH)]


Act = Callable[[JsonObject], None]
"""Takes the options of the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Injection and cure of one fault; both are effective on return."""

    inject: Act
    cure: Act
    """Heals what the same options broke; healing what is whole is no error."""


class FaultTable:
    """The faults of a cluster, or of the parts that switch."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        self.faults = faults

    def known(self) -> frozenset[str]:
        """Return the names of the faults."""
        return frozenset(self.faults)

    def inject(self, name: str, options: JsonObject) -> None:
        """Inject a fault. Raises UsageError: the fault is unknown, or its target does not exist."""
        self._find(name).inject(options)

    def cure(self, name: str, options: JsonObject) -> None:
        """Cure a fault. Raises UsageError: it is unknown."""
        self._find(name).cure(options)

    def _find(self, name: str) -> Fault:
        if name not in self.faults:
            raise UsageError(where="fault", place="name", found=repr(name), expected=", ".join(sorted(self.faults)) or "none")
        return self.faults[name]
