"""The kernel settings of every namespace. All that matter are written, because new namespaces copy some from the host.

The values of `default` are written before the interfaces are made; each interface copies them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from hitless.errors import WorldError

Sysctls = Mapping[str, str]
"""Path below /proc/sys/net to value. A path that starts with `?` may be missing on a kernel without that part."""

_EVERYWHERE: Final = {
    "send_redirects": "0",
    "accept_redirects": "0",
    "accept_source_route": "0",
    "accept_local": "0",
    "arp_ignore": "0",
    "ignore_routes_with_linkdown": "0",
    "arp_announce": "0",
    "arp_filter": "0",
    "proxy_arp": "0",
}

_IPV6: Final = {
    "disable_ipv6": "0",
    "accept_dad": "0",
    "accept_ra": "0",
    "accept_redirects": "0",
    "autoconf": "0",
    "router_solicitations": "0",
    "addr_gen_mode": "0",
}


def make_sysctls(*, is_forwarding: bool, rp_filter: int, is_bridging: bool = False, has_ipv6: bool = False) -> Sysctls:
    """Return the settings of one namespace, in the order of writing.

    Args:
        is_forwarding: nodes and the router. It is written first, as it resets others. Source: ip-sysctl.rst.
        rp_filter: 0 off, 1 strict, 2 loose; the kernel takes the larger one of `all` and the interface.
        is_bridging: the namespace has bridges: keep netfilter off them.
        has_ipv6: switch IPv6 on, without duplicate address detection (as Calico's CNI plugin does) and router advertisements.
    """
    values = {"ipv4/ip_forward": str(int(is_forwarding)), "ipv4/ip_default_ttl": "64"}
    # Unprivileged echo requests for group 0, which every sandbox has.
    values["ipv4/ping_group_range"] = "0 0"
    for scope in ("all", "default"):
        values[f"ipv4/conf/{scope}/rp_filter"] = str(rp_filter)
        values |= {f"ipv4/conf/{scope}/{name}": value for name, value in _EVERYWHERE.items()}
        if has_ipv6:
            values |= {f"ipv6/conf/{scope}/{name}": value for name, value in _IPV6.items()}
            values[f"ipv6/conf/{scope}/forwarding"] = str(int(is_forwarding))
        else:
            values[f"?ipv6/conf/{scope}/disable_ipv6"] = "1"
    values["ipv4/conf/lo/rp_filter"] = str(rp_filter)
    if is_bridging:
        values |= {f"?bridge/bridge-nf-call-{table}": "0" for table in ("iptables", "ip6tables", "arptables")}
    return values


def make_workload_sysctls(devices: Iterable[str], *, has_ipv6: bool = False) -> Sysctls:
    """Return the settings of cali* interfaces: the node answers every ARP request of its pods, at once.

    Source: calico felix endpoint_mgr.go, configureInterface. Without proxy_delay 0 the first packet takes up to a second.
    """
    values = {}
    for device in devices:
        values[f"ipv4/conf/{device}/proxy_arp"] = "1"
        values[f"ipv4/neigh/{device}/proxy_delay"] = "0"
        if has_ipv6:
            values[f"ipv6/conf/{device}/proxy_ndp"] = "1"
    return values


def make_tunnel_sysctls(device: str, rp_filter: int) -> Sysctls:
    """Return the settings of a tunnel device, which may have been made before `default` was written."""
    conf = f"ipv4/conf/{device}"
    return {f"{conf}/rp_filter": str(rp_filter)} | {f"{conf}/{name}": value for name, value in _EVERYWHERE.items()}


def write_sysctls(values: Sysctls) -> None:
    """Write settings in this thread's network namespace. Raises WorldError."""
    for path, value in values.items():
        try:
            descriptor = os.open(f"/proc/sys/net/{path.removeprefix('?')}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            if path.startswith("?") and isinstance(error, FileNotFoundError):
                continue
            raise WorldError(f"cannot open the kernel setting net/{path}: {error.strerror}") from error
        try:
            os.write(descriptor, value.encode())
        except OSError as error:
            raise WorldError(f"cannot set net/{path} to {value}: {error.strerror}") from error
        finally:
            os.close(descriptor)
