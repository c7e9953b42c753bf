"""The state that every calico-node reads from the Kubernetes API, read once for all nodes of the lab.

A real node holds a watch each. Here 200 of them would copy 200 pods at every change, so one reader keeps their common view:
the calico-node pods, whose BIRD runs where (what a node's BGP sessions would tell it), the tunnel addresses, the pools.
"""

from __future__ import annotations

from collections.abc import Mapping

from clusters.lab.calico.data_plane import Pools, read_pools
from clusters.lab.calico.pods import CalicoPod, read_pod, template_hash, with_status
from clusters.lab.kube import MemoryKube
from hitless.calico import CALICO_CONFIG, CALICO_NODE, TUNNEL_ANNOTATIONS, is_calico_pod
from hitless.errors import ApiUnavailableError
from hitless.words import JsonObject, Kind, Overlay


class Datastore:
    """The doubles' common view of the API.

    Args:
        kube: the lab's API.
    """

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
