"""Checks of what a kind cluster needs from this machine, each with its remedy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from clusters.kind.config import KindOptions
from clusters.kind.docker import REMEDY, Docker, find_docker
from clusters.kind.images import find_image
from clusters.kind.programs import KIND_REMEDY, KUBECTL_REMEDY, find_program
from clusters.kind.versions import CALICO_IMAGES, DEFAULT_NODE_VERSION, LOCAL_IMAGES, NODE_IMAGES
from clusters.linux.machine import Feature, examine_machine
from hitless.errors import MissingCapabilityError, WorldError
from hitless.faults import Owner, faults_missing, faults_of
from hitless.words import Capability, IpFamily, Mode, Overlay
from scenarios.flows import SERVICE_SETS
from scenarios.plan import Case

KIND_FAULTS: Final = faults_of(Owner.CLUSTER, Owner.MACHINES)
"""The faults of a kind cluster."""
_CONTROL_PLANE: Final = "node-a1"
"""Name of the control plane's node, the first one, in a scenario: see `clusters.kind.spec`."""
INSTANCES_MIN: Final = 512
WATCHES_MIN: Final = 524_288
"""inotify limits. Source: kind site/content/docs/user/known-issues.md, "Pod errors due to too many open files"."""
_INOTIFY: Final = Path("/proc/sys/fs/inotify")
_CGROUP_2: Final = Path("/sys/fs/cgroup/cgroup.controllers")
"""It exists if systemd and containers use cgroup v2. Source: Linux Documentation/admin-guide/cgroup-v2.rst."""


def examine_for_kind(options: KindOptions | None = None) -> tuple[Feature, ...]:
    """Return all requirements of a kind cluster, in the order in which its bring-up needs them."""
    options = options or KindOptions()
    return (
        *_examine_docker(),
        _examine_program("kind", options.kind_bin, KIND_REMEDY),
        _examine_program("kubectl", options.kubectl_bin, KUBECTL_REMEDY),
        _examine_cgroup(),
        *_examine_modules(),
        _examine_limit("max_user_instances", INSTANCES_MIN),
        _examine_limit("max_user_watches", WATCHES_MIN),
    )


@cache
def kernel_capabilities() -> frozenset[Capability]:
    """Return what a kind cluster on this machine offers to scenarios: its nodes share the machine's kernel.

    No VXLAN-GPE replaces IPIP here, because Calico itself creates the devices. KERNEL_COUNTERS is not offered: the
    pods' namespaces are not read, and a node's counters count its own programs too. NFT is not offered, because no Services are
    created.
    """
    present = {feature.name for feature in examine_machine() if feature.is_present}
    offered = {Capability.OVERLAY_IPIP: "ipip", Capability.OVERLAY_VXLAN: "vxlan"}
    always = {Capability.ROUTE_TABLES, Capability.FLOW_CLASSES, Capability.HOST_ENDPOINTS, Capability.REAL_CALICO}
    return frozenset(always | {one for one, name in offered.items() if name in present})


def capabilities_missing(case: Case) -> tuple[str, ...]:
    """Return what a scenario needs and a kind cluster on this machine does not offer; empty: nothing."""
    needed, flow_sets = set(case.needs), set(case.flow_sets)
    if not SERVICE_SETS & flow_sets:
        # Real calico-node implements natOutgoing; hitless makes no Services on kind.
        needed.discard(Capability.NFT)
    missing: list[str] = sorted(needed - kernel_capabilities())
    if IpFamily.IPV6 in case.shoot.families:
        missing.append(f"{Capability.IPV6} (kind clusters are IPv4 only)")
    is_unnamed = case.overlay is Overlay.VXLAN and case.scenario.start is Mode.NATIVE
    if is_unnamed and Capability.HOST_ENDPOINTS in needed:
        # Calico allocates it when the overlay is switched on; a node's own packets would have an unknown source address.
        missing.append(f"{Capability.HOST_ENDPOINTS} whose tunnel's address is known beforehand")
    missing += faults_missing(case.scenario.fault_names, KIND_FAULTS)
    if case.scenario.initial.deleting or case.scenario.initial.not_ready:
        missing.append("Node objects that only the run writes (kubelet and API server own deletion and Ready)")
    if _CONTROL_PLANE in case.scenario.leaving_nodes:
        missing.append(f"a control plane on another node than {_CONTROL_PLANE}, which leaves")
    return tuple(missing)


def _examine_docker() -> tuple[Feature, ...]:
    try:
        docker = find_docker()
        version = docker.version()
    except MissingCapabilityError as error:
        return (Feature.of("docker", str(error).partition(";")[0], "", REMEDY),)
    return (Feature.of("docker", None, f"engine {version}", REMEDY), _examine_images(docker))


def _examine_images(docker: Docker) -> Feature:
    needed = (NODE_IMAGES[DEFAULT_NODE_VERSION], *CALICO_IMAGES, *LOCAL_IMAGES)
    try:
        missing = [image.name for image in needed if find_image(docker, image) is None]
    except WorldError as error:
        return Feature.of("images for kind", str(error), "", "start Docker")
    refusal = f"{len(missing)} of {len(needed)} missing, such as {missing[0]}" if missing else None
    return Feature.of("images for kind", refusal, f"all {len(needed)} are here", "hitless kind images explains how to get them")


def _examine_program(name: str, given: Path | None, remedy: str) -> Feature:
    found = find_program(name, given)
    return Feature.of(name, f"no {name} on PATH" if found is None else None, str(found), remedy)


def _examine_cgroup() -> Feature:
    old = "this machine mounts cgroup v1; node images of Kubernetes 1.35 and later refuse it"
    refusal = None if _CGROUP_2.exists() else old
    return Feature.of("cgroup v2", refusal, "mounted", "boot with systemd.unified_cgroup_hierarchy=1")


def _examine_modules() -> tuple[Feature, ...]:
    """The two of the lab's trials that decide which overlay Calico can use."""
    found = {feature.name: feature for feature in examine_machine()}
    remedy = "a kernel with it (modprobe {0}); Calico needs this device"
    refusals = {name: found[name].detail if name in found else "not tried" for name in ("ipip", "vxlan")}
    return tuple(
        Feature.of(
            f"{name} for kind",
            None if name in found and found[name].is_present else refusal,
            "made a device",
            remedy.format(name),
        )
        for name, refusal in refusals.items()
    )


def _examine_limit(name: str, least: int) -> Feature:
    key = f"fs.inotify.{name}"
    try:
        value = int((_INOTIFY / name).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        return Feature.of(key, f"cannot be read: {error}", "", f"sysctl {key}={least}")
    refusal = None if value >= least else f"{value}; {least} are needed for several nodes"
    return Feature.of(key, refusal, str(value), f"sysctl {key}={least}")
