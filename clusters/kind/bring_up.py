"""Bring-up from an API server without a network to Calico in its start mode: applies and waits, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network
from typing import Final, Protocol

from clusters.kubernetes.crashes import ReadLog, describe_crashes, find_crashes, find_unready
from clusters.kubernetes.installer import Resource, definition
from gardener.conditions import calico_is_up, dated, network_unavailable, route_condition
from gardener.doubles.route_controller import USER as ROUTE_CONTROLLER_USER
from gardener.manifests.admission import BINDING_NAME, CALICO_NODE_USER, POLICY_NAME
from gardener.manifests.rbac import calico_objects, part_objects
from gardener.manifests.render import NODE_CIDR_POOL
from hitless.calico import CALICO_GROUP, CALICO_NODE, is_calico_pod
from hitless.clock import read_wall_time, wait_until
from hitless.errors import NotFoundError, WorldError
from hitless.facts import CloudRoute, NodeFacts
from hitless.objects import is_ready, is_rolled, make_object, name_of
from hitless.ports import Clock, KubeApi, RouteTables
from hitless.words import JsonObject, Kind, Mode
from scenarios.plan import Case

POLL_S: Final = 0.5
_DEFINED_S: Final = 30.0
_ROLLED_S: Final = 300.0
"""Longest time for a rollout. Images are loaded before, so nothing is pulled; a slow machine starts Calico in about a
minute."""
_CONDITION_S: Final = 60.0

VARYING: Final = (
    (Kind.ADMISSION_POLICY_BINDING, BINDING_NAME),
    (Kind.ADMISSION_POLICY, POLICY_NAME),
    (Kind.DEPLOYMENT, "calico-kube-controllers"),
    (Kind.DEPLOYMENT, "calico-typha-deploy"),
    (Kind.IP_POOL, NODE_CIDR_POOL),
)
"""Objects that only one of the modes has; they are deleted if the start mode does not have them."""
_POLICY_VERSION: Final = "policy.networking.k8s.io/v1alpha1"
BLOCK_MASK: Final = 26
"""blockSize of the rendered IPPool."""

_CLUSTER_WIDE: Final = (
    *("BGPConfiguration", "BGPFilter", "BGPPeer", "BlockAffinity", "CalicoNodeStatus", "ClusterInformation"),
    *("FelixConfiguration", "GlobalNetworkPolicy", "GlobalNetworkSet", "HostEndpoint", "IPAMBlock", "IPAMConfig", "IPAMHandle"),
    *("IPPool", "IPReservation", "KubeControllersConfiguration", "StagedGlobalNetworkPolicy", "Tier"),
)
_NAMESPACED: Final = ("NetworkPolicy", "NetworkSet", "StagedKubernetesNetworkPolicy", "StagedNetworkPolicy")
"""Source: calico v3.31.6 libcalico-go/config/crd; the same set as in gardener-extension-networking-calico
charts/internal/calico/templates/custom-resource-definition."""
_POLICIES: Final = ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy")
"""Felix and Typha list them at start, and wait forever if they are missing. Source: as above."""
_APPROVAL: Final = "https://github.com/kubernetes-sigs/network-policy-api/pull/30"
"""The API server accepts no definition of a *.k8s.io group without it. Source: KEP-1111; the definitions named above."""


class ClusterApi(KubeApi, Protocol):
    """A KubeApi that watches while it is started, and installs what the switch does not know."""

    def install(self, documents: Sequence[JsonObject]) -> None:
        """Apply objects in their order, including kinds that the switch does not use. Raises ApiError."""

    @property
    def read_log(self) -> ReadLog:
        """Reads a container's log."""

    def start(self) -> None:
        """Begin to watch. Raises ApiError."""

    def stop(self) -> None:
        """End all watches and connections. Safe to call twice."""


