"""The faults that a scenario can name, with their options. Mistakes are found here, before anything runs.

Which of them a cluster can bring about is the cluster's matter (`hitless.ports.Faults.known`); one that it cannot is a skip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from hitless.errors import UsageError
from hitless.words import JsonObject

KUBE_API_DOWN: Final = "kube-api-down"
NODE_LEAVES: Final = "node-leaves"

FAULTS: Final[Mapping[str, Mapping[str, type | range]]] = {
    KUBE_API_DOWN: {},
    "route-api-down": {},
    "route-api-hangs": {},
    "node-route-lost": {"zone": str, "node": str},
    "node-prefix-lost": {"node": str},
    "instance-unknown": {"node": str},
    "node-unregistered": {"node": str},
    NODE_LEAVES: {"node": str},
    "calico-node-restart": {"node": str},
    "calico-node-lingers": {"node": str},
    "source-check-on": {"node": str},
    "connections-refused": {"node": str},
    "mtu-lowered": {"node": str, "octets": range(1280, 1500)},
    "wall-clock-stepped": {"ms": int},
    "route-controller-away": {},
    "extension-away": {},
    "network-annotated": {},
    "control-plane-migrated": {},
}
"""Fault to its options, no more and no less:

- kube-api-down: every call to the Kubernetes API fails.
- route-api-down: every call to the cloud's route API fails.
- route-api-hangs: no call to the cloud's route API gets an answer until it is cured.
- node-route-lost: the route to `node` disappears from the table of `zone`; the cure creates it again unless it exists.
- node-prefix-lost: the cloud no longer delivers packets to the IPv6 prefix of `node`, from any zone.
- instance-unknown: the cloud does not find the machine of `node`: CreateRoute to it fails.
- node-unregistered: the Node object is deleted while the machine keeps running; the cure registers it anew, without
  NetworkUnavailable, as a node that joins.
- node-leaves: the Node object is deleted and the machine is gone, for good; nothing to cure. The pods of `node` are not probed.
- calico-node-restart: the pod of `node` is deleted; its DaemonSet makes another, so there is nothing to cure.
- calico-node-lingers: where calico-node's pod of `node` is replaced, its containers end only when its successor's start, after
  cleanup-routes.
- source-check-on: the network interface of `node` drops packets that are neither from nor to the node's own address, as a
  cloud's source/destination check does.
- connections-refused: `node` drops the first packet of every new connection, as with a full conntrack table.
- mtu-lowered: the MTU of `node`'s interface is `octets`, at least the minimum of IPv6 (RFC 8200, 5), below Ethernet's 1,500.
- wall-clock-stepped: the wall clock (CLOCK_REALTIME) of the machine is `ms` ahead, or behind where `ms` is negative. Only a
  machine that is a process of the user's can do it: user-mode Linux.
- route-controller-away, extension-away: the process does not run; it starts anew, without memory, when it is cured.
- network-annotated: the operator, or gardenlet, annotates the Network, which makes the extension look; nothing to cure.
- control-plane-migrated: the control plane leaves its seed; its ManagedResources go, their objects stay. The cure restores it
  in another seed.
"""

OF_IPV6: Final = frozenset({"node-prefix-lost"})
"""Faults that need pods with IPv6 addresses."""

OF_SWITCH: Final = frozenset({"route-controller-away", "extension-away", "network-annotated", "control-plane-migrated"})
"""Faults of the parts that perform the switch; the others are the cluster's."""

MOMENTARY: Final = frozenset({"calico-node-restart", "network-annotated"})
"""Faults that are over at once: they may follow each other without a cure in between."""

THROUGH_API: Final = frozenset({"node-unregistered", NODE_LEAVES, "calico-node-restart"})
"""Faults that are brought about by calls to the Kubernetes API."""


def check_fault(name: str, options: JsonObject) -> None:
    """Refuse a fault that does not exist, or with other options than it needs. Raises UsageError."""
    if name not in FAULTS:
        raise UsageError(where="fault", place="name", found=repr(name), expected=", ".join(sorted(FAULTS)))
    needed = FAULTS[name]
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
