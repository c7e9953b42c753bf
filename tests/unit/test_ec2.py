"""EC2's query API over route tables: HTTP threads queue, the loop executes."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from xml.etree import ElementTree as ET

import pytest

from clusters.programs.ec2 import Ec2Endpoint
from clusters.programs.seed_objects import SEED_NAMESPACE
from gardener.doubles.cloud import Cloud, CloudBehaviour
from hitless.facts import CloudRoute
from hitless.words import MILLISECOND, SECOND, Nanoseconds
from tests.clocks import JumpingClock
from tests.event_contract import is_in_the_contract
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import MemoryTables

XML = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
CREATE_NS = Nanoseconds(250 * MILLISECOND)
CIDR = "100.96.1.0/24"
CREATE = {"RouteTableId": "rtb-a", "DestinationCidrBlock": CIDR, "InstanceId": "i-1"}


class Rig:
    """An endpoint with two zones and one node, and a caller in a thread of its own."""

    def __init__(self, behaviour: CloudBehaviour) -> None:
        self.clock = JumpingClock()
        self.tables = MemoryTables()
        self.cloud = Cloud(self.tables, behaviour, self.clock)
        self.recorder = ListRecorder(self.clock)
        self.endpoint = Ec2Endpoint(self.cloud, lambda: {"i-1": "node-a1"}, CREATE_NS, self.recorder)
        self.pool = ThreadPoolExecutor()

    def send(self, action: str, **parameters: str) -> Future[tuple[int, ET.Element]]:
        """Send a call, and return once it is queued."""
        answer = self.pool.submit(self._post, {"Action": action, **parameters})
        while self.endpoint.is_settled() and not answer.done():
            pass
        return answer

    def call(self, action: str, **parameters: str) -> tuple[int, ET.Element]:
        """Send a call, and let the loop answer it in its time."""
        answer = self.send(action, **parameters)
        self.endpoint.reconcile(self.clock.now_ns())
        self.clock.wait_until(Nanoseconds(self.clock.now_ns() + CREATE_NS))
        self.endpoint.reconcile(self.clock.now_ns())
        return answer.result(10)

    def _post(self, form: dict[str, str]) -> tuple[int, ET.Element]:
        try:
            content = urllib.parse.urlencode(form).encode()
            with urllib.request.urlopen(self.endpoint.url, content, timeout=10) as answer:  # noqa: S310 - our own endpoint
                return answer.status, ET.fromstring(answer.read())  # noqa: S314 - as above
        except urllib.error.HTTPError as error:
            return error.code, ET.fromstring(error.read())  # noqa: S314 - as above


@pytest.fixture
def behaviour() -> CloudBehaviour:
    return CloudBehaviour()


@pytest.fixture
def rig(behaviour: CloudBehaviour) -> Iterator[Rig]:
    made = Rig(behaviour)
    made.endpoint.start()
    yield made
    made.endpoint.stop()
    made.pool.shutdown()


def code_of(answer: tuple[int, ET.Element]) -> tuple[int, str | None]:
    status, document = answer
    return status, document.findtext("Errors/Error/Code")


def test_a_create_takes_its_time_and_the_loop_makes_the_route(rig: Rig) -> None:
    answer = rig.send("CreateRoute", **CREATE)
    rig.endpoint.reconcile(rig.clock.now_ns())
    assert (rig.tables.list("a"), answer.done(), rig.endpoint.is_settled()) == ((), False, False)
    rig.clock.wait_until(CREATE_NS)
    rig.endpoint.reconcile(rig.clock.now_ns())
    assert answer.result(10)[0] == 200
    assert rig.tables.list("a") == (CloudRoute(zone="a", cidr=CIDR, node="node-a1"),)
    (event,) = rig.recorder.events
    assert is_in_the_contract(event)
    assert (event.name, event.t_ns - event.facts["began_ns"]) == ("route.created", CREATE_NS)


def test_a_route_that_packets_do_not_follow_yet_is_accepted(rig: Rig) -> None:
    rig.cloud.behaviour = CloudBehaviour(effective_ns=SECOND)
    assert rig.call("CreateRoute", **CREATE)[0] == 200
    (event,) = rig.recorder.events
    assert is_in_the_contract(event)
    assert (event.name, rig.tables.list("a")) == ("route.accepted", ())


def test_tables_are_described_with_their_tags_and_routes(rig: Rig) -> None:
    rig.tables.create(CloudRoute(zone="b", cidr=CIDR, node="node-a1"))
    _, document = rig.call("DescribeRouteTables")
    tables = document.findall(f"{XML}routeTableSet/{XML}item")
    assert [table.findtext(f"{XML}routeTableId") for table in tables] == ["rtb-a", "rtb-b"]
    assert tables[0].findtext(f"{XML}tagSet/{XML}item/{XML}key") == f"kubernetes.io/cluster/{SEED_NAMESPACE}"
    (route,) = tables[1].findall(f"{XML}routeSet/{XML}item")
    assert [entry.text for entry in route] == [CIDR, "i-1", "active", "CreateRoute"]


def test_an_instance_has_one_interface_by_which_a_route_may_be_made(rig: Rig) -> None:
    _, document = rig.call("DescribeInstances", **{"InstanceId.1": "i-1"})
    interface = document.findtext(f".//{XML}networkInterfaceId")
    assert interface == "eni-1"
    assert rig.call("CreateRoute", RouteTableId="rtb-a", DestinationCidrBlock=CIDR, NetworkInterfaceId="eni-1")[0] == 200


def test_a_delete_removes_the_route(rig: Rig) -> None:
    rig.tables.create(CloudRoute(zone="a", cidr=CIDR, node="node-a1"))
    assert rig.call("DeleteRoute", RouteTableId="rtb-a", DestinationCidrBlock=CIDR)[0] == 200
    assert rig.tables.list("a") == ()
    assert [event.name for event in rig.recorder.events] == ["route.deleted"]


@pytest.mark.parametrize("behaviour", [CloudBehaviour(quota={"a": 0})])
def test_a_full_table_is_refused_as_ec2_does(rig: Rig) -> None:
    assert code_of(rig.call("CreateRoute", **CREATE)) == (400, "RouteLimitExceeded")
    assert [event.name for event in rig.recorder.events] == ["route.failed"]


@pytest.mark.parametrize("behaviour", [CloudBehaviour(calls_per_second=0.001, burst=1)])
def test_each_action_is_throttled_by_itself(rig: Rig) -> None:
    codes = [code_of(rig.call(action)) for action in ("DescribeInstances", "DescribeInstances", "DescribeRouteTables")]
    assert codes == [(200, None), (503, "RequestLimitExceeded"), (200, None)]


def test_an_outage_is_answered_as_unavailable(rig: Rig) -> None:
    rig.cloud.set_away(True)
    assert code_of(rig.call("DescribeRouteTables")) == (503, "Unavailable")


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("RunInstances", {}, "InvalidAction"),
        ("CreateRoute", {"RouteTableId": "rtb-a"}, "MissingParameter"),
        ("CreateRoute", {**CREATE, "InstanceId": "i-9"}, "InvalidParameterValue"),
        ("DeleteRoute", {"RouteTableId": "rtb-a", "DestinationCidrBlock": CIDR}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_call_is_refused_by_name(rig: Rig, action: str, parameters: dict[str, str], code: str) -> None:
    assert code_of(rig.call(action, **parameters)) == (400, code)


def test_a_hanging_api_answers_once_it_is_healed(rig: Rig) -> None:
    rig.cloud.set_hanging(True)
    answer = rig.send("DescribeRouteTables")
    rig.endpoint.reconcile(rig.clock.now_ns())
    assert (answer.done(), rig.endpoint.is_settled()) == (False, False)
    rig.cloud.set_hanging(False)
    rig.endpoint.reconcile(rig.clock.now_ns())
    assert answer.result(10)[0] == 200
