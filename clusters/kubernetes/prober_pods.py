"""The probers' pods in a cluster: deployment, requests to their supervisors, removal.

None of this uses the path that is measured: requests go through the API server (`clusters.kubernetes.pod_host`). Where a
cluster belongs to someone else, this is all that is written: one namespace and one priority class, both deleted at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from clusters.kubernetes.node_objects import pick_address, read_pod_addresses
from clusters.kubernetes.pod_host import PodHost
from clusters.kubernetes.prober_manifests import (
    OWNER,
    OWNER_LABEL,
    RECORDS,
    ROLE_LABEL,
    PodRole,
    ProberSpec,
    render_owned,
    render_probers,
)
from hitless.clock import wait_until
from hitless.errors import ApiUnavailableError, NotFoundError, UsageError, WorldError
from hitless.facts import Endpoint, NodeFacts
from hitless.ports import Clock
from hitless.words import IpFamily, JsonObject

ASK: Final = ("python", "-s", "-P", "-m", "probes.pod", "ask", RECORDS)
"""The command that hands a request to a pod's supervisor."""
_ASK_S: Final = 15.0
_AT_ONCE_MAX: Final = 8
"""Requests at a time: enough to hide their latency, few enough for someone else's API server."""
_RUNNING_S: Final = 300.0
"""Time for pulling images and starting pods."""
_GONE_S: Final = 120.0
_LOOK_S: Final = 0.5
T = TypeVar("T")


