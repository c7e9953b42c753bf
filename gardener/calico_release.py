"""Which Calico a release of the extension renders: the names of its images, and where its versions differ."""

from __future__ import annotations

import re
from typing import Final

CALICO_VERSION: Final = "v3.31.6"
"""What extension v1.60 renders. Source: networking-calico imagevector/images.yaml:5."""
CALICO_IMAGES: Final = ("node", "cni", "typha", "kube-controllers")
"""Images by their names below the registry."""
_MINOR: Final = re.compile(r"v3\.(\d{1,3})\.")
_LOAD_BALANCER_SINCE: Final = 30
"""Calico 3.28's kube-controllers refuse the controller `loadbalancer` and restart for ever. Source: observed; calico 3.30
release notes."""


def calico_image(name: str, version: str = CALICO_VERSION) -> str:
    """Return the reference of one of Calico's images."""
    return f"quay.io/calico/{name}:{version}"


def enabled_controllers(version: str) -> str:
    """Return ENABLED_CONTROLLERS of kube-controllers. Source: networking-calico utils.go:350-351."""
    found = _MINOR.match(version)
    is_old = found is not None and int(found[1]) < _LOAD_BALANCER_SINCE
    return "node" if is_old else "node,loadbalancer"
