"""Versions of everything in the images for kind: the only place to change one."""

from __future__ import annotations

from typing import Final

KUBERNETES: Final = "v1.36.3"
"""The newest 1.36 that the Go module index has; its staging modules are v0.36.3."""
KIND: Final = "v0.33.0"
"""Its module holds the entrypoint and the systemd units of a node."""
CONTAINERD: Final = "v2.3.4"
"""As kind v0.33.0 uses it. Source: its images/base/Dockerfile."""
ETCD: Final = "v3.6.8"
"""Version that kubeadm 1.36 requires; Debian's is older. Source: kubernetes cmd/kubeadm/app/constants."""
COREDNS: Final = "v1.14.2"
CRICTL: Final = "v1.36.0"
CALICO: Final = "v3.28.4-11-ga0db560f0520"
"""The tag of the images, as `git describe` names the commit of the module below: 3.28.4 and eleven commits."""
CALICO_MODULE: Final = "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
"""Pseudo-version of github.com/projectcalico/calico, branch release-v3.28, 2025-08-13."""
CALICO_API: Final = "v0.0.0-20240708202104-e3f70b269c2c"
"""Pseudo-version of github.com/projectcalico/api that fits; the module points to a folder that it does not contain."""
NUMPY: Final = "2.4.6"
"""As probes/image/Dockerfile has it; needs Python 3.11."""
DEBIAN: Final = "bookworm"

NODE_IMAGE: Final = f"hitless/node:{KUBERNETES}"
"""Name of the node image, for `--kind-image`."""
PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
"""Sandbox image. Source: kind v0.33.0, images/base/files/etc/containerd/config.toml."""
