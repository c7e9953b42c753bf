"""What the machine offers: the same answer inside and outside of the sandbox, and a remedy for whatever is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.lab.machine import capabilities, examine_lab, ipip_carriers, read_limits
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.lab.wiring import Carrier
from clusters.linux.fence import wait_gone
from clusters.linux.netlink import Netlink, list_links
from clusters.linux.sandbox import leave_mark_behind
from hitless.errors import MissingCapabilityError
from hitless.words import Capability, IpipCarrier
from tests.lab.lab_traffic import missing_pairs, pod_sockets

PATIENCE_S = 20.0
NAMES = (
    "privilege",
    "user-namespaces",
    "namespaces",
    "veth",
    "bridge",
    "policy-routing",
    "ipv6",
    "ipip",
    "vxlan-gpe",
    "lwtunnel-ip",
    "vxlan",
    "netem",
    "nft",
    "locust",
    "compiled-loop",
)


def test_what_is_missing_has_a_remedy_and_what_is_present_needs_none() -> None:
    features = examine_lab()
    assert tuple(feature.name for feature in features) == NAMES
    assert all(feature.detail for feature in features)
    assert [bool(feature.remedy) for feature in features] == [not feature.is_present for feature in features]


def test_outside_of_the_sandbox_the_answer_is_the_same() -> None:
    script = (
        "import json\n"
        "from clusters.lab.machine import examine_lab\n"
        "print(json.dumps([[feature.name, feature.is_present] for feature in examine_lab()]))\n"
    )
    environment = leave_mark_behind(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[feature.name, feature.is_present] for feature in examine_lab()]


def test_the_lab_that_is_up_proves_the_capabilities(overlay_lab: LabNetwork) -> None:
    offered = {Capability.OVERLAY_IPIP, Capability.ROUTE_TABLES, Capability.KERNEL_COUNTERS}
    assert offered <= capabilities()
    assert overlay_lab.carrier is Carrier(ipip_carriers()[0])
    assert "Ip.OutTransmits" in overlay_lab.counters()["vpc"]


def test_the_limits_are_read_inside_too() -> None:
    limits = read_limits()
    assert limits.cores == len(os.sched_getaffinity(0))
    assert limits.gc_thresh3 > 0


def test_trying_leaves_nothing() -> None:
    wait_gone(PATIENCE_S)
    before = Path("/proc/net/dev").read_text().count("\n")
    examine_lab()
    assert Path("/proc/net/dev").read_text().count("\n") == before


@pytest.mark.parametrize("carrier", list(IpipCarrier))
def test_a_carrier_that_is_asked_for_is_used_or_refused(carrier: IpipCarrier) -> None:
    lab = LabNetwork(LabSpec(carrier=carrier))
    if carrier not in ipip_carriers():
        with pytest.raises(
            MissingCapabilityError, match=f"this kernel cannot carry the overlay ipip by {carrier}; use --carrier"
        ):
            lab.up()
        return
    try:
        lab.up()
        with pod_sockets(lab) as sockets:
            assert set() == missing_pairs(lab, sockets)
        with Netlink(lab.namespace_path("node-a1")) as netlink:
            kinds = {link.kind for link in list_links(netlink) if link.name == "tunl0"}
        assert kinds == {"ipip" if carrier is IpipCarrier.IPIP else "vxlan"}
    finally:
        lab.down()
