"""A reference for aws-custom-route-controller: each tick it creates missing routes over EC2's API, then writes conditions."""

from __future__ import annotations

import os
import urllib.error
import urllib.parse
import urllib.request
from xml.etree import ElementTree as ET

from clusters.kubernetes.api_calls import STRATEGIC_MERGE, ApiCalls
from clusters.kubernetes.installer import RESOURCES
from gardener.conditions import dated, route_condition
from gardener.gate import has_route_created
from hitless.clock import read_wall_time
from hitless.words import JsonObject, Kind
from tests.programs.reference_api import connect_to, pause, read_flags, say

_TICK_S = 1.0
_XML = "{http://ec2.amazonaws.com/doc/2016-11-15/}"


def main() -> None:
    flags = read_flags("target-kubeconfig", "cluster-name")
    calls = connect_to(flags.target_kubeconfig)
    while True:
        pause(_TICK_S)
        nodes = calls.call("GET", RESOURCES[Kind.NODE].path(), about="Nodes")["items"]
        failed = update(flags.cluster_name, nodes)
        for node in nodes:
            is_created = node["spec"]["podCIDR"] not in failed
            if is_created != has_route_created(node):
                _write_condition(calls, node["metadata"]["name"], is_created=is_created)


def update(cluster: str, nodes: list[JsonObject]) -> set[str]:
    """Create the missing routes in every table of the cluster, and return the podCIDRs for which that failed."""
    failed = set()
    tables = call_ec2("DescribeRouteTables")
    for table in tables.iterfind(f"{_XML}routeTableSet/{_XML}item"):
        tags = [tag.text for tag in table.iterfind(f"{_XML}tagSet/{_XML}item/{_XML}key")]
        assert f"kubernetes.io/cluster/{cluster}" in tags, tags
        there = {
            (route.findtext(f"{_XML}destinationCidrBlock"), route.findtext(f"{_XML}instanceId"))
            for route in table.iterfind(f"{_XML}routeSet/{_XML}item")
        }
        for node in nodes:
            cidr, instance = node["spec"]["podCIDR"], node["spec"]["providerID"].rpartition("/")[2]
            if (cidr, instance) in there:
                continue
            identifier = table.findtext(f"{_XML}routeTableId") or ""
            try:
                call_ec2("DescribeInstances", **{"InstanceId.1": instance})
                call_ec2("CreateRoute", RouteTableId=identifier, DestinationCidrBlock=cidr, InstanceId=instance)
            except urllib.error.HTTPError as error:
                say(f"{identifier} {cidr}: {error.read().decode()}")
                failed.add(cidr)
    return failed


def call_ec2(action: str, **parameters: str) -> ET.Element:
    form = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15", **parameters}).encode()
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], form, timeout=60) as answer:  # noqa: S310 - our own endpoint
        return ET.fromstring(answer.read())  # noqa: S314 - our own endpoint


def _write_condition(calls: ApiCalls, node: str, *, is_created: bool) -> None:
    calls.call(
        "PATCH",
        RESOURCES[Kind.NODE].path(node, subresource="status"),
        about=f"Node {node} status",
        body={"status": {"conditions": [dated(route_condition(is_created=is_created), read_wall_time())]}},
        content_type=STRATEGIC_MERGE,
    )


if __name__ == "__main__":
    main()