class ProberPods:
    """The pods of one deployment."""

    def __init__(self, host: PodHost, spec: ProberSpec, clock: Clock | None = None) -> None:
        self._host, self._spec, self._clock = host, spec, clock
        self._pods: dict[str, str] = {}
        self._is_deployed = False
        self.endpoints: tuple[Endpoint, ...] = ()
        """By node, in the order of the roles."""
        self.nodes: tuple[NodeFacts, ...] = ()
        """The nodes that have probers."""

    def deploy(self, nodes: Sequence[NodeFacts], *, replaces: bool = False) -> tuple[Endpoint, ...]:
        """Put the probers onto all nodes and wait until every one runs.

        Args:
            nodes: the nodes; the address of a node's host prober is `address`, which is in its zone's subnet, and never what
                the node's status calls its own.
            replaces: whether probers that are there already (left by a run that was killed) are removed first.

        Raises:
            UsageError: hitless did not create the namespace, or another run uses it.
            WorldError: not all pods run in time; nothing is left behind then.
        """
        if replaces:
            self.remove_left()
        self._check_namespace()
        try:
            self._is_deployed = True
            self._host.install(render_probers(self._spec))
            self._wait_running(nodes)
            self.nodes = tuple(nodes)
        except BaseException:
            self.remove()
            raise
        return self.endpoints

    def remove(self) -> None:
        """Delete everything that hitless created and wait until it is gone. Safe to call twice. Raises WorldError."""
        if not self._is_deployed:
            return
        owned = render_owned(self._spec)
        self._host.uninstall(owned)
        unmet = f"the namespace {self._spec.namespace} of the probers is not gone"
        wait_until(lambda: not any(map(self._find, owned)), timeout_s=_GONE_S, poll_s=_LOOK_S, unmet=unmet, clock=self._clock)
        self._is_deployed = False
        self._pods, self.endpoints, self.nodes = {}, (), ()

    def remove_left(self) -> bool:
        """Delete what another process deployed; return whether there was anything.

        Raises:
            UsageError: hitless did not create the namespace.
            WorldError: it does not disappear.
        """
        found = self._is_deployed = self._owns_namespace()
        self.remove()
        self._check_namespace()
        return found

    def ask(self, endpoint: str, request: JsonObject) -> JsonObject:
        """Send a request to the supervisor of an endpoint's pod, see `probes.supervisor`; return its answer.

        Raises:
            ApiUnavailableError: no answer: it may have been done or not.
            WorldError: the supervisor refused, or there is none.
        """
        line = json.dumps(request).encode()
        content = self._host.execute(self._spec.namespace, self._pods[endpoint], ASK, line, _ASK_S)
        try:
            answer: JsonObject = json.loads(content)
        except ValueError as error:
            raise ApiUnavailableError(f"the prober {endpoint} answered with {content[:100]!r}") from error
        if "error" in answer:
            raise WorldError(f"the prober {endpoint}: {answer['error']}")
        return answer

    def ask_patiently(self, endpoint: str, request: JsonObject, patience_s: float = 30.0) -> JsonObject:
        """Repeat a request while the API does not answer; only for requests that may be made twice. Raises WorldError."""
        answers: list[JsonObject] = []

        def has_answered() -> bool:
            answers.append(self.ask(endpoint, request))
            return True

        unmet = f"the prober {endpoint} has not answered"
        wait_until(has_answered, timeout_s=patience_s, poll_s=_LOOK_S, unmet=unmet, clock=self._clock)
        return answers[0]

    def each(self, endpoints: Iterable[str], act: Callable[[str], T]) -> dict[str, T]:
        """Call `act` for each endpoint, several at a time; return the results in order. Raises the first error, after all."""
        names = list(endpoints)
        with ThreadPoolExecutor(_AT_ONCE_MAX) as pool:
            return dict(zip(names, pool.map(act, names), strict=True))

    def pod_of(self, endpoint: str) -> JsonObject:
        """Return the Pod object of an endpoint as it is. Raises WorldError."""
        name = self._pods[endpoint]
        found = next((pod for pod in self._host.pods(self._spec.namespace) if pod["metadata"]["name"] == name), None)
        if found is None:
            raise WorldError(f"the pod {name} of the prober {endpoint} is gone")
        return found

    def inspect(self) -> dict[str, JsonObject]:
        """Return what each host prober sees of its node (`probes.netlink`), by node. Raises WorldError."""
        hosts = {endpoint.name: endpoint.node for endpoint in self.endpoints if endpoint.is_host}
        answers = self.each(hosts, lambda name: self.ask_patiently(name, {"do": "inspect"}))
        return {hosts[name]: answer for name, answer in answers.items()}

    def _check_namespace(self) -> None:
        if self._find(render_owned(self._spec)[0]) is not None:
            name, is_owned = self._spec.namespace, self._owns_namespace()
            owner = "of a run that is in progress or was killed" if is_owned else "that hitless did not create"
            remedy = f"run `hitless clean --kubeconfig FILE --namespace {name}`" if is_owned else "choose another --namespace"
            allowed = f"none; {'if it is not in use, ' if is_owned else ''}{remedy}"
            raise UsageError(where="cluster", place=f"namespace {self._spec.namespace}", found=f"one {owner}", expected=allowed)

    def _owns_namespace(self) -> bool:
        found = self._find(render_owned(self._spec)[0]) or {"metadata": {}}
        return (found["metadata"].get("labels") or {}).get(OWNER_LABEL) == OWNER

    def _find(self, document: JsonObject) -> JsonObject | None:
        """Return the object of the same kind and name; None: there is none."""
        try:
            return self._host.get(document)
        except NotFoundError:
            return None

    def _wait_running(self, nodes: Sequence[NodeFacts]) -> None:
        wanted = {(role, node.name) for role in self._spec.roles for node in nodes}
        seen: dict[tuple[PodRole, str], JsonObject] = {}

        def is_whole() -> bool:
            pods = self._host.pods(self._spec.namespace)
            seen.update({key: pod for pod in pods if (key := _key_of(pod)) is not None})
            return all(key in seen and _is_running(seen[key]) for key in wanted)

        wait_until(
            is_whole,
            timeout_s=_RUNNING_S,
            poll_s=_LOOK_S,
            unmet="not every prober runs",
            describe=partial(_describe_missing, wanted, seen),
            clock=self._clock,
        )
        endpoints = []
        for node in nodes:
            for role in self._spec.roles:
                pod, name = seen[role, node.name], f"{node.name}-{role.value}"
                is_host = role is PodRole.HOST
                addresses = (node.address, node.address6) if is_host else read_pod_addresses(pod)
                endpoints.append(
                    Endpoint(
                        name=name,
                        node=node.name,
                        zone=node.zone,
                        address=pick_address(filter(None, addresses), IpFamily.IPV4),
                        address6=pick_address(addresses, IpFamily.IPV6),
                        is_host=is_host,
                    )
                )
                self._pods[name] = pod["metadata"]["name"]
        self.endpoints = tuple(endpoints)


def _key_of(pod: JsonObject) -> tuple[PodRole, str] | None:
    """Return role and node of a prober pod that stays; None: another pod, or one that is terminating."""
    role = (pod["metadata"].get("labels") or {}).get(ROLE_LABEL)
    node = pod["spec"].get("nodeName")
    if role not in set(PodRole) or node is None or "deletionTimestamp" in pod["metadata"]:
        return None
    return PodRole(role), node


def _is_running(pod: JsonObject) -> bool:
    status: Mapping[str, Any] = pod.get("status") or {}
    ready = [container.get("ready") for container in status.get("containerStatuses") or ()]
    return status.get("phase") == "Running" and bool(read_pod_addresses(pod)) and bool(ready) and all(ready)


def _describe_missing(wanted: set[tuple[PodRole, str]], seen: Mapping[tuple[PodRole, str], JsonObject]) -> str:
    missing = sorted(key for key in wanted if key not in seen or not _is_running(seen[key]))
    role, node = missing[0]
    pod = seen.get((role, node))
    return f"{len(missing)} of {len(wanted)} probers do not run, such as {role.value} on {node} ({_state_of(pod)})"


def _state_of(pod: JsonObject | None) -> str:
    if pod is None:
        return "no pod"
    status: Mapping[str, Any] = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason')}: {waiting.get('message', '')}".strip(": ")
    return str(status.get("phase", "not scheduled"))
