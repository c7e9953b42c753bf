"""Go programs from their modules: a module written here requires the published one, and `go build` names its packages.

CGO is off, so that every program is static and runs in an empty image.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.kind.images import pins
from tests.kind.images.steps import Step, run

KUBERNETES_PROGRAMS: Final = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubeadm",
    "kubectl",
)
_STAGING: Final = re.compile(r"(k8s\.io/[a-z0-9-]+) => \./staging/")
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"
_COMMIT: Final = "0" * 40
"""Kubernetes refuses an empty commit, and the module does not contain it."""
_BUILD_DATE: Final = "1970-01-01T00:00:00Z"
_COREDNS_PLUGINS: Final = (
    "reload",
    "errors",
    "health",
    "ready",
    "loop",
    "metrics",
    "cache",
    "loadbalance",
    "kubernetes",
    "forward",
)
"""In the order in which they handle a query. Source: kubeadm's Corefile; coredns plugin.cfg."""
_COREDNS_NAMES: Final = {"metrics": "prometheus"}


def make_kubernetes(folder: Path) -> None:
    """Build the programs of Kubernetes, each into `folder`."""
    answer = go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@{pins.KUBERNETES}")
    upstream = Path(json.loads(answer)["GoMod"]).read_text(encoding="utf-8")
    names = sorted(set(_STAGING.findall(upstream)))
    if not names:
        sys.exit(f"the go.mod of k8s.io/kubernetes {pins.KUBERNETES} points to no staging folders; this build expects them")
    staging = pins.KUBERNETES.replace("v1.", "v0.", 1)
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES_PROGRAMS]
    imports = [*(f"{package}/app" for package in packages if not package.endswith("kubectl")), "k8s.io/kubectl/pkg/cmd"]
    write_module(folder, f"k8s.io/kubernetes {pins.KUBERNETES}", imports, [f"{name} => {name} {staging}" for name in names])
    major, minor, _ = pins.KUBERNETES.removeprefix("v").split(".")
    stamps = {
        "gitVersion": pins.KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": _COMMIT,
        "gitTreeState": "clean",
        "buildDate": _BUILD_DATE,
    }
    build(folder, packages, stamps={f"{_VERSION_PACKAGE}.{name}": value for name, value in stamps.items()})


def make_containerd(folder: Path) -> None:
    """Build containerd, its client and its shim."""
    module = "github.com/containerd/containerd/v2"
    imports = ["cmd/containerd/command", "cmd/containerd/builtins", "cmd/ctr/app", "cmd/containerd-shim-runc-v2/manager"]
    write_module(folder, f"{module} {pins.CONTAINERD}", [f"{module}/{name}" for name in imports])
    programs = [f"{module}/cmd/{name}" for name in ("containerd", "ctr", "containerd-shim-runc-v2")]
    tags = ("no_aufs", "no_btrfs", "no_devmapper", "no_zfs")
    build(folder, programs, tags=tags, stamps={f"{module}/version.Version": pins.CONTAINERD})


def make_etcd(folder: Path) -> None:
    """Build etcd: the server's module has no main package that needs nothing else."""
    write_module(folder, f"go.etcd.io/etcd/server/v3 {pins.ETCD}")
    text = (
        'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\n'
        "func main() { etcdmain.Main(os.Args) }\n"
    )
    build_main(folder, "etcd", text)


def make_coredns(folder: Path) -> None:
    """Build CoreDNS with only the plugins of kubeadm's Corefile."""
    module = "github.com/coredns/coredns"
    write_module(folder, f"{module} {pins.COREDNS}")
    imports = "".join(f'\t_ "{module}/plugin/{name}"\n' for name in _COREDNS_PLUGINS)
    directives = ", ".join(f'"{_COREDNS_NAMES.get(name, name)}"' for name in _COREDNS_PLUGINS)
    text = (
        f'package main\n\nimport (\n\t"{module}/core/dnsserver"\n\t"{module}/coremain"\n\n{imports})\n\n'
        f"func init() {{ dnsserver.Directives = []string{{{directives}}} }}\n\nfunc main() {{ coremain.Run() }}\n"
    )
    build_main(folder, "coredns", text)


