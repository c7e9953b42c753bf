#!/usr/bin/python3
"""A kind that makes plain containers in the place of nodes, and writes down how it was called.

STUB_LOG names the file for the arguments, STUB_IMAGE the image of the containers; with STUB_FAIL=SUBCOMMAND it fails there.
Which containers it finds to delete stands in STUB_LOG.found.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "kind",
    "clusters": [{"name": "kind", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "kind", "user": {"token": "none"}}],
    "contexts": [{"name": "kind", "context": {"cluster": "kind", "user": "kind"}}],
}
LABEL = "io.x-k8s.kind.cluster"


def docker(*words: str) -> str:
    command = ["docker", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - fixed words


def main() -> None:
    arguments = sys.argv[1:]
    with Path(os.environ["STUB_LOG"]).open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    options = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--") and "=" in word)
    if arguments[:2] == ["get", "clusters"]:
        names = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}').split()
        sys.stdout.write("".join(f"{name}\n" for name in sorted(set(names))))
    elif arguments[:2] == ["create", "cluster"]:
        create(options["name"], json.loads(Path(arguments[arguments.index("--config") + 1]).read_text()))
        Path(options["kubeconfig"]).write_text(json.dumps(KUBECONFIG))
    elif arguments[:2] == ["export", "kubeconfig"]:
        Path(options["kubeconfig"]).write_text(json.dumps(KUBECONFIG))
    elif arguments[:2] == ["delete", "cluster"]:
        containers = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={options['name']}").split()
        Path(os.environ["STUB_LOG"]).with_suffix(".found").write_text(" ".join(containers))
        if containers:
            docker("rm", "--force", *containers)
    if os.environ.get("STUB_FAIL") == arguments[0]:
        sys.exit(f"ERROR: stub fails at {arguments[0]}")


def create(cluster: str, configuration: dict[str, Any]) -> None:
    if "kind" not in docker("network", "ls", "--format", "{{.Name}}").split():
        docker("network", "create", "--subnet", "172.30.0.0/24", "kind")
    for number, node in enumerate(configuration["nodes"]):
        suffix = "control-plane" if node["role"] == "control-plane" else f"worker{number if number > 1 else ''}"
        name = f"{cluster}-{suffix}"
        options = ["--detach", "--name", name, "--network", "kind", "--label", f"{LABEL}={cluster}", "--pull", "never"]
        docker("run", *options, "--cap-add", "NET_ADMIN", "--security-opt", "systempaths=unconfined", os.environ["STUB_IMAGE"])


main()
