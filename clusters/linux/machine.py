"""Features of this machine's kernel, found by trying them, not by reading configuration files.

Every trial runs in a temporary network namespace: directly inside the sandbox, in a child process outside.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from clusters.linux.namespaces import THREAD_NETWORK, Clone, open_namespace, return_home, unshare
from clusters.linux.netlink import Message, Netlink, list_links
from clusters.linux.netlink_messages import (
    LOOPBACK_INDEX,
    Link,
    Route,
    add_bridge,
    add_ipip,
    add_route,
    add_table_rule,
    add_veth,
    add_vxlan,
    add_vxlan_gpe,
    set_link,
    set_netem,
)
from clusters.linux.sandbox import is_inside, isolate_thread
from hitless.errors import MissingCapabilityError, WorldError
from scenarios.parts import Links

_TRIAL_INDEX: Final = 110
"""Of the trial device, so that a route can name it in the same batch."""
_NFT_TIMEOUT_S: Final = 10.0
_NFT_TRIAL: Final = """\
table ip trial {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    fib saddr type local masquerade
  }
}
"""
_USER_NAMESPACE_REMEDY: Final = (
    "run as root, or allow them: sysctl user.max_user_namespaces (0: none), kernel.unprivileged_userns_clone (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns (Ubuntu); in a container also its seccomp profile"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature that the lab can use, and whether it is present."""

    name: str
    """Such as `ipip`."""
    is_present: bool
    detail: str
    """What was tried, or how the kernel refused."""
    remedy: str
    """How to get it; empty: it is present."""

    @classmethod
    def of(cls, name: str, refusal: str | None, found: str, remedy: str) -> Self:
        """Return a feature that is present, as `found` says in detail, unless something refused it, as `refusal` says."""
        return cls(name=name, is_present=refusal is None, detail=refusal or found, remedy="" if refusal is None else remedy)


def examine_machine() -> tuple[Feature, ...]:
    """Return every feature of the kernel that hitless can use, the necessary ones first.

    Without namespaces nothing else can be tried: then only `privilege`, `user-namespaces` and `namespaces` are returned.
    """
    if is_inside():
        return (*_describe_privilege(), *_run_trials())
    return (*_describe_privilege(), *_run_trials_in_child())


def try_ipip() -> str | None:
    """Return None if the kernel has IPIP, else its refusal. Inside the sandbox only.

    The ipip module makes `tunl0` in every network namespace, and a second device without addresses is EEXIST. The trial asks
    for a device, which loads the module, and then looks for any device of that kind. Source: Linux,
    net/ipv4/ip_tunnel.c, ip_tunnel_init_net and ip_tunnel_newlink; where `net.core.fb_tunnels_only_for_init_net` is set there
    is no `tunl0`, and the new device is made.
    """
    asked = replace(add_ipip(Link(name="trial")), tolerated=frozenset({errno.EEXIST}))
    try:
        with _throwaway_network(), Netlink() as netlink:
            netlink.execute([asked])
            return find_ipip_refusal(link.kind for link in list_links(netlink))
    except WorldError as error:
        return str(error)


def find_ipip_refusal(kinds: Iterable[str]) -> str | None:
    """Return None if one of the links' kinds is IPIP: the kernel has it, whether the device is new or was there before."""
    return None if "ipip" in kinds else "the kernel answered that the device exists, but there is no IPIP device"


def has_own_wall_clock() -> bool:
    """Return whether the machine's CLOCK_REALTIME is its user's alone to set: user-mode Linux, a kernel as a process.

    The clock has no namespace, and a virtual machine may belong to others as well. Source: Linux arch/um/kernel/um_arch.c
    show_cpuinfo.
    """
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")


