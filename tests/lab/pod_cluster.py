"""A cluster that runs our pods as processes: real supervisors and real agents, on loopback or inside a lab's namespaces.

It plays API server, DaemonSet controller and kubelet for the objects of the prober. What it cannot be asked for it refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clusters.kubernetes.prober_manifests import CONTAINER, ROLE_LABEL, PodRole
from hitless.errors import ApiUnavailableError, NotFoundError, WorldError
from hitless.words import JsonObject
from probes.pod import SOCKET

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class ProcessPods:
    """A PodHost.

    Args:
        directory: where each pod gets a folder.
        addresses: (role, node) to the address of that pod.
        addresses6: the same in IPv6, of pods that have both families.
        prefix: what a supervisor's command line begins with, by (role, node): such as `nsenter`.
    """

    def __init__(
        self,
        directory: Path,
        addresses: Mapping[tuple[PodRole, str], str],
        prefix: Callable[[PodRole, str], Sequence[str]] = lambda _role, _node: (),
        addresses6: Mapping[tuple[PodRole, str], str] | None = None,
    ) -> None:
        self._directory, self._addresses, self._prefix = directory, addresses, prefix
        self._addresses6 = addresses6 or {}
        self.objects: dict[tuple[str, str], JsonObject] = {}
        self.supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self.requests: list[str] = []
        self.failures: dict[str, int] = {}
        """Request to how many of its next streams break, after it was done."""
        self._lock = threading.Lock()
        self._count = 0

    def install(self, documents: Sequence[JsonObject]) -> None:
        for document in documents:
            self._install(document)

    def _install(self, document: JsonObject) -> None:
        self.objects[document["kind"], document["metadata"]["name"]] = document
        if document["kind"] == "DaemonSet":
            role = PodRole(document["spec"]["template"]["metadata"]["labels"][ROLE_LABEL])
            for found, node in self._addresses:
                if found is role:
                    self._run(document, role, node)

    def get(self, document: JsonObject) -> JsonObject:
        key = document["kind"], document["metadata"]["name"]
        if key not in self.objects:
            raise NotFoundError(f"{key[0]} {key[1]}: not found")
        return self.objects[key]

    def uninstall(self, documents: Sequence[JsonObject]) -> None:
        for document in reversed(documents):
            self._uninstall(document)

    def _uninstall(self, document: JsonObject) -> None:
        self.objects.pop((document["kind"], document["metadata"]["name"]), None)
        if document["kind"] == "Namespace":
            self.objects = {
                key: found
                for key, found in self.objects.items()
                if found["metadata"].get("namespace") != document["metadata"]["name"]
            }
            self.close()

    def pods(self, namespace: str) -> tuple[JsonObject, ...]:
        return tuple(
            pod for (kind, _), pod in self.objects.items() if kind == "Pod" and pod["metadata"]["namespace"] == namespace
        )

    def execute(self, namespace: str, pod: str, command: Sequence[str], line: bytes, timeout_s: float) -> bytes:
        assert ("Pod", pod) in self.objects
        assert self.objects["Pod", pod]["metadata"]["namespace"] == namespace
        assert list(command[:4]) == ["python", "-s", "-P", "-m"]
        asked = json.loads(line)["do"]
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, *command[1:-1], str(self.folder(pod))],
            input=line,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env=ENVIRONMENT,
        )
        with self._lock:
            self.requests.append(asked)
            is_broken = self.failures.get(asked, 0) > 0
            self.failures[asked] = self.failures.get(asked, 0) - 1
        if is_broken:
            raise ApiUnavailableError("the stream broke")
        if done.returncode != 0:
            raise WorldError(done.stderr.decode())
        return done.stdout

    def folder(self, pod: str) -> Path:
        return self._directory / pod

    def close(self) -> None:
        for supervisor in self.supervisors.values():
            # A wrapper such as unshare ignores SIGTERM; it was told to end its child when it dies.
            (supervisor.terminate if supervisor.args[0] == sys.executable else supervisor.kill)()  # type: ignore[index]  # a list, see _run
        for supervisor in self.supervisors.values():
            supervisor.wait(20.0)
        self.supervisors = {}

    def _run(self, document: JsonObject, role: PodRole, node: str) -> None:
        template = document["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert (container["name"], container["args"]) == (CONTAINER, ["serve", "/records"])
        self._count += 1
        name = f"{document['metadata']['name']}-{node}-{self._count}"
        self.folder(name).mkdir(parents=True)
        self.supervisors[name] = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*self._prefix(role, node), sys.executable, "-s", "-P", "-m", "probes.pod", "serve", str(self.folder(name))],
            env=ENVIRONMENT,
        )
        while not (self.folder(name) / SOCKET).exists():
            assert self.supervisors[name].poll() is None
            os.sched_yield()
        # A node's own address in its status is that of its management network.
        address = "192.0.2.1" if role is PodRole.HOST else self._addresses[role, node]
        self.objects["Pod", name] = {
            "metadata": {
                "name": name,
                "namespace": document["metadata"]["namespace"],
                "labels": template["metadata"]["labels"],
                "uid": f"uid-{name}",
            },
            "spec": {**template["spec"], "nodeName": node},
            "status": {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": one} for one in (address, self._addresses6.get((role, node))) if one],
                "containerStatuses": [{"ready": True}],
            },
        }