def make_crictl(folder: Path) -> None:
    """Build crictl, by which kind lists the images of a node."""
    write_module(folder, f"sigs.k8s.io/cri-tools {pins.CRICTL}", ["sigs.k8s.io/cri-tools/pkg/common"])
    build(folder, ["sigs.k8s.io/cri-tools/cmd/crictl"])


def make_pause(folder: Path) -> None:
    """Build the sandbox's program: it waits for the signal that ends it."""
    (folder / "go.mod").write_text("module hitless.invalid/pause\n\ngo 1.24\n", encoding="utf-8")
    text = (
        'package main\n\nimport (\n\t"os"\n\t"os/signal"\n\t"syscall"\n)\n\n'
        "func main() {\n\tended := make(chan os.Signal, 1)\n"
        "\tsignal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)\n\t<-ended\n}\n"
    )
    build_main(folder, "pause", text)


def make_runc_filter(folder: Path) -> None:
    """Build the wrapper around runc; see runc_filter/main.go."""
    source = Path(__file__).parent / "runc_filter"
    (folder / "go.mod").write_text("module hitless.invalid/runc-filter\n\ngo 1.24\n", encoding="utf-8")
    build_main(folder, "runc-filter", (source / "main.go").read_text(encoding="utf-8"))


def write_module(folder: Path, requirement: str, imports: Sequence[str] = (), replaced: Sequence[str] = ()) -> None:
    """Write a module that requires another one and imports these packages of it."""
    lines = ["module hitless.invalid/build", "", "go 1.26.0", "", f"require {requirement}", ""]
    if replaced:
        lines += ["replace (", *(f"\t{one}" for one in replaced), ")", ""]
    (folder / "go.mod").write_text("\n".join(lines), encoding="utf-8")
    if imports:
        body = "".join(f'\t_ "{name}"\n' for name in imports)
        (folder / "imports.go").write_text(f"package build\n\nimport (\n{body})\n", encoding="utf-8")
        go(folder, "mod", "tidy")


def build_main(folder: Path, name: str, text: str) -> None:
    """Write a main package and build it as `name`."""
    (folder / "main.go").write_text(text, encoding="utf-8")
    go(folder, "mod", "tidy")
    build(folder, ["."], output=name)


def build(
    folder: Path,
    packages: Sequence[str],
    *,
    tags: Sequence[str] = (),
    stamps: dict[str, str] | None = None,
    output: str = "",
    module: Path | None = None,
) -> None:
    """Build main packages into `folder`.

    Args:
        folder: where the programs go.
        packages: import paths.
        tags: build tags.
        stamps: variable to value, set by the linker.
        output: name of the program where there is one package; empty: the packages' own names.
        module: folder of the module; None: `folder`.
    """
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in (stamps or {}).items())])
    options = ["-trimpath", "-ldflags", flags, "-o", f"{folder}/{output}"]
    if tags:
        options += ["-tags", ",".join(tags)]
    go(module or folder, "build", *options, *packages)


def go(folder: Path, *arguments: str) -> str:
    """Run go in a module's folder. Raises SystemExit."""
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
    return run("go", *arguments, cwd=folder, env={**os.environ, **settings})


_CODE: Final = Path(__file__)
KUBERNETES: Final = Step(name="kubernetes", inputs={"version": pins.KUBERNETES}, make=make_kubernetes, code=_CODE)
CONTAINERD: Final = Step(name="containerd", inputs={"version": pins.CONTAINERD}, make=make_containerd, code=_CODE)
ETCD: Final = Step(name="etcd", inputs={"version": pins.ETCD}, make=make_etcd, code=_CODE)
COREDNS: Final = Step(name="coredns", inputs={"version": pins.COREDNS}, make=make_coredns, code=_CODE)
CRICTL: Final = Step(name="crictl", inputs={"version": pins.CRICTL}, make=make_crictl, code=_CODE)
PAUSE: Final = Step(name="pause", inputs={}, make=make_pause, code=_CODE)
RUNC_FILTER: Final = Step(name="runc-filter", inputs={}, make=make_runc_filter, code=_CODE)
STEPS: Final = (KUBERNETES, CONTAINERD, ETCD, COREDNS, CRICTL, PAUSE, RUNC_FILTER)
