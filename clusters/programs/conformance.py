"""The decision table run on a program: one Shoot for each observed case, all in one API server.

A case is a namespace with Cluster, Network, the kubeconfig secret and the manifest that was written last. Nodes are shared, so
the cases with the same Nodes are run together. The decision follows from the Network's status and from whether the extension
wrote its ManagedResource again. If the gate did not apply, it is not visible whether the extension could read the manifest.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

from clusters.kubernetes.api_calls import ApiCalls, connect, list_objects
from clusters.kubernetes.installer import RESOURCES, Installer
from clusters.programs.api_server import ApiServer, find_assets
from clusters.programs.extension import start_extension
from clusters.programs.process import Process
from clusters.programs.seed_objects import (
    MANAGED_RESOURCE,
    MANAGED_RESOURCES,
    NETWORK,
    NETWORKS,
    cluster,
    definitions,
    namespace,
    network,
    secret,
)
from gardener.feature_gates import FeatureGates
from gardener.gate import has_route_created
from gardener.observed.cases import CASES, Case, render_before
from gardener.releases import ExtensionRelease
from hitless.clock import came_true
from hitless.objects import make_object
from hitless.words import JsonObject, Kind

_READY_S: Final = 60.0
_SILENCE_S: Final = 15.0
"""If no case is decided for this long, the remaining ones have timed out; most are decided within a second."""
_POLL_S: Final = 0.2
_MANIFEST: Final = "written-last"
_NOWHERE: Final = "https://127.0.0.1:1"


def ask_program(extension: Path, release: ExtensionRelease, logs: Path) -> dict[str, str]:
    """Return what a program decides: case to one word of the table, without the table's brackets but `hold(api)`.

    The manifest that was written last is as the release would have written it.

    Raises:
        WorldError: the program or its API server ended, or did not become ready.
    """
    with contextlib.ExitStack() as stack:
        server = ApiServer(find_assets(), logs)
        stack.callback(server.down)
        server.up()
        calls = connect(server.kubeconfig)
        stack.callback(calls.close)
        installer = Installer(calls)
        installer.install(definitions())
        program = start_extension(extension, FeatureGates(seamless_overlay_switch=True), server)
        stack.callback(program.end)
        answers: dict[str, str] = {}
        for _, names in groupby(sorted(CASES, key=_nodes_of), key=_nodes_of):
            group = tuple(names)
            _write_nodes(calls, installer, CASES[group[0]])
            documents = [one for name in group for one in _documents(name, release, server.kubeconfig)]
            installer.install_when_served(documents, timeout_s=_READY_S)
            answers |= _ask_group(calls, installer, program, group)
    return {name: answers[name] for name in CASES}


def simplify(outcome: str) -> str:
    """Return an outcome of the table as it is visible from outside."""
    return outcome.removesuffix("(unreadable)")


def _nodes_of(name: str) -> str:
    case = CASES[name]
    return json.dumps(replace(case, api_error="").make_nodes())


def _write_nodes(calls: ApiCalls, installer: Installer, case: Case) -> None:
    for node in list_objects(calls, RESOURCES[Kind.NODE].path(), "v1", "Node")[0]:
        calls.call("DELETE", RESOURCES[Kind.NODE].path(node["metadata"]["name"]), about="Node")
    for node in replace(case, api_error="").make_nodes() or ():
        installer.install([{"apiVersion": "v1", **{key: value for key, value in node.items() if key != "status"}}])
        path = RESOURCES[Kind.NODE].path(node["metadata"]["name"], subresource="status")
        calls.patch(path, {"status": node["status"]}, about="Node status")


def _ask_group(calls: ApiCalls, installer: Installer, program: Process, names: Sequence[str]) -> dict[str, str]:
    """Run cases with the same Nodes, which are written first, and return the decision of each."""
    requests = {name: deque(_networks(name)) for name in names}
    for name in names:
        installer.install([requests[name].popleft()])
    answers: dict[str, str] = {}

    def has_answered() -> bool:
        program.check()
        new = {name: _read_answer(calls, name) for name in names if name not in answers}
        for name, answer in new.items():
            if answer is not None and requests[name]:
                installer.install([requests[name].popleft()])
            elif answer is not None:
                answers[name] = answer
        return any(new.values())

    while len(answers) < len(names) and came_true(has_answered, timeout_s=_SILENCE_S, poll_s=_POLL_S):
        pass
    return {name: answers.get(name, "Timeout") for name in names}


def _documents(name: str, release: ExtensionRelease, kubeconfig: Path) -> Iterator[JsonObject]:
    """Return the objects of a case that exist before its Network: namespace, kubeconfig, Cluster, last manifest."""
    case, place = CASES[name], _namespace_of(name)
    yield namespace(place)
    text = _break_kubeconfig(kubeconfig.read_text(encoding="utf-8"), case.api_error)
    if text is not None:
        yield secret("gardener", {"kubeconfig": text.encode()}, place)
    yield cluster(case.make_shoot(case.after), place)
    manifest = case.edit(list(render_before(case, release)))
    if manifest is not None:
        yield secret(_MANIFEST, {"objects.yaml": "\n---\n".join(map(json.dumps, manifest)).encode()}, place)
        spec = {"secretRefs": [{"name": _MANIFEST}]}
        yield make_object(MANAGED_RESOURCES.api_version, "ManagedResource", MANAGED_RESOURCE, place, spec=spec)


def _networks(name: str) -> Iterator[JsonObject]:
    """Return the Network of a case, as each of its requests has it."""
    case = CASES[name]
    for config in (case.held, case.after) if case.held is not None else (case.after,):
        spec = {
            "podCIDR": "100.96.0.0/11",
            "serviceCIDR": "100.64.0.0/13",
            "ipFamilies": (case.networking or {}).get("ipFamilies", ["IPv4"]),
            "providerConfig": config,
        }
        yield network(spec, case.operation, _namespace_of(name))


def _read_answer(calls: ApiCalls, name: str) -> str | None:
    """Return the decision on the present Network, or None if there is none yet."""
    path = NETWORKS.path(NETWORK, namespace=_namespace_of(name))
    found = calls.call("GET", path, about=f"Network of {name}")
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return None
    error = (status.get("lastError") or {}).get("description") or ""
    match (status.get("lastOperation") or {}).get("state"):
        case "Succeeded":
            nodes, _ = list_objects(calls, RESOURCES[Kind.NODE].path(), "v1", "Node")
            return "proceed" if all(map(has_route_created, nodes)) else "not-applicable"
        case "Error" if "waiting for routes to be created" in error:
            return "hold"
        case "Error" if "cannot verify node routes" in error or "failed to check node route status" in error:
            return "hold(api)"
        case "Error":
            return "Error"
        case _:
            return None


def _break_kubeconfig(text: str, api_error: str) -> str | None:
    """Return a kubeconfig with which the API fails as a case says; None: there is none."""
    if "not found" in api_error:
        return None
    document = json.loads(text)
    if "credentials" in api_error:
        document["users"][0]["user"]["token"] = "wrong"  # noqa: S105 - no secret
    elif api_error:
        document["clusters"][0]["cluster"]["server"] = _NOWHERE
    return json.dumps(document)


def _namespace_of(name: str) -> str:
    return f"shoot--conform--{list(CASES).index(name)}"