class CalicoStart:
    """Brings Calico into the start mode, on a fresh cluster or on one that has been through a switch.

    Its route tables are empty; `tell` reports progress, one line at a time.
    """

    def __init__(self, case: Case, kube: ClusterApi, tables: RouteTables, *, clock: Clock, tell: Callable[[str], None]) -> None:
        self._mode, self._has_arranged_blocks = case.scenario.start, case.has_arranged_blocks
        self._kube, self._tables, self._clock, self._tell = kube, tables, clock, tell

    def bring(self, nodes: Sequence[NodeFacts], objects: Sequence[JsonObject]) -> None:
        """Apply the objects of the start mode and return when Calico runs on every node and every condition is right.

        Of `switches.doubles.initial_objects` the Nodes belong to the kubelets and are not written.

        Raises:
            WorldError: a condition was not met in time.
        """
        wanted = [document for document in objects if document["kind"] != Kind.NODE.value]
        self._tell(f"applying Calico in mode {self._mode}")
        self._kube.install(calico_definitions())
        self._wait(lambda: self._has_kind(Kind.IP_POOL), _DEFINED_S, "Calico's definitions are not served")
        self._kube.install((*calico_objects(), *part_objects()))
        if self._has_arranged_blocks:
            self._kube.install(block_affinities(nodes))
        self._remove_other_mode(wanted)
        if self._mode is Mode.NATIVE:
            # Without the cloud's routes, the pods of a native cluster, including CoreDNS, reach no other node.
            for zone in self._tables.zones():
                for one in nodes:
                    self._tables.create(CloudRoute(zone=zone, cidr=one.pod_cidr, node=one.name))
        self._kube.install(wanted)
        self._tell("waiting for calico-node on every node")
        self._wait(self._is_rolled_out, _ROLLED_S, "calico-node does not run on every node", self._describe_roll)
        self._wait(lambda: not self._unready(), _ROLLED_S, "not every Node is Ready", self._unready)
        self._write_conditions()

    def _remove_other_mode(self, wanted: Sequence[JsonObject]) -> None:
        names = {(document["kind"], document["metadata"]["name"]) for document in wanted}
        for kind, name in VARYING:
            if (kind.value, name) not in names:
                self._kube.delete(kind, name)

    def _has_kind(self, kind: Kind) -> bool:
        try:
            self._kube.list(kind)
        except NotFoundError:
            return False
        return True

    def _is_rolled_out(self) -> bool:
        if hopeless := [crash for crash in find_crashes(self._calico_pods()) if crash.is_hopeless]:
            raise WorldError(f"calico-node does not start: {describe_crashes(self._kube.read_log, hopeless)}")
        return is_rolled(self._kube.get(Kind.DAEMON_SET, CALICO_NODE))

    def _describe_roll(self) -> str:
        pods = self._calico_pods()
        failed = describe_crashes(self._kube.read_log, find_crashes(pods) or find_unready(pods))
        return failed or str(self._kube.get(Kind.DAEMON_SET, CALICO_NODE).get("status") or "no status")

    def _calico_pods(self) -> list[JsonObject]:
        return [pod for pod in self._kube.list(Kind.POD) if is_calico_pod(pod)]

    def _unready(self) -> str:
        return ", ".join(name_of(node) for node in self._kube.list(Kind.NODE) if not is_ready(node))

    def _write_conditions(self) -> None:
        """Set on every node the condition that the owner of the mode would set.

        In overlay mode calico-node writes it itself when it starts. On a cluster that was switched before, the policy that has
        just been deleted may still have dropped that write. So the write is repeated, under the same user name, until it is
        kept.
        """
        is_native = self._mode is Mode.NATIVE
        condition = dated(route_condition(is_created=True) if is_native else calico_is_up(), read_wall_time())
        actor = ROUTE_CONTROLLER_USER if is_native else CALICO_NODE_USER

        def are_kept() -> bool:
            others = [
                str(node["metadata"]["name"])
                for node in self._kube.list(Kind.NODE)
                if [entry.get("reason") for entry in network_unavailable(node)] != [condition["reason"]]
            ]
            for name in others:
                self._kube.merge_condition(name, condition, actor=actor)
            return not others

        self._wait(are_kept, _CONDITION_S, f"NetworkUnavailable is not {condition['reason']} on every node")

    def _wait(self, is_so: Callable[[], bool], timeout_s: float, unmet: str, describe: Callable[[], str] | None = None) -> None:
        wait_until(is_so, timeout_s=timeout_s, poll_s=POLL_S, unmet=unmet, describe=describe, clock=self._clock)


def calico_definitions() -> tuple[JsonObject, ...]:
    """Return Calico's custom resource definitions, in order of their names. They do not depend on the mode.

    Each has the name, group, scope and version that Calico's clients use, and a schema that keeps every field they write.
    Calico validates its objects itself, in libcalico-go and Felix; the defaults of its own schemas concern fields that are not
    written here. So nothing has to be downloaded or copied.
    """
    documents = [
        *(_define(f"{CALICO_GROUP}/v1", kind, is_namespaced=False) for kind in _CLUSTER_WIDE),
        *(_define(f"{CALICO_GROUP}/v1", kind, is_namespaced=True) for kind in _NAMESPACED),
        *(_define(_POLICY_VERSION, kind, is_namespaced=False) for kind in _POLICIES),
    ]
    return tuple(sorted(documents, key=lambda document: str(document["metadata"]["name"])))


def block_affinities(nodes: Iterable[NodeFacts]) -> tuple[JsonObject, ...]:
    """Return the affinities with which calico-ipam takes the addresses of each node from blocks in its podCIDR.

    The blocks themselves are created when the first address is assigned. Source: calico libcalico-go/lib/ipam/ipam.go
    getBlockFromAffinity; lib/backend/k8s/resources/affinityblock.go for the names.
    """
    return tuple(
        make_object(
            *(f"{CALICO_GROUP}/v1", "BlockAffinity", f"{node.name}-{str(block).replace('.', '-').replace('/', '-')}"),
            spec={"cidr": str(block), "node": node.name, "state": "confirmed", "deleted": "false"},
        )
        for node in nodes
        for block in IPv4Network(node.pod_cidr).subnets(new_prefix=BLOCK_MASK)
    )


def _define(api_version: str, kind: str, *, is_namespaced: bool) -> JsonObject:
    resource = Resource(api_version=api_version, plural=_plural_of(kind.lower()), is_namespaced=is_namespaced)
    document = definition(resource, kind)
    if api_version == _POLICY_VERSION:
        document["metadata"]["annotations"] = {"api-approved.kubernetes.io": _APPROVAL}
    return document


def _plural_of(singular: str) -> str:
    """Return the plural by the rule of Kubernetes. Source: k8s.io/apimachinery pkg/api/meta UnsafeGuessKindToResource."""
    if singular.endswith("s"):
        return f"{singular}es"
    return f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
