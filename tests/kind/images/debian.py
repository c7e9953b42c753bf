"""The Debian root file system below every image that is more than one static program.

One for all: an image's layers are stored once in a node, so a common one is smaller than several that fit better.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.kind.images import pins
from tests.kind.images.steps import Step, run

PACKAGES: Final = (
    *("systemd", "systemd-sysv", "util-linux", "mount", "kmod", "procps", "bash", "ca-certificates", "jq", "socat"),
    *("iproute2", "iptables", "nftables", "ipset", "conntrack", "ethtool", "net-tools", "iputils-ping"),
    *("libseccomp2", "runc", "containernetworking-plugins", "runit", "python3"),
)
_LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def make_debian(folder: Path) -> None:
    """Make `root.tar` with mmdebstrap, from the sources that this machine's apt uses."""
    if shutil.which("mmdebstrap") is None:
        sys.exit("mmdebstrap is not installed; Debian: apt-get install mmdebstrap")
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    sources = [str(path) for path in _sources()]
    # In a mount namespace: a program that walks /tmp cannot keep busy what it mounts, and nothing stays mounted.
    command = ["unshare", "--mount", "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar"]
    command += [f"--include={','.join(PACKAGES)}", *excluded]
    run(*command, pins.DEBIAN, str(folder / "root.tar"), *sources, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})


def _sources() -> list[Path]:
    """Return the source lists of this machine's apt that speak of Debian itself."""
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    found = [path for path in lists if path.suffix in {".list", ".sources"} and _is_debian(path)]
    if not found:
        sys.exit(f"no source list of apt on this machine names {pins.DEBIAN}")
    return found


def _is_debian(path: Path) -> bool:
    if not path.is_file():
        return False
    words = path.read_text(encoding="utf-8").split()
    return pins.DEBIAN in words and any(word.startswith("http") and "/debian" in word for word in words)


DEBIAN: Final = Step(
    name="debian", inputs={"suite": pins.DEBIAN, "packages": " ".join(PACKAGES)}, make=make_debian, code=Path(__file__)
)
