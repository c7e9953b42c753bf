"""The programs that a real cluster runs, read from its own objects. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hitless.calico import CALICO_NODE
from hitless.facts import Part, PartIdentity
from hitless.objects import containers_of
from hitless.words import JsonObject, Overlay


def read_parts(nodes: Sequence[JsonObject], daemon_set: JsonObject | None, overlay: Overlay) -> tuple[PartIdentity, ...]:
    """Return the parts under test that the cluster brings.

    Kubernetes is the kubelets' version and the kernel the nodes' own; where nodes differ, all versions are named. Calico is the
    tag of calico-node's image, and the digest where the image is pinned by one. Source: Kubernetes API, NodeSystemInfo.

    Args:
        nodes: the Node objects.
        daemon_set: calico-node's; None: there is none.
        overlay: what the tunnel is.
    """
    kernel = _versions_of(nodes, "kernelVersion")
    image = next((one.get("image", "") for one in containers_of(daemon_set) if one.get("name") == CALICO_NODE), "")
    named, _, digest = image.partition("@")
    tunnel = f"{overlay}, Linux {kernel}" if kernel else overlay.value
    return (
        PartIdentity(name=Part.CALICO, is_double=False, version=_tag_of(named), digest=digest or None),
        PartIdentity(name=Part.TUNNEL, is_double=False, version=tunnel),
        PartIdentity(name=Part.KUBERNETES, is_double=False, version=_versions_of(nodes, "kubeletVersion")),
        PartIdentity(name=Part.KERNEL, is_double=False, version=kernel),
    )


def _versions_of(nodes: Sequence[JsonObject], key: str) -> str:
    """Return a version of the nodes, or all of them where they differ; empty: no node states it."""
    infos = [(node.get("status") or {}).get("nodeInfo") or {} for node in nodes]
    return ", ".join(sorted({info[key] for info in infos if info.get(key)}))


def _tag_of(image: str) -> str:
    """Return an image's tag; empty: it has none. The registry's port, as in `host:5000/node`, is no tag."""
    return image.rpartition("/")[2].partition(":")[2]
