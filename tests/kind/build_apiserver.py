"""Builds kube-apiserver from its Go modules, once for all clones: `python -m tests.kind.build_apiserver`.

No registry has the program alone, but Kubernetes is a Go module like any other. Its go.mod points to its own staging folders,
so a local module requires it and points to the published staging modules of the same version instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.kind.images import pins
from tests.kind.images.go_programs import build as build_programs
from tests.kind.images.go_programs import go, write_module

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hitless" / f"kubernetes-{pins.KUBERNETES}"
"""In the user's cache folder, so that another clone need not build it."""
BINARY: Final = CACHE / "kube-apiserver"

_PACKAGE: Final = "k8s.io/kubernetes/cmd/kube-apiserver"
_STAGING: Final = re.compile(r"(k8s\.io/[a-z0-9-]+) => \./staging/")
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"


def build() -> Path:
    """Build the program if it is missing, and return its path.

    Raises:
        SystemExit: there is no go, or it failed; its own output says why.
    """
    if BINARY.is_file():
        return BINARY
    if shutil.which("go") is None:
        sys.exit("kube-apiserver cannot be built: there is no program go (golang.org, 1.26 or later)")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two clones may build at the same time: each in a separate folder, and the last to finish wins.
    with TemporaryDirectory(dir=CACHE) as directory:
        _build_in(Path(directory)).rename(BINARY)
    return BINARY


def _build_in(folder: Path) -> Path:
    answer = go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@{pins.KUBERNETES}")
    staging = sorted(set(_STAGING.findall(Path(json.loads(answer)["GoMod"]).read_text(encoding="utf-8"))))
    if not staging:
        sys.exit(f"the go.mod of k8s.io/kubernetes {pins.KUBERNETES} looks different from what this file knows")
    version = pins.KUBERNETES.replace("v1.", "v0.", 1)
    replaced = [f"{name} => {name} {version}" for name in staging]
    write_module(folder, f"k8s.io/kubernetes {pins.KUBERNETES}", [f"{_PACKAGE}/app"], replaced)
    major, minor, _ = pins.KUBERNETES.removeprefix("v").split(".")
    stamps = {"gitVersion": pins.KUBERNETES, "gitMajor": major, "gitMinor": minor}
    build_programs(folder, [_PACKAGE], stamps={f"{_VERSION_PACKAGE}.{name}": value for name, value in stamps.items()})
    return folder / "kube-apiserver"


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
