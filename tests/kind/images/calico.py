"""Calico's programs from its Go module, without cgo and without BIRD: VXLAN and native routing, no IPIP.

Two things need a patch, made in the copy that is built. Felix's stand-ins for BPF panic, and its clean-up calls some of them
in iptables mode as well: they return an error instead. The allocator of tunnel addresses ends at once where the pods' addresses
are the node's own podCIDR, and Go then calls that a deadlock: its service sleeps.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.kind.images import pins
from tests.kind.images.go_programs import build, go
from tests.kind.images.steps import Step

PACKAGES: Final = (
    "./node/cmd/calico-node",
    "./node/cmd/mountns",
    "./cni-plugin/cmd/calico",
    "./cni-plugin/cmd/install",
    "./typha/cmd/calico-typha",
    "./kube-controllers/cmd/kube-controllers",
    "./kube-controllers/cmd/check-status",
)
_MODULE: Final = "github.com/projectcalico/calico"
_API: Final = "github.com/projectcalico/api"
_STUBS: Final = ("felix/bpf/libbpf/libbpf_stub.go", "felix/bpf/bpf_syscall_stub.go", "felix/bpf/maps/syscall_stub.go")
_STUB: Final = re.compile(r"^(func [^\n]*?\) )(error|\([^\n)]*error\)) \{\n\tpanic\([^\n]*\)\n\}", re.MULTILINE)
_ZERO: Final = {"int": "0", "ProgFD": "0", "FD": "0", "ProgResult": "ProgResult{}"}
_ALLOCATOR: Final = "node/filesystem/etc/service/available/allocate-tunnel-addrs/run"


def make_calico(folder: Path) -> None:
    """Build the programs, and keep the files that calico-node's image needs, in `filesystem`."""
    answer = json.loads(go(folder, "mod", "download", "-json", f"{_MODULE}@{pins.CALICO_MODULE}"))
    source = folder / "source"
    shutil.copytree(answer["Dir"], source, ignore=shutil.ignore_patterns("charts", "e2e", "manifests", "networking-calico"))
    for path in source.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    _replace(source / "go.mod", f"{_API} => ./api", f"{_API} => {_API} {pins.CALICO_API}")
    for name in _STUBS:
        patch_stubs(source / name)
    (source / _ALLOCATOR).write_text("#!/bin/sh\nexec sleep infinity\n", encoding="utf-8")
    version = f"{_MODULE}/node/pkg/lifecycle/startup.VERSION"
    build(folder, PACKAGES, stamps={version: pins.CALICO, "main.VERSION": pins.CALICO}, module=source)
    shutil.copytree(source / "node" / "filesystem", folder / "filesystem")
    shutil.copytree(source / "libcalico-go" / "config", folder / "config", dirs_exist_ok=True)
    shutil.rmtree(source)


def patch_stubs(path: Path) -> None:
    """Let every stand-in that can return an error return one."""
    text, count = _STUB.subn(_return_error, path.read_text(encoding="utf-8"))
    if not count:
        sys.exit(f"{path.name} has no stand-in that panics: the patch for Calico without cgo does not fit this version")
    path.write_text(text, encoding="utf-8")
    package = re.search(r"^package \w+$", text, re.MULTILINE)
    assert package is not None
    # In a file of its own, because imports must come before what the stand-ins declare.
    text = f'{package[0]}\n\nimport "errors"\n\nvar errNoBPF = errors.New("built without BPF")\n'
    path.with_name("without_bpf.go").write_text(text, encoding="utf-8")


def _return_error(match: re.Match[str]) -> str:
    head, results = match.groups()
    kinds = [part.split()[-1] for part in results.strip("()").split(",")]
    values = [_ZERO.get(kind, "nil") for kind in kinds[:-1]] + ["errNoBPF"]
    return f"{head}{results} {{\n\treturn {', '.join(values)}\n}}"


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"{path.name} does not have {old!r}: the patch does not fit this version of Calico")
    path.write_text(text.replace(old, new), encoding="utf-8")


CALICO: Final = Step(
    name="calico",
    inputs={"module": pins.CALICO_MODULE, "api": pins.CALICO_API, "version": pins.CALICO},
    make=make_calico,
    code=Path(__file__),
)
