"""The node image: Debian, containerd, kubelet, kind's own files, and the images of the workloads in containerd's store.

The store is filled as `kind build node-image` fills it: imported without unpacking, pinned. containerd does that here on this
machine, with folders and a socket of its own, and needs no engine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clusters.kind.docker import LABEL_IMAGES
from hitless.clock import came_true
from tests.kind.images import pins
from tests.kind.images.archives import Image, LayerWriter, write_archive
from tests.kind.images.debian import DEBIAN
from tests.kind.images.go_programs import CONTAINERD, CRICTL, KUBERNETES, RUNC_FILTER, go
from tests.kind.images.steps import Step, run
from tests.kind.images.workload_images import WORKLOADS

_START_S: Final = 30.0
_ENABLED: Final = ("kubelet.service", "containerd.service", "undo-mount-hacks.service")
_EMPTY_FOLDERS: Final = ("/etc/kubernetes/manifests", "/var/lib/kubelet", "/var/log/pods", "/kind/manifests")
_KUBELET_DEFAULTS: Final = 'KUBELET_EXTRA_ARGS="--runtime-cgroups=/system.slice/containerd.service --fail-cgroupv1=false"\n'
"""As kind's own, and cgroup v1 is no error: the default of Kubernetes 1.35 and later is to refuse it."""
_STORAGE: Final = """\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: kubernetes.io/no-provisioner
"""
"""kind applies a manifest of that name; no volume is asked for."""


def make_node_image(folder: Path) -> None:
    """Write `node.tar`, an archive for `docker load`."""
    state = folder.parent
    store = folder / "store"
    archive = state / WORKLOADS.name / "images.tar"
    fill_store(state / CONTAINERD.name, archive, store)
    layer = folder / "node.layer"
    with LayerWriter(layer) as writer:
        _add_kind_files(folder, writer)
        _add_programs(state, writer)
        _add_services(writer)
        writer.add_tree(store, "/var/lib/containerd")
        for name in _EMPTY_FOLDERS:
            writer.add_folder(name)
        writer.add_text(pins.KUBERNETES, "/kind/version")
        writer.add_text(_STORAGE, "/kind/manifests/default-storage.yaml")
        writer.add_text(_KUBELET_DEFAULTS, "/etc/default/kubelet")
        writer.add_text(_cri_base(state / CONTAINERD.name / "ctr"), "/etc/containerd/cri-base.json")
    image = Image(
        name=pins.NODE_IMAGE,
        layers=(state / DEBIAN.name / "root.tar", layer),
        entrypoint=("/usr/local/bin/entrypoint", "/sbin/init"),
        environment={"container": "docker", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        labels={LABEL_IMAGES: " ".join(read_names(archive))},
        stop_signal="SIGRTMIN+3",
    )
    write_archive([image], folder / "node.tar")
    layer.unlink()
    shutil.rmtree(store)


def read_names(archive: Path) -> list[str]:
    """Return the names of an archive's images."""
    with tarfile.open(archive) as stream:
        manifest = stream.extractfile("manifest.json")
        assert manifest is not None
        return [name for image in json.load(manifest) for name in image["RepoTags"]]


def fill_store(programs: Path, archive: Path, store: Path) -> None:
    """Import an archive into a content store of containerd."""
    with _running_containerd(programs, store) as ctr:
        run(*ctr, "images", "import", "--label", "io.cri-containerd.pinned=pinned", "--no-unpack", str(archive))


@contextmanager
def _running_containerd(programs: Path, store: Path) -> Iterator[tuple[str, ...]]:
    """Run containerd over a folder; give the words of its client."""
    with tempfile.TemporaryDirectory(prefix="hitless-containerd-") as scratch:
        socket = f"{scratch}/containerd.sock"
        configuration = Path(scratch) / "config.toml"
        text = f'version = 2\nroot = "{store}"\nstate = "{scratch}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        configuration.write_text(f'{text}[grpc]\n  address = "{socket}"\n', encoding="utf-8")
        log = (Path(scratch) / "log").open("wb")
        process = subprocess.Popen(  # noqa: S603 - the program built here
            [str(programs / "containerd"), "--config", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        )
        ctr = (str(programs / "ctr"), "--address", socket, "--namespace", "k8s.io")
        try:
            _wait_ready(ctr, process, Path(scratch) / "log")
            yield ctr
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            log.close()


def _wait_ready(ctr: tuple[str, ...], process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        return subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0  # noqa: S603 - built here

    def has_ended_or_answers() -> bool:
        return process.poll() is not None or answers()

    if not came_true(has_ended_or_answers, timeout_s=_START_S, poll_s=0.1) or process.poll() is not None:
        sys.exit(f"containerd does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def _add_kind_files(folder: Path, writer: LayerWriter) -> None:
    """Take entrypoint, units and settings from kind's module; the kubelet's defaults are written here."""
    answer = json.loads(go(folder, "mod", "download", "-json", f"sigs.k8s.io/kind@{pins.KIND}"))
    files = Path(answer["Dir"]) / "images" / "base" / "files"
    for path in sorted(files.rglob("*")):
        target = f"/{path.relative_to(files)}"
        if not path.is_file() or target == "/etc/default/kubelet":
            continue
        is_program = "/bin/" in target
        if target == "/etc/containerd/config.toml":
            # Where the kernel does not let a container have a negative score, containerd must not ask for one.
            text = path.read_text(encoding="utf-8").replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
            writer.add_text(text, target)
        else:
            writer.add_file(path, target, mode=0o755 if is_program else 0o644)


def _add_programs(state: Path, writer: LayerWriter) -> None:
    for name in ("kubeadm", "kubectl", "kubelet"):
        writer.add_file(state / KUBERNETES.name / name, f"/usr/bin/{name}", mode=0o755)
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        writer.add_file(state / CONTAINERD.name / name, f"/usr/local/bin/{name}", mode=0o755)
    writer.add_file(state / CRICTL.name / "crictl", "/usr/local/bin/crictl", mode=0o755)
    # The wrapper goes by the name of runc, and Debian's by the name that the wrapper looks for.
    writer.add_file(state / RUNC_FILTER.name / "runc-filter", "/usr/local/sbin/runc", mode=0o755)
    writer.add_link("/usr/sbin/runc.real", "/usr/sbin/runc")
    for name in ("host-local", "loopback", "ptp", "portmap"):
        writer.add_link(f"/opt/cni/bin/{name}", f"/usr/lib/cni/{name}")


def _add_services(writer: LayerWriter) -> None:
    for name in _ENABLED:
        writer.add_link(f"/etc/systemd/system/multi-user.target.wants/{name}", f"/etc/systemd/system/{name}")
    for name in ("systemd-binfmt.service", "systemd-udevd.service", "getty.target", "apt-daily.timer", "dpkg-db-backup.timer"):
        writer.add_link(f"/etc/systemd/system/{name}", "/dev/null")


def _cri_base(ctr: Path) -> str:
    """Return the base of every container's specification, as kind makes it: with its hook, without limits."""
    document = json.loads(run(str(ctr), "oci", "spec"))
    hooks = document.setdefault("hooks", {}).setdefault("createContainer", [])
    hooks.append({"path": "/kind/bin/mount-product-files.sh"})
    document["process"].pop("rlimits", None)
    return json.dumps(document)


NODE: Final = Step(
    name="node",
    inputs={"kind": pins.KIND},
    make=make_node_image,
    code=Path(__file__),
    needs=(DEBIAN, KUBERNETES, CONTAINERD, CRICTL, RUNC_FILTER, WORKLOADS),
)
