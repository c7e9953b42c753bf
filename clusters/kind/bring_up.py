"""Bring-up from an API server without a network to Calico in its start mode: applies and waits, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from clusters.kind.calico import block_affinities, calico_definitions
from clusters.kubernetes.crashes import ReadLog, describe_crashes, find_crashes, find_unready
from gardener.conditions import calico_is_up, dated, network_unavailable, route_condition
from gardener.doubles.route_controller import USER as ROUTE_CONTROLLER_USER
from gardener.manifests.admission import BINDING_NAME, CALICO_NODE_USER, POLICY_NAME
from gardener.manifests.rbac import calico_objects, part_objects
from gardener.manifests.render import NODE_CIDR_POOL
from hitless.calico import CALICO_NODE, is_calico_pod
from hitless.clock import read_wall_time, wait_until
from hitless.errors import NotFoundError, WorldError
from hitless.facts import CloudRoute, NodeFacts
from hitless.objects import is_ready, is_rolled, name_of
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


class InstallsObjects(Protocol):
    """Applies objects of any kind; `clusters.kubernetes.installer.Installer` is one."""

    def install(self, documents: Sequence[JsonObject]) -> None:
        """Apply objects in their order. Raises ApiError."""


class ClusterApi(KubeApi, Protocol):
    """A KubeApi that watches while it is started, and installs what the switch does not know."""

    @property
    def installer(self) -> InstallsObjects:
        """For the objects that the switch does not know."""

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
        installer = self._kube.installer
        installer.install(calico_definitions())
        self._wait(lambda: self._has_kind(Kind.IP_POOL), _DEFINED_S, "Calico's definitions are not served")
        installer.install((*calico_objects(), *part_objects()))
        if self._has_arranged_blocks:
            installer.install(block_affinities(nodes))
        self._remove_other_mode(wanted)
        if self._mode is Mode.NATIVE:
            # Without the cloud's routes, the pods of a native cluster, including CoreDNS, reach no other node.
            for zone in self._tables.zones():
                for one in nodes:
                    self._tables.create(CloudRoute(zone=zone, cidr=one.pod_cidr, node=one.name))
        installer.install(wanted)
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
