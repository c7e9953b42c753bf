"""The programs of a real cluster, read from its objects."""

from __future__ import annotations

import pytest

from clusters.kubernetes.node_objects import read_parts
from hitless.facts import Part, PartIdentity
from hitless.words import JsonObject, Overlay

DIGEST = f"sha256:{'ab' * 32}"


def node(name: str, kubelet: str = "v1.36.1", kernel: str = "6.8.0-45-generic") -> JsonObject:
    info = {"kubeletVersion": kubelet, "kernelVersion": kernel, "osImage": "Garden Linux 1592.1"}
    return {"kind": "Node", "metadata": {"name": name}, "status": {"nodeInfo": info}}


def daemon_set(image: str) -> JsonObject:
    containers = [{"name": "sidecar", "image": "else:v9"}, {"name": "calico-node", "image": image}]
    return {
        "kind": "DaemonSet",
        "metadata": {"name": "calico-node"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def test_every_part_of_a_cluster_is_named_with_its_version() -> None:
    found = read_parts([node("a1"), node("b1")], daemon_set(f"quay.io/calico/node:v3.31.2@{DIGEST}"), Overlay.IPIP)
    assert found == (
        PartIdentity(name=Part.CALICO, is_double=False, version="v3.31.2", digest=DIGEST),
        PartIdentity(name=Part.TUNNEL, is_double=False, version="ipip, Linux 6.8.0-45-generic"),
        PartIdentity(name=Part.KUBERNETES, is_double=False, version="v1.36.1"),
        PartIdentity(name=Part.KERNEL, is_double=False, version="6.8.0-45-generic"),
    )


def test_where_nodes_differ_all_versions_are_named() -> None:
    nodes = [node("a1", kubelet="v1.36.1"), node("b1", kubelet="v1.35.4"), node("b2", kubelet="v1.36.1")]
    found = {part.name: part.version for part in read_parts(nodes, None, Overlay.VXLAN)}
    assert found[Part.KUBERNETES] == "v1.35.4, v1.36.1"


def test_what_the_objects_do_not_say_stays_empty() -> None:
    found = read_parts([{"kind": "Node", "metadata": {"name": "a1"}}], None, Overlay.VXLAN)
    assert [(part.name, part.version, part.digest, part.path) for part in found] == [
        (Part.CALICO, "", None, None),
        (Part.TUNNEL, "vxlan", None, None),
        (Part.KUBERNETES, "", None, None),
        (Part.KERNEL, "", None, None),
    ]


@pytest.mark.parametrize(
    ("image", "version", "digest"),
    [
        ("localhost:5000/calico/node:v3.31.2", "v3.31.2", None),
        ("localhost:5000/calico/node", "", None),
        (f"registry.example/calico/node@{DIGEST}", "", DIGEST),
    ],
)
def test_a_port_and_a_digest_are_no_tag(image: str, version: str, digest: str | None) -> None:
    calico = read_parts([], daemon_set(image), Overlay.IPIP)[0]
    assert (calico.version, calico.digest) == (version, digest)
