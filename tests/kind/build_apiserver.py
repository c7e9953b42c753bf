"""Builds kube-apiserver from its Go modules, once for all clones: `python -m tests.kind.build_apiserver`.

No registry has the program alone, but Kubernetes is a Go module like any other. Its go.mod points to its own staging folders,
so a local module requires it and points to the published staging modules of the same version instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

VERSION: Final = "v1.36.3"
"""Kubernetes; the newest 1.36 that the Go module index has. Its staging modules are v0.36.3."""

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hitless" / f"kubernetes-{VERSION}"
"""In the user's cache folder: another clone need not build again."""
BINARY: Final = CACHE / "kube-apiserver"

_PACKAGE: Final = "k8s.io/kubernetes/cmd/kube-apiserver"
_STAGING: Final = re.compile(r"(k8s\.io/[a-z0-9-]+) => \./staging/")
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"


def build() -> Path:
    """Build the program unless it is there, and return where it is.

    Raises:
        SystemExit: there is no go, or it failed; its own output says why.
    """
    if BINARY.is_file():
        return BINARY
    if shutil.which("go") is None:
        sys.exit("kube-apiserver cannot be built: there is no program go (golang.org, 1.26 or later)")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two clones may build at the same time: each in a folder of its own, and the last to finish wins.
    with TemporaryDirectory(dir=CACHE) as directory:
        _build_in(Path(directory)).rename(BINARY)
    return BINARY


def _build_in(module: Path) -> Path:
    (module / "go.mod").write_text(_go_mod(module), encoding="utf-8")
    (module / "tools.go").write_text(f'package tools\n\nimport _ "{_PACKAGE}/app"\n', encoding="utf-8")
    _go(module, "mod", "tidy")
    major, minor, _ = VERSION.removeprefix("v").split(".")
    stamps = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    unfinished = module / "kube-apiserver"
    _go(module, "build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(unfinished), _PACKAGE)
    return unfinished


def _go_mod(directory: Path) -> str:
    """Write the module: Kubernetes, and its staging modules by their published versions."""
    answer = _go(directory, "mod", "download", "-json", f"k8s.io/kubernetes@{VERSION}")
    upstream = Path(json.loads(answer)["GoMod"]).read_text(encoding="utf-8")
    staging_version = VERSION.replace("v1.", "v0.", 1)
    replaced = [f"\t{name} => {name} {staging_version}\n" for name in sorted(set(_STAGING.findall(upstream)))]
    go_version = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    if not replaced or go_version is None:
        sys.exit(f"the go.mod of k8s.io/kubernetes {VERSION} looks different from what this file knows")
    return (
        f"module hitless.invalid/apiserver\n\ngo {go_version[1]}\n\n"
        f"require k8s.io/kubernetes {VERSION}\n\nreplace (\n{''.join(replaced)})\n"
    )


def _go(directory: Path, *arguments: str) -> str:
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["go", *arguments],  # noqa: S607 - the user's go
        cwd=directory,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"go {' '.join(arguments[:2])} failed with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
