"""Requirements of a machine for a kind cluster in the tests' engine, and the limits that are raised meanwhile."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clusters.kind.machine import kernel_capabilities
from hitless.words import Capability
from tests.kind.engine import missing_for_engine
from tests.kind.images import pins
from tests.kind.images.__main__ import FREE_OCTETS, state_folder
from tests.kind.images.node_image import NODE
from tests.kind.images.steps import Step
from tests.kind.kind_cases import find_kind

LIMITS: Final[Mapping[str, int]] = {"max_user_instances": 1024, "max_user_watches": 524_288}
"""inotify limits: four nodes use up an eighth of them. Source: kind's known issues; measured with four nodes."""
INOTIFY: Final = Path("/proc/sys/fs/inotify")
CAPABILITIES: Final[Mapping[str, int]] = {
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
    "CAP_SETFCAP": 31,
}
"""Capabilities that dockerd, systemd in a node and Calico require, as bits. Source: linux/capability.h."""
SYS_RESOURCE: Final = 24
CONTROLLERS: Final = frozenset({"cpu", "cpuset", "memory", "pids"})
"""Requirements of the kubelet. Source: kubernetes pkg/kubelet/cm/container_manager_linux.go, validateSystemRequirements."""

_GUARD: Final = 'trap "" HUP INT TERM; read -r _; for pair in "$@"; do printf %s "${pair#*=}" >"${pair%%=*}"; done'


def missing_for_cluster() -> tuple[str, ...]:
    """Return all requirements of a kind cluster that this machine lacks, by name, apart from images."""
    engine = missing_for_engine()
    missing = [] if engine is None else [engine]
    if platform.machine() != "x86_64":
        missing.append(f"an x86_64 machine, not {platform.machine()}: the images are built for it")
    if find_kind() is None:
        missing.append("the program kind (go install sigs.k8s.io/kind@v0.33.0)")
    effective = _read_mask("CapEff")
    missing += [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if Capability.OVERLAY_VXLAN not in kernel_capabilities():
        missing.append("a kernel with vxlan")
    if absent := CONTROLLERS - _controllers():
        missing.append(f"the cgroup controllers {', '.join(sorted(absent))}")
    for name, least in LIMITS.items():
        limit = _read_limit(INOTIFY / name)
        if limit < least and not os.access(INOTIFY / name, os.W_OK):
            missing.append(f"fs.inotify.{name} of {least}, or the right to set it; it is {limit}")
    return tuple(missing)


def missing_for_build(stale: Sequence[Step]) -> tuple[str, ...]:
    """Return the requirements for building images that this machine lacks.

    Args:
        stale: the steps of the build that have no product, or an old one.
    """
    if not stale:
        return ()
    names = ", ".join(step.name for step in stale)
    if shutil.which("go") is None:
        return (f"Go 1.26 or later, to build {names}",)
    missing = [] if shutil.which("mmdebstrap") else ["the program mmdebstrap (Debian: mmdebstrap)"]
    state = state_folder()
    state.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(state).free
    if NODE in stale and not (state / NODE.name).is_dir() and free < FREE_OCTETS:
        missing.append(f"{FREE_OCTETS / 1e9:.0f} GB of disk to build {names}; {free / 1e9:.0f} GB are free")
    refusal = _ask_module_proxy()
    if refusal is not None:
        missing.append(f"a Go module proxy that answers, to build {names}: {refusal}")
    return tuple(missing)


def _ask_module_proxy() -> str | None:
    """Return why the Go module proxy does not answer, or None."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["go", "list", "-m", f"sigs.k8s.io/kind@{pins.KIND}"],  # noqa: S607 - found on PATH before
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "GOFLAGS": "-mod=mod"},
        )
    return (done.stderr.strip().splitlines() or ["no answer"])[-1] if done.returncode else None


def needs_runc_filter() -> bool:
    """Return whether containers here cannot get everything that `--privileged` implies."""
    return not _read_mask("CapBnd") >> SYS_RESOURCE & 1


@contextmanager
def raised_limits(folder: Path = INOTIFY) -> Iterator[None]:
    """Raise the inotify limits, and restore them at the end, even if this process is killed. A guard restores them as soon as
    its standard input ends, which also ends with a kill.
    """
    low = {folder / name: _read_limit(folder / name) for name, least in LIMITS.items() if _read_limit(folder / name) < least}
    pairs = [f"{path}={value}" for path, value in low.items()]
    with subprocess.Popen(["sh", "-c", _GUARD, "sh", *pairs], stdin=subprocess.PIPE, start_new_session=True):  # noqa: S603, S607
        for path in low:
            path.write_text(str(LIMITS[path.name]), encoding="ascii")
        # Leaving the context closes the guard's input and waits for its end.
        yield


def _read_limit(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _read_mask(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")), 16)


def _controllers() -> frozenset[str]:
    """Return the cgroup controllers that this process lives under, of v1 or v2."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return frozenset(unified.read_text(encoding="ascii").split())
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return frozenset(name for line in lines for name in line.split(":")[1].split(","))
