"""Containers that stand in for kind's nodes: a second interface in the zone, an address of the podCIDR on lo, and ping."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker
from clusters.kind.kept import remove_containers, remove_networks
from clusters.kind.router import CloudNetwork
from clusters.kind.spec import NodePlan
from clusters.kind.versions import ROUTER_IMAGE
from hitless.errors import WorldError
from hitless.facts import NodeFacts

IMAGE = "hitless/stand-in:1"
ROUTER_PROGRAMS = ("sleep", "cat", "ip", "sysctl")
PROGRAMS = (*ROUTER_PROGRAMS, "ping", "iptables", "nft", "bash")
PLUG_INS = Path("/usr/lib/x86_64-linux-gnu/xtables")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
"""A line of ldd: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, or the loader without an arrow."""


def import_image(docker: Docker) -> None:
    files = tuple(
        PLUG_INS / name
        for name in ("libxt_standard.so", "libxt_tcp.so", "libxt_udp.so", "libxt_comment.so", "libipt_REJECT.so")
    )
    import_programs(docker, IMAGE, PROGRAMS, tuple(file for file in files if file.exists()))


def import_router(docker: Docker) -> None:
    """Build a router image without the node image, on which its Dockerfile is based."""
    import_programs(docker, ROUTER_IMAGE, ROUTER_PROGRAMS)


def import_programs(docker: Docker, name: str, programs: Sequence[str], files: Sequence[Path] = ()) -> None:
    """Build an image of this machine's programs and files, with their libraries; its command sleeps forever."""
    change = ("--change", 'CMD ["/bin/sleep","infinity"]', "--change", f"LABEL {LABEL_CLUSTER}=image")
    docker.run("import", *change, "-", name, stdin=_pack(programs, files))


def _pack(programs: Sequence[str], files: Sequence[Path]) -> bytes:
    """Return a tar archive of a root file system: programs in /bin, libraries and files where they are here."""
    found = {program: Path(shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") or program) for program in programs}
    paths = {f"bin/{program}": path for program, path in found.items()}
    paths |= {str(one).lstrip("/"): one for one in files}
    paths |= {str(one).lstrip("/"): one for path in (*found.values(), *files) for one in _libraries(path)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("proc", "sys", "dev", "tmp", "run", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for target, path in paths.items():
            archive.add(path.resolve(), arcname=target, recursive=False)
    return buffer.getvalue()


def _libraries(path: Path) -> Iterator[Path]:
    """Yield the shared libraries that a program or library names, and the loader; none for a static program."""
    done = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words
    for line in done.stdout.splitlines():
        if match := _LIBRARY.search(line):
            yield Path(match[1])


def facts_of(node: NodePlan, number: int) -> NodeFacts:
    return NodeFacts(
        name=node.name, zone=node.zone, address=node.address, pod_cidr=f"100.96.{number}.0/24", gateway=node.gateway
    )


def start_node(docker: Docker, node: NodePlan, cluster: str, management: str, number: int) -> None:
    """Start a container as kind would, on docker's management network alone, and give it a pod's address."""
    docker.run(
        *("run", "--detach", "--name", node.name, "--hostname", node.name, "--network", management, "--pull", "never"),
        *("--label", f"{KIND_LABEL}={cluster}", "--cap-add", "NET_ADMIN", "--security-opt", "systempaths=unconfined"),
        IMAGE,
    )
    docker.execute(node.name, "ip", "address", "add", f"100.96.{number}.2/32", "dev", "lo")


def join(network: CloudNetwork, node: NodePlan, rp_filter: int = 2) -> None:
    network.connect(node)
    network.wire(node, rp_filter)


def is_reached(docker: Docker, source: str, address: str, source_address: str) -> bool:
    """Return whether a ping is answered within a second."""
    try:
        docker.execute(source, "ping", "-n", "-c", "1", "-W", "1", "-I", source_address, address)
    except WorldError:
        return False
    return True


def remove_strays(docker: Docker) -> None:
    """Remove the remains of a test, so that the next one starts from an empty engine."""
    remove_containers(docker, docker.run("ps", "--all", "--format", "{{.Names}}").split())
    remove_networks(docker, docker.find_networks(LABEL_CLUSTER))
