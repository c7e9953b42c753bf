"""The kernel's counters of every namespace, for the ledger of a run.

The names have the meaning of RFC 4293 on every kernel: `as_rfc_4293` derives those that Linux before 6.8 counts differently.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from clusters.linux.namespaces import inside
from clusters.linux.netlink import Netlink, read_neighbour_table
from hitless.calico import TUNNEL_DEVICES
from hitless.words import SECOND

MACHINE: Final = "machine"
"""Entry of the counters that belong to no namespace."""
_OWN: Final = Path("/proc/thread-self/net")
_FILES: Final = ("snmp", "netstat")
_LINK: Final = "eth0"
"""The interface of every node and pod of a lab."""
_SENT_BY_TRANSPORTS: Final = ("Udp.OutDatagrams", "Icmp.OutMsgs", "Tcp.OutSegs", "Tcp.RetransSegs")


def parse_counters(text: str) -> dict[str, int]:
    """Return `Ip.Forwarding` and so on to value, from lines in pairs: `Ip: Forwarding DefaultTTL` over `Ip: 1 64`.

    Source: Linux, net/ipv4/proc.c.
    """
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, _, rest = names.partition(": ")
        for name, value in zip(rest.split(), values.split()[1:], strict=True):
            counters[f"{group}.{name}"] = int(value)
    return counters


def parse_devices(text: str) -> dict[str, int]:
    """Return what the devices of a namespace count, from /proc/net/dev; a device that is not there has no entry.

    Returns:
        `Tunnel.InPackets` and `Tunnel.OutPackets` of an overlay's tunnel device; `Link.InDrops` of eth0: frames that it did not
        hand to IP, such as those that are larger than its MTU. Source: Linux, net/core/net-procfs.c.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        fields = rest.split()
        if name in TUNNEL_DEVICES.values():
            found |= {"Tunnel.InPackets": int(fields[1]), "Tunnel.OutPackets": int(fields[9])}
        elif name == _LINK:
            found["Link.InDrops"] = int(fields[3])
    return found


def as_rfc_4293(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the counters with Ip.OutRequests and Ip.OutTransmits as RFC 4293 3.2.3 defines them.

    Linux 6.8 and later have both. Before, `OutRequests` counts what RFC 4293 calls OutTransmits: every packet that is sent,
    also forwarded ones. So OutTransmits is the kernel's OutRequests. OutRequests is the part that was not forwarded plus the
    packets of local senders that were refused before they were counted (netfilter's output hook).

    `OutDiscards` counts every datagram that could not be sent. Only those refused before the count must be added; packets that
    were counted and not sent successfully were refused after it. A tunnel device's outer packets are in no counter of a
    transport protocol. If one has sent, the split is unknown: `Ip.OutRequestsUnknown` is how many packets may have been
    refused.

    Source: Linux 6.1 net/ipv4/ip_output.c (ip_send_skb, ip_output), ip_forward.c (ip_forward_finish), udp.c (udp_send_skb); the
    commit "net: fix IPSTATS_MIB_OUTPKGS increment in OutForwDatagrams" of 6.8.
    """
    if "Ip.OutTransmits" in counters or "Ip.OutRequests" not in counters:
        return dict(counters)
    transmits, discards = counters["Ip.OutRequests"], counters["Ip.OutDiscards"]
    own = transmits - counters["Ip.ForwDatagrams"]
    if counters.get("Tunnel.OutPackets", 0):
        refused, unknown = 0, discards
    else:
        succeeded = sum(counters.get(name, 0) for name in _SENT_BY_TRANSPORTS)
        refused, unknown = min(max(discards - (own - succeeded), 0), discards), 0
    derived = {"Ip.OutTransmits": transmits, "Ip.OutRequests": own + refused, "Ip.OutRequestsUnknown": unknown}
    return {**counters, **derived}


def read_counters(namespaces: Iterable[Path]) -> Mapping[str, Mapping[str, int]]:
    """Return namespace name to counter name to value, and `machine` with `Neigh.table_fulls` and `Pressure.*`.

    The thread visits the namespaces one after the other, so the readings are of different instants: drain the traffic first.
    Raises WorldError: a namespace is gone.
    """
    counters: dict[str, Mapping[str, int]] = {}
    for namespace in namespaces:
        with inside(namespace):
            found = parse_counters("".join((_OWN / name).read_text(encoding="ascii") for name in _FILES))
            counters[namespace.name] = as_rfc_4293(found | parse_devices((_OWN / "dev").read_text(encoding="ascii")))
    with Netlink() as netlink:
        counters[MACHINE] = {"Neigh.table_fulls": read_neighbour_table(netlink).table_fulls} | _read_pressure()
    return counters


def read_waited_us() -> int | None:
    """Return for how long some task of the machine has waited for CPU, memory or disk, or the hypervisor has kept a CPU; us.

    The four are added although they overlap, so what a program was delayed by the machine is at most the difference of two
    readings. None: the kernel has no PSI. Source: Linux Documentation/accounting/psi.rst, proc_stat(5) (steal).
    """
    waited_us = [_read_stall_us(resource) for resource in ("cpu", "memory", "io")]
    stolen_ticks = int(Path("/proc/stat").read_text(encoding="ascii").split()[8])
    stolen_us = stolen_ticks * SECOND // (1000 * os.sysconf("SC_CLK_TCK"))
    return None if None in waited_us else stolen_us + sum(one for one in waited_us if one is not None)


def _read_pressure() -> dict[str, int]:
    """Return how long some task has waited for a CPU and the time of the reading, us; empty on a kernel without PSI."""
    total_us = _read_stall_us("cpu")
    return {} if total_us is None else {"Pressure.cpu_some_us": total_us, "Pressure.read_at_us": time.monotonic_ns() // 1000}


def _read_stall_us(resource: str) -> int | None:
    """Return how long some task has waited for a resource, us; None: the kernel has no PSI."""
    try:
        line = Path(f"/proc/pressure/{resource}").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    return int(line.rpartition("total=")[2])