def find_nft() -> str:
    """Return the path of `nft`. Raises MissingCapabilityError."""
    found = shutil.which("nft", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found is None:
        raise MissingCapabilityError("nft is not on PATH, but Services need it; install nftables (Debian)")
    return found


def _describe_privilege() -> tuple[Feature, Feature]:
    user = os.geteuid()
    root = "root of the sandbox" if is_inside() else "root"
    _, refusal = _ask_child(lambda: unshare(Clone.USER | Clone.NETWORK))
    return (
        Feature.of("privilege", f"user {user}" if user else None, root, "none needed where user namespaces are present"),
        Feature.of("user-namespaces", refusal, "created one with a network namespace inside", _USER_NAMESPACE_REMEDY),
    )


def _run_trials() -> list[Feature]:
    """Try every feature in this process, which has its own namespaces."""
    feature = Feature.of
    module = "a kernel with {} (modprobe {}, or the distribution's package of extra modules)".format
    trial, netem = Link(name="trial"), set_netem(LOOPBACK_INDEX, Links())
    gpe = add_vxlan_gpe(Link(name="trial", index=_TRIAL_INDEX), port=4790)
    encapsulated = Route(destination="192.0.2.0/24", protocol=4, device=_TRIAL_INDEX, encapsulation=(1, "198.51.100.1"))
    vxlan = (set_link("lo", is_up=True), add_vxlan(trial, identifier=4096, port=4789, local="127.0.0.1", lower=1))
    rule, rule6 = (add_table_rule("lo", 101, 1000, family=family) for family in (socket.AF_INET, socket.AF_INET6))
    ipip_remedy = module("CONFIG_NET_IPIP", "ipip") + "; without it VXLAN-GPE carries IPIP's traffic, and every report says so"
    ipv6_remedy = "a kernel with CONFIG_IPV6 and CONFIG_IPV6_MULTIPLE_TABLES: for dual-stack scenarios"
    options = "CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and CONFIG_NFT_FIB_IPV4"
    nft_remedy = f"install nftables (the program nft) and a kernel with {options}"
    return [
        feature("namespaces", None, "mount, PID and network namespaces", ""),
        feature("veth", _try_veth(), "made a pair", module("CONFIG_VETH", "veth")),
        feature("bridge", _try(add_bridge(trial)), "made one", module("CONFIG_BRIDGE", "bridge")),
        feature("policy-routing", _try(rule), "a rule by interface", "a kernel with CONFIG_IP_MULTIPLE_TABLES"),
        feature("ipv6", _try(rule6), "an IPv6 rule by interface", ipv6_remedy),
        feature("ipip", try_ipip(), "created a device, or found the module's own", ipip_remedy),
        feature("vxlan-gpe", _try(gpe), "a layer-3 device in metadata mode", module("CONFIG_VXLAN", "vxlan")),
        feature("lwtunnel-ip", _try(gpe, add_route(encapsulated)), "a route with encap ip", "a kernel with CONFIG_LWTUNNEL"),
        feature("vxlan", _try(*vxlan), "made a device", module("CONFIG_VXLAN", "vxlan")),
        feature("netem", _try(netem), "created a queue", module("CONFIG_NET_SCH_NETEM", "sch_netem")),
        feature("nft", _try_nft(), "made a table", nft_remedy),
    ]


def _try(*messages: Message) -> str | None:
    """Return why the kernel refuses these messages in a network of their own; None: it does not."""
    try:
        with _throwaway_network(), Netlink() as netlink:
            netlink.execute(messages)
    except WorldError as error:
        return str(error)
    return None


def _try_veth() -> str | None:
    try:
        with _throwaway_network(), Netlink() as netlink, open_namespace(THREAD_NETWORK) as there:
            netlink.execute([add_veth(Link(name="trial"), Link(name="trial-peer"), there)])
    except WorldError as error:
        return str(error)
    return None


def _try_nft() -> str | None:
    """Try what Services need: nat tables with masquerade, and matching by the type of a source address."""
    try:
        program = find_nft()
        with _throwaway_network():
            done = subprocess.run(  # noqa: S603 - a program that was found, an argument list
                [program, "-f", "-"], input=_NFT_TRIAL, capture_output=True, text=True, timeout=_NFT_TIMEOUT_S, check=False
            )
    except MissingCapabilityError:
        return "no nft on PATH or in /usr/sbin"
    except (OSError, subprocess.TimeoutExpired, WorldError) as error:
        return str(error)
    return " ".join(done.stderr.split()) or f"nft ended with exit code {done.returncode}" if done.returncode else None


@contextmanager
def _throwaway_network() -> Iterator[None]:
    with return_home():
        unshare(Clone.NETWORK)
        yield


def _run_trials_in_child() -> list[Feature]:
    """Isolate a child process, try every feature there, and return the results."""

    def try_there() -> str:
        isolate_thread(Clone.MOUNT | Clone.NETWORK)
        return json.dumps([asdict(feature) for feature in _run_trials()])

    answer, refusal = _ask_child(try_there)
    if refusal is not None:
        return [Feature.of("namespaces", refusal, "", _USER_NAMESPACE_REMEDY)]
    return [Feature(**document) for document in json.loads(answer)]


def _ask_child(ask: Callable[[], str | None]) -> tuple[str, str | None]:
    """Run `ask` in a child process, which changes nothing here; return (its answer, None) or ("", why it failed)."""
    readable, writable = os.pipe()
    # Python prints and drops an interrupt that comes while its own handlers run after the fork.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    child = os.fork()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            try:
                answer, status = ask() or "", 0
            except Exception as error:  # noqa: BLE001 - the parent has to learn of any error
                answer = str(error)
            with os.fdopen(writable, "w", encoding="utf-8") as pipe:
                pipe.write(answer)
        os._exit(status)
    os.close(writable)
    with os.fdopen(readable, encoding="utf-8") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        return "", answer or f"the child ended with status {status}"
    return answer, None
