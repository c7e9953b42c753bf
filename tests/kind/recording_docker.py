#!/usr/bin/python3
"""A docker that plays along until kind has written kubeadm's configuration into every node, and writes down what it is told.

STUB_LOG names the file for [arguments, stdin] lines; STUB_VERSION is the Kubernetes version of the nodes' image.
"""

import json
import os
import sys
from pathlib import Path

INFO = {
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "PidsLimit": True,
    "CPUShares": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Driver": "overlay2",
}

arguments = sys.argv[1:]
text = " ".join(arguments)
log = Path(os.environ["STUB_LOG"])
stdin = sys.stdin.read() if arguments[:1] == ["exec"] and "-i" in arguments else ""
with log.open("a") as file:
    file.write(json.dumps([arguments, stdin]) + "\n")
runs = [entry for entry, _ in map(json.loads, log.read_text().splitlines()) if entry[0] == "run"]
nodes = [entry[entry.index("--name") + 1] for entry in runs]
out = sys.stdout.write
if arguments == ["-v"]:
    out("Docker version 28.2.2\n")
elif arguments[0] == "info":
    out(json.dumps(INFO) + "\n")
elif arguments[:2] == ["ps", "-a"]:
    out("".join(f"{node}\n" for node in nodes))
elif arguments[:2] == ["network", "ls"]:
    out("0123456789ab\n")
elif arguments[0] == "logs":
    out("Reached target Multi-User System.\n")
elif arguments[0] == "inspect" and "IPAddress" in text:
    out(f"172.18.0.{2 + nodes.index(arguments[-1])},\n")
elif arguments[0] == "inspect" and "kind.role" in text:
    out("control-plane\n" if arguments[-1].endswith("control-plane") else "worker\n")
elif arguments[0] == "exec" and "/kind/version" in text:
    out(os.environ["STUB_VERSION"] + "\n")
elif arguments[0] == "exec" and "kubeadm" in arguments:
    sys.exit(1)
