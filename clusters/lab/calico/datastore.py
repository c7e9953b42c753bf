"""What the lab's network and its calico-nodes read of the Kubernetes API: ConfigMap, DaemonSet, IPPools and pods.

Whatever changes packets is obeyed, or refused with the Shoot's field that it comes from. Source: docs/mechanics.md 1.6,
4.1-4.3, 4.6. `Datastore` is the state that every calico-node reads, read once for all nodes of the lab.

A real node holds a watch each. Here 200 of them would copy 200 pods at every change, so one reader keeps their common view:
the calico-node pods, whose BIRD runs where (what a node's BGP sessions would tell it), the tunnel addresses, the pools.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from clusters.lab.kube import MemoryKube, copy_json
from gardener.manifests.calico_node import CLEANUP_ROUTES
from gardener.manifests.render import DEFAULT_POOL
from hitless.calico import CALICO_CONFIG, CALICO_NODE, TUNNEL_ANNOTATIONS, is_calico_node, is_calico_pod
from hitless.errors import ApiUnavailableError, UsageError
from hitless.objects import is_ready, name_of
from hitless.words import JsonObject, Kind, Mode, Overlay

HOST_LOCAL: Final = "host-local"
_PROVIDER_CONFIG: Final = "spec.networking.providerConfig"
_POOL_KEYS: Final[Mapping[str, Overlay]] = {"ipipMode": Overlay.IPIP, "vxlanMode": Overlay.VXLAN}
_POOL_MODES: Final[Mapping[str, bool]] = {"Always": True, "Never": False}
HASH_LABEL: Final = "controller-revision-hash"
"""Which template a pod has. Source: k8s.io/api apps/v1 DefaultDaemonSetUniqueLabelKey."""
BACKENDS: Final = ("bird", "vxlan", "none")
"""Source: NC pkg/apis/calico/validation/networkconfig.go:27-30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoPod:
    """One calico-node pod as the doubles see it.

    It carries its template, so what calico-node does on a node follows from its pod and not from the DaemonSet: while a roll
    goes on, old and new templates run side by side.
    """

    name: str
    """Unique among all pods that ever were: another name is another incarnation."""
    node: str
    """Name of the node that it runs on."""
    template: str
    """Hash of its template."""
    backend: str
    """CALICO_NETWORKING_BACKEND of its container: one of BACKENDS."""
    environment: Mapping[str, str]
    """Of its container. Felix: an absent FELIX_VXLANENABLED means that the IPPool decides."""
    has_cleanup: bool
    """Whether it begins with cleanup-routes."""
    is_started: bool
    """Whether its containers run (Felix, and BIRD where the backend is bird)."""
    is_ready: bool

    @property
    def has_bird(self) -> bool:
        """Whether its BIRD runs."""
        return self.is_started and self.backend == "bird"


def read_pod(document: JsonObject, config: JsonObject | None) -> CalicoPod:
    """Read a pod of the DaemonSet. A container takes its environment from the ConfigMap calico-config when it is created.

    Raises UsageError: the pod's template is none of calico-node, or its backend is unknown.
    """
    metadata, spec = document["metadata"], document["spec"]
    containers = {item["name"]: item for item in spec.get("containers", [])}
    if CALICO_NODE not in containers:
        found = ", ".join(containers) or "no container"
        raise UsageError(where=f"Pod {metadata['name']}", place="spec.containers", found=found, expected=CALICO_NODE)
    environment = _environment(containers[CALICO_NODE], config)
    backend = environment.get("CALICO_NETWORKING_BACKEND", "bird")
    if backend not in BACKENDS:
        place = "CALICO_NETWORKING_BACKEND"
        raise UsageError(where=f"Pod {metadata['name']}", place=place, found=backend, expected=", ".join(BACKENDS))
    pod = CalicoPod(
        name=metadata["name"],
        node=spec["nodeName"],
        template=metadata["labels"][HASH_LABEL],
        backend=backend,
        environment=environment,
        has_cleanup=any(item["name"] == CLEANUP_ROUTES for item in spec.get("initContainers", [])),
        is_started=False,
        is_ready=False,
    )
    return with_status(pod, document)


def with_status(pod: CalicoPod, document: JsonObject) -> CalicoPod:
    """Return the same pod with the status that its document has now."""
    statuses = document.get("status", {}).get("containerStatuses", [])
    is_started = any(item["name"] == CALICO_NODE and item.get("started") is True for item in statuses)
    return replace(pod, is_started=is_started, is_ready=is_ready(document))


def make_pod(daemon_set: JsonObject, node: str, predecessor: str | None) -> JsonObject:
    """Return a new Pod of the DaemonSet, bound to a node.

    Its name follows from the pod that this node had before (None: none), so names do not return and are the same in every run.
    """
    template = copy_json(daemon_set["spec"]["template"])
    suffix = hashlib.sha256(f"{node} {predecessor}".encode()).hexdigest()[:5]
    return {
        "apiVersion": "v1",
        "kind": Kind.POD.value,
        "metadata": {
            **template.get("metadata", {}),
            "name": f"{CALICO_NODE}-{node}-{suffix}",
            "namespace": "kube-system",
            "labels": {**template.get("metadata", {}).get("labels", {}), HASH_LABEL: template_hash(daemon_set)},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": Kind.DAEMON_SET.value, "name": CALICO_NODE, "controller": True}
            ],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def make_status(*, is_ready: bool) -> JsonObject:
    """Return the status of a pod whose containers run."""
    ready = {"type": "Ready", "status": "True" if is_ready else "False"}
    container = {"name": CALICO_NODE, "started": True, "ready": is_ready}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}


