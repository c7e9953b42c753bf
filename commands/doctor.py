"""`hitless doctor`: the features and limits of this machine, their effect on the lab, and how to get missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clusters.kind.machine import examine_for_kind
from clusters.lab.machine import capabilities, estimate_capacity, examine_lab, ipip_carriers, read_limits
from clusters.linux.machine import Feature
from clusters.programs.api_server import examine_for_programs
from commands.terminal import print_table
from hitless.words import Capability, IpipCarrier

RATES_HZ: Final = (1000, 200, 25)


def examine() -> bool:
    """Print features and limits; return whether the lab can run its default scenario here."""
    features = examine_lab()
    _print_features("This machine, for the lab", features)
    for_kind = examine_for_kind()
    _print_features("This machine, for kind clusters (not needed for the lab)", for_kind)
    _print_features("This machine, for released programs of Gardener's parts", (examine_for_programs(),))
    limits = read_limits()
    print_table(
        "Its limits",
        ("limit", "value"),
        (
            ("cores", _say(limits.cores)),
            ("net.core.rmem_max, octets", _say(limits.rmem_max)),
            ("net.core.netdev_max_backlog, packets", _say(limits.netdev_max_backlog)),
            ("net.ipv4.neigh.default.gc_thresh3, entries", _say(limits.gc_thresh3)),
        ),
    )
    print_table(
        "Largest mesh on this machine",
        ("probes per second per flow", "nodes", "flows", "bound by"),
        (
            (f"{rate}", f"{capacity.nodes}", f"{capacity.nodes * (capacity.nodes - 1)}", capacity.bound_by)
            for rate, capacity in ((rate, estimate_capacity(limits, rate)) for rate in RATES_HZ)
        ),
    )
    offered = capabilities()
    missing = [capability for capability in Capability if capability not in offered]
    lacking = [one.name for one in for_kind if not one.is_present]
    is_fit = {Capability.OVERLAY_IPIP, Capability.ROUTE_TABLES} <= offered
    carrier = "ipip" if IpipCarrier.IPIP in ipip_carriers() else "vxlan-gpe, which replaces ipip"
    print_table(
        "What that means",
        ("", ""),
        (
            ("the lab", f"runs; {carrier} carries its overlay" if is_fit else "cannot run its default scenario"),
            ("kind clusters", f"cannot run, or only in part; missing: {', '.join(lacking)}" if lacking else "run"),
            (
                "scenarios",
                f"those that need {', '.join(missing)} are skipped" if missing else "all run, because nothing is missing",
            ),
        ),
        has_numbers=False,
    )
    return is_fit


def _say(value: int | None) -> str:
    return "cannot be read" if value is None else f"{value:,}"


def _print_features(title: str, features: Sequence[Feature]) -> None:
    print_table(
        title,
        ("feature", "there", "what was tried, or how to install it"),
        (
            (one.name, "yes", one.detail) if one.is_present else (one.name, "no", f"{one.detail}\n{one.remedy}")
            for one in features
        ),
        has_numbers=False,
    )
