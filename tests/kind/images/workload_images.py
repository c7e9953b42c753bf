"""The images that a node holds: Kubernetes' static pods and kube-proxy, CoreDNS, the sandbox, Calico, the prober."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.kind.images import pins
from tests.kind.images.archives import Image, LayerWriter, write_archive
from tests.kind.images.calico import CALICO
from tests.kind.images.debian import DEBIAN
from tests.kind.images.go_programs import COREDNS, ETCD, KUBERNETES, PAUSE
from tests.kind.images.steps import Step, run

ROOT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = ROOT / "probes" / "image" / "Dockerfile"
INNER_LOOP_SOURCE: Final = ROOT / "probes" / "_datagrams.c"
INNER_LOOP_LIBRARY: Final = "_datagrams.abi3.so"
CALICO_REGISTRY: Final = "quay.io/calico"
KUBERNETES_REGISTRY: Final = "registry.k8s.io"
PROBER_IMAGE: Final = "hitless/prober:1"
_PYTHON: Final = "/usr/bin/python3"


def make_workload_images(folder: Path) -> None:
    """Write `images.tar` with every image that a node needs."""
    state = folder.parent
    root = state / DEBIAN.name / "root.tar"
    images = [*_kubernetes_images(state, folder, root), *_calico_images(state, folder, root), _prober_image(folder, root)]
    write_archive(images, folder / "images.tar")
    for path in folder.glob("*.layer"):
        path.unlink()


def _kubernetes_images(state: Path, folder: Path, root: Path) -> list[Image]:
    programs, static = state / KUBERNETES.name, []
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        layer = _layer(folder, name, {f"/usr/local/bin/{name}": programs / name})
        static.append(_image(f"{KUBERNETES_REGISTRY}/{name}:{pins.KUBERNETES}", layer, f"/usr/local/bin/{name}"))
    proxy = _layer(folder, "kube-proxy", {"/usr/local/bin/kube-proxy": programs / "kube-proxy"})
    etcd = _layer(folder, "etcd", {"/usr/local/bin/etcd": state / ETCD.name / "etcd"})
    coredns = _layer(folder, "coredns", {"/coredns": state / COREDNS.name / "coredns"})
    pause = _layer(folder, "pause", {"/pause": state / PAUSE.name / "pause"})
    wanted = _kubeadm_images(programs / "kubeadm")
    return [
        *static,
        Image(
            name=f"{KUBERNETES_REGISTRY}/kube-proxy:{pins.KUBERNETES}",
            layers=(root, proxy),
            environment={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        ),
        _image(wanted["etcd"], etcd, "/usr/local/bin/etcd", environment={"PATH": "/usr/local/bin"}),
        _image(wanted["coredns/coredns"], coredns, "/coredns"),
        _image(pins.PAUSE_IMAGE, pause, "/pause"),
    ]


def _kubeadm_images(kubeadm: Path) -> Mapping[str, str]:
    """Return the names that kubeadm asks for: repository below the registry to the whole name."""
    command = [str(kubeadm), "config", "images", "list", "--kubernetes-version", pins.KUBERNETES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the program built here
    if done.returncode:
        sys.exit(f"kubeadm config images list: {done.stderr.strip()}")
    names = done.stdout.split()
    return {name.removeprefix(f"{KUBERNETES_REGISTRY}/").partition(":")[0]: name for name in names}


def _calico_images(state: Path, folder: Path, root: Path) -> list[Image]:
    built = state / CALICO.name
    node = folder / "calico-node.layer"
    with LayerWriter(node) as writer:
        # A module's archive keeps no permissions: what runit and start_runit execute has to be executable again.
        writer.add_tree(built / "filesystem" / "etc", "/etc", mode=0o755)
        # A calico-node that is not root makes folders here, as a member of their group: released images are built so.
        # Source: calico node/Dockerfile.amd64; projectcalico/calico#8016.
        for target in _GROUP_FOLDERS:
            writer.add_folder(target, mode=0o775)
        writer.add_tree(built / "filesystem" / "sbin", "/usr/sbin", mode=0o755)
        # As in the released image, where they run as root for every user. Source: calico node/Dockerfile.amd64.
        writer.add_file(built / "calico-node", "/usr/bin/calico-node", mode=0o4755)
        writer.add_file(built / "mountns", "/usr/bin/mountns", mode=0o4755)
        writer.add_text("", "/in-the-container")
        # Scripts of the DaemonSet use arrays and call `sh`; the released image has bash under that name.
        writer.add_link("/usr/bin/sh", "bash")
    plugins = {f"/opt/cni/bin/{name}": built / program for name, program in _CNI_PROGRAMS.items()}
    cni = folder / "calico-cni.layer"
    with LayerWriter(cni) as writer:
        for target, source in plugins.items():
            writer.add_file(source, target, mode=0o755)
        for name in ("bandwidth", "host-local", "loopback", "portmap", "tuning"):
            # From Debian's package, which has them elsewhere.
            writer.add_link(f"/opt/cni/bin/{name}", f"/usr/lib/cni/{name}")
    typha = _layer(folder, "typha", {"/usr/bin/calico-typha": built / "calico-typha"})
    controllers = {f"/usr/bin/{name}": built / name for name in ("kube-controllers", "check-status")}
    kube_controllers = folder / "kube-controllers.layer"
    with LayerWriter(kube_controllers) as writer:
        for target, source in controllers.items():
            writer.add_file(source, target, mode=0o755)
        for name in ("status", "profiles"):
            writer.add_folder(f"/{name}", mode=0o777, owner=999)
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return [
        Image(
            name=_calico("node"),
            layers=(root, node),
            command=("start_runit",),
            environment={**path, "SVDIR": "/etc/service/enabled"},
        ),
        Image(
            name=_calico("cni"),
            layers=(root, cni),
            command=("/opt/cni/bin/install",),
            directory="/opt/cni/bin",
            environment={"PATH": f"/opt/cni/bin:{path['PATH']}"},
        ),
        Image(name=_calico("typha"), layers=(root, typha), command=("/usr/bin/calico-typha",), user="999", environment=path),
        Image(
            name=_calico("kube-controllers"),
            layers=(root, kube_controllers),
            entrypoint=("/usr/bin/kube-controllers",),
            user="999",
            environment=path,
        ),
    ]


_GROUP_FOLDERS: Final = ("/etc/service", "/etc/calico", "/etc/calico/confd")
_CNI_PROGRAMS: Final = {"calico": "calico", "calico-ipam": "calico", "install": "install"}


def _calico(name: str) -> str:
    return f"{CALICO_REGISTRY}/{name}:{pins.CALICO}"


def _prober_image(folder: Path, root: Path) -> Image:
    """Follow probes/image/Dockerfile on Debian's Python: files, numpy's wheel, compiled loop, user and entry point."""
    numpy = folder / "numpy"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version=3.11", f"--target={numpy}", f"numpy=={pins.NUMPY}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    if done.returncode:
        sys.exit(f"pip cannot fetch numpy {pins.NUMPY}:\n{done.stderr.strip()}")
    layer = folder / "prober.layer"
    with LayerWriter(layer) as writer:
        for target, source in (*copied_files(), *compiled_files()):
            writer.add_file(source, target, mode=0o644)
        writer.add_file(_compile_inner_loop(folder), f"/opt/hitless/probes/{INNER_LOOP_LIBRARY}", mode=0o755)
        for path in sorted(numpy.rglob("*")):
            if "tests" not in path.parts and path.is_file():
                writer.add_file(path, f"/opt/hitless/{path.relative_to(numpy)}")
        writer.add_link("/usr/bin/python", "python3")
        writer.add_folder("/records", mode=0o755)
    text = DOCKERFILE.read_text(encoding="utf-8")
    environment = dict(part.split("=", 1) for part in _instruction(text, "ENV").split())
    return Image(
        name=PROBER_IMAGE,
        layers=(root, layer),
        entrypoint=tuple(_words(_instruction(text, "ENTRYPOINT"))),
        command=tuple(_words(_instruction(text, "CMD"))),
        environment={"PATH": "/usr/bin:/bin", **environment},
        user=_instruction(text, "USER"),
        directory=_instruction(text, "WORKDIR"),
    )


def _compile_inner_loop(folder: Path) -> Path:
    """Compile the agents' inner loop as the Dockerfile does; its stable ABI serves Debian's Python as well as this one."""
    library = folder / INNER_LOOP_LIBRARY
    command = ["cc", "-std=c11", "-O2", "-fPIC", "-shared", f"-I{sysconfig.get_paths()['include']}"]
    run(*command, str(INNER_LOOP_SOURCE), "-o", str(library))
    return library


def copied_files() -> list[tuple[str, Path]]:
    """Return (path in the image, file) of everything that the Dockerfile copies from the repository."""
    files = []
    for line in DOCKERFILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            *sources, target = line.split()[1:]
            files += [(f"{target}{Path(source).name}", ROOT / source) for source in sources]
    return files


def compiled_files() -> list[tuple[str, Path]]:
    """Return (path in the image, file) of the compiled inner loop as it was built here; without a compiler there is none."""
    return [(f"/opt/hitless/probes/{path.name}", path) for path in sorted((ROOT / "probes").glob("*.so"))]


def _instruction(text: str, name: str) -> str:
    found = re.findall(rf"^{name} (.*)$", text, re.MULTILINE)
    if len(found) != 1:
        sys.exit(f"probes/image/Dockerfile has {len(found)} lines {name}; this build expects one")
    return str(found[0])


def _words(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _layer(folder: Path, name: str, files: Mapping[str, Path]) -> Path:
    path = folder / f"{name}.layer"
    with LayerWriter(path) as writer:
        for target, source in files.items():
            writer.add_file(source, target, mode=0o755)
    return path


def _image(name: str, layer: Path, program: str, environment: Mapping[str, str] | None = None) -> Image:
    """Return an image that holds one static program. Kubernetes names the command itself."""
    return Image(name=name, layers=(layer,), entrypoint=(program,), environment=environment or {})


def _digest_sources() -> str:
    digest = hashlib.sha256(DOCKERFILE.read_bytes() + INNER_LOOP_SOURCE.read_bytes())
    for _, path in (*copied_files(), *compiled_files()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


WORKLOADS: Final = Step(
    name="workloads",
    inputs={"prober": _digest_sources(), "numpy": pins.NUMPY, "pause": pins.PAUSE_IMAGE},
    make=make_workload_images,
    code=Path(__file__),
    needs=(DEBIAN, KUBERNETES, ETCD, COREDNS, PAUSE, CALICO),
)