def template_hash(daemon_set: JsonObject) -> str:
    """Return the hash of a DaemonSet's pod template: another hash, and only that, is another pod."""
    text = json.dumps(daemon_set["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _environment(container: JsonObject, config: JsonObject | None) -> dict[str, str]:
    """Return a container's environment; a later entry of the same name wins, as for a real container."""
    environment: dict[str, str] = {}
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("configMapKeyRef")
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        elif reference and reference["name"] == CALICO_CONFIG and config:
            value = config.get("data", {}).get(reference["key"])
            if value is not None:
                environment[entry["name"]] = value
    return environment


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
    """Read the IPPools. Raises UsageError: CrossSubnet, or another mode that the lab's nodes do not have."""
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

    Raises UsageError: something that the lab's nodes do not have; `place` is the Shoot's field that it comes from.
    """
    documents = tuple(objects)
    daemon_set = next(document for document in documents if is_calico_node(document))
    config = _find(documents, Kind.CONFIG_MAP, CALICO_CONFIG)
    pool = _find(documents, Kind.IP_POOL, DEFAULT_POOL)
    pools = read_pools(document for document in documents if document.get("kind") == Kind.IP_POOL.value)
    pod = read_pod(make_pod(daemon_set, "node", None), config)
    has_ipv6 = pod.environment.get("FELIX_IPV6SUPPORT") == "true"
    if pod.environment.get("FELIX_WIREGUARDENABLED") == "true":
        raise _refusal("wireguardEncryption", "FELIX_WIREGUARDENABLED true", "false, because the lab's nodes have no WireGuard")
    if pools.overlay is Overlay.IPIP and pod.backend != "bird":
        found = f"calico_backend {pod.backend} with an IPPool of ipipMode Always"
        raise _refusal("backend", found, "bird, because nothing else programs the routes of IPIP")
    if pools.overlay is Overlay.VXLAN and pod.backend == "none":
        found = "calico_backend none with an IPPool of vxlanMode Always"
        raise _refusal("backend", found, "vxlan or bird, because no node has a tunnel address otherwise")
    if has_ipv6 and pod.backend == "bird" and pools.mode is Mode.NATIVE:
        found, allowed = "true with IPv6", "false, because the lab's nodes have no BIRD for IPv6"
        raise _refusal("overlay.createPodRoutes", found, allowed)
    return DataPlane(
        pools=pools,
        pods=pool["spec"]["cidr"],
        has_bird=pod.backend == "bird",
        block_mask=_read_block_mask(config, pool),
        veth_mtu=int(config["data"]["veth_mtu"]),
        has_ipv6=has_ipv6,
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


class Datastore:
    """The doubles' common view of the API."""

    def __init__(self, kube: MemoryKube) -> None:
        self._watch = kube.watch(Kind.CONFIG_MAP, Kind.NODE, Kind.IP_POOL, Kind.DAEMON_SET, Kind.POD)
        self._config: JsonObject | None = None
        self._pods: dict[str, CalicoPod] = {}
        self._pool_objects: dict[str, JsonObject] = {}
        self.vteps: frozenset[str] = frozenset()
        """Names of the nodes that have a VXLAN tunnel address."""
        self.birds: frozenset[str] = frozenset()
        """Names of the nodes whose BIRD runs."""
        self.pools = Pools()
        """What the IPPools ask for now."""
        self.template: str | None = None
        """Hash of the DaemonSet's template now; None: no DaemonSet."""
        self.refresh()

    def refresh(self) -> bool:
        """Read what changed. Returns False while the API is away: the view is then the last one."""
        try:
            changes = self._watch.take()
        except ApiUnavailableError:
            return False
        if CALICO_CONFIG in changes.get(Kind.CONFIG_MAP, {}):
            self._config = changes[Kind.CONFIG_MAP][CALICO_CONFIG]
        if Kind.IP_POOL in changes:
            merged = {**self._pool_objects, **changes[Kind.IP_POOL]}
            self._pool_objects = {name: pool for name, pool in merged.items() if pool is not None}
            self.pools = read_pools(self._pool_objects.values())
        if CALICO_NODE in changes.get(Kind.DAEMON_SET, {}):
            document = changes[Kind.DAEMON_SET][CALICO_NODE]
            self.template = template_hash(document) if document else None
        if Kind.NODE in changes:
            self._read_vteps(changes[Kind.NODE])
        if Kind.POD in changes:
            self._read_pods(changes[Kind.POD])
        return True

    def pod(self, node: str) -> CalicoPod | None:
        """Return the calico-node pod of a node, or None."""
        return self._pods.get(node)

    def _read_vteps(self, changes: Mapping[str, JsonObject | None]) -> None:
        vteps = set(self.vteps) - changes.keys()
        for name, document in changes.items():
            if document and TUNNEL_ANNOTATIONS[Overlay.VXLAN] in document["metadata"].get("annotations", {}):
                vteps.add(name)
        self.vteps = frozenset(vteps)

    def _read_pods(self, changes: Mapping[str, JsonObject | None]) -> None:
        for name, document in changes.items():
            if document is None:
                self._pods = {node: pod for node, pod in self._pods.items() if pod.name != name}
        for name, document in changes.items():
            if document is not None and is_calico_pod(document):
                old = self._pods.get(document["spec"]["nodeName"])
                # A container keeps the environment with which it was created, whatever the ConfigMap says later.
                pod = read_pod(document, self._config) if old is None or old.name != name else with_status(old, document)
                self._pods[pod.node] = pod
        self.birds = frozenset(node for node, pod in self._pods.items() if pod.has_bird)
