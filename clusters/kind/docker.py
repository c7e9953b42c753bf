"""The docker command line: argument lists in, text out, one message for every error.

Every container and network that is created here has labels, by which a later process finds what its owner left behind. kind
creates the containers of the nodes; they have kind's label. Their owner follows from the cluster's networks, which are created
first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from clusters.linux.processes import read_start
from hitless.errors import MissingCapabilityError, WorldError, attempting

LABEL_CLUSTER: Final = "hitless.cluster"
"""Name of the cluster that a container or network belongs to."""
LABEL_IMAGES: Final = "hitless.images"
"""Label of a node image: names of the images that it holds, with blanks between."""
LABEL_OWNER: Final = "hitless.owner"
"""Host, PID and start time of the process that made it."""
LABEL_KEEP: Final = "hitless.keep"
"""`yes`: it outlives its owner."""
LABEL_CONFIGURATION: Final = "hitless.configuration"
"""Digest of what the cluster was made from."""
KIND_LABEL: Final = "io.x-k8s.kind.cluster"
"""Label that kind puts on the containers of nodes. Source: kind pkg/cluster/internal/providers/docker/constants.go."""

_OWNER: Final = re.compile(r"([^/]+)/([0-9]+)/([0-9]+)")
_TIMEOUT_S: Final = 60.0
REMEDY: Final = "install and start Docker (Debian: docker.io), and give this user access to it"


class Docker:
    """One docker engine, by its command-line client; without a host it is that of the environment's DOCKER_HOST."""

    def __init__(self, program: Path, host: str | None = None) -> None:
        self._program = program
        self.environment: Mapping[str, str] = dict(os.environ) | ({} if host is None else {"DOCKER_HOST": host})

    def run(self, *arguments: str, stdin: str | bytes | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """Run the client and return what it prints. Raises WorldError: it failed, or did not end in time."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        what = f"docker {' '.join(arguments[:2])}"
        try:
            done = subprocess.run(  # noqa: S603 - a program that was found, an argument list
                [str(self._program), *arguments],
                input=data,
                stdin=subprocess.DEVNULL if data is None else None,
                capture_output=True,
                timeout=timeout_s,
                check=False,
                env=dict(self.environment),
            )
        except subprocess.TimeoutExpired as error:
            raise WorldError(f"{what}: no result after {timeout_s:.0f} s") from error
        except OSError as error:
            raise WorldError(f"{what}: {error}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
            lines = said.splitlines() or [f"exit code {done.returncode}"]
            raise WorldError(f"{what}: {' '.join(line.strip() for line in lines[-3:])}")
        return done.stdout.decode(errors="replace")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the client and return it while it runs: its input and output are pipes."""
        return subprocess.Popen(  # noqa: S603 - a program that was found, an argument list
            [str(self._program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(self.environment),
        )

    def hand_over(self, *arguments: str) -> int:
        """Run the client with this process's input and output; return its exit code. Raises WorldError: it cannot be run."""
        with attempting(f"run docker {arguments[0]}"):
            return subprocess.run(  # noqa: S603 - a program that was found, an argument list
                [str(self._program), *arguments], check=False, env=dict(self.environment)
            ).returncode

    def execute(self, container: str, *command: str, stdin: str | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """Run a command in a container. Raises WorldError with what the command said."""
        options = () if stdin is None else ("-i",)
        try:
            return self.run("exec", *options, container, *command, stdin=stdin, timeout_s=timeout_s)
        except WorldError as error:
            raise WorldError(f"{container}: {' '.join(command[:3])}: {error}") from error

    def execute_json(self, container: str, *command: str) -> Any:  # noqa: ANN401 - any JSON value
        """Run a command that prints JSON. Raises WorldError also if the output is not JSON."""
        text = self.execute(container, *command)
        try:
            return json.loads(text or "[]")
        except json.JSONDecodeError as error:
            raise WorldError(f"{container}: {' '.join(command)}: the output is not JSON: {text[:80]!r}") from error

    def version(self) -> str:
        """Return the engine's version. Raises MissingCapabilityError if no engine answers."""
        try:
            return self.run("version", "--format", "{{.Server.Version}}", timeout_s=10.0).strip()
        except WorldError as error:
            raise MissingCapabilityError(f"the Docker engine does not answer ({error}); {REMEDY}") from error

    def has_image(self, reference: str) -> bool:
        """Return whether the engine holds an image."""
        try:
            self.image_id(reference)
        except WorldError:
            return False
        return True

    def image_id(self, reference: str) -> str:
        """Return the id of an image that the engine holds. Raises WorldError."""
        return self.run("image", "inspect", "--format", "{{.Id}}", reference).strip()

    def image_label(self, reference: str, label: str) -> str:
        """Return the value of an image's label; empty: it has none. Raises WorldError: there is no such image."""
        labels = json.loads(self.run("image", "inspect", "--format", "{{json .Config.Labels}}", reference)) or {}
        return str(labels.get(label, ""))

    def find_containers(self, label: str) -> tuple[str, ...]:
        """Return the names of all containers with a label, running or not; `label` is `KEY` or `KEY=VALUE`."""
        return tuple(self.run("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}").split())

    def find_networks(self, label: str) -> tuple[str, ...]:
        """Return the names of all networks with a label, in order of their names."""
        return tuple(sorted(self.run("network", "ls", "--filter", f"label={label}", "--format", "{{.Name}}").split()))

    def network_labels(self, network: str) -> dict[str, str]:
        """Return the labels of a network."""
        labels: dict[str, str] = json.loads(self.run("network", "inspect", "--format", "{{json .Labels}}", network)) or {}
        return labels

    def is_running(self, container: str) -> bool:
        """Return whether a container exists and runs."""
        try:
            return self.run("container", "inspect", "--format", "{{.State.Running}}", container).strip() == "true"
        except WorldError:
            return False


def this_process() -> str:
    """Return this process as `LABEL_OWNER` names it; PID and start time together identify a process.

    Source: proc(5), /proc/pid/stat field 22.
    """
    process = os.getpid()
    return f"{socket.gethostname()}/{process}/{read_start(process) or 0}"


def is_owner_alive(owner: str) -> bool:
    """Return whether the process that a label names lives; on another host it counts as alive: that cannot be checked here."""
    match = _OWNER.fullmatch(owner)
    return match is not None and (match[1] != socket.gethostname() or read_start(int(match[2])) == int(match[3]))


def find_docker(host: str | None = None) -> Docker:
    """Return the docker client on PATH. Raises MissingCapabilityError."""
    program = shutil.which("docker")
    if program is None:
        raise MissingCapabilityError(f"docker is not on PATH; {REMEDY}")
    return Docker(Path(program), host)
