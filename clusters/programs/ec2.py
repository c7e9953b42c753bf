"""The part of EC2's query API that a route controller calls, over the cluster's route tables.

DescribeRouteTables, DescribeInstances, CreateRoute and DeleteRoute, with the quota, the throttling and the outage of the
scenario's cloud. HTTP threads queue, the run's loop executes: a route changes in the same thread as with the double, and a
create takes as long as the scenario says.

Source: Amazon EC2 API Reference 2016-11-15; requests and answers of aws-sdk-go-v2, as observed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from clusters.programs.seed_objects import SEED_NAMESPACE
from gardener.doubles.cloud import Cloud
from hitless.errors import RouteApiUnavailableError, RouteQuotaError, RouteTableError, RouteThrottledError
from hitless.events import Recorder
from hitless.facts import CloudRoute
from hitless.words import MILLISECOND, JsonObject, Kind, Nanoseconds

_POLL_NS: Final = Nanoseconds(2 * MILLISECOND)
_NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
_TABLE_PREFIX: Final = "rtb-"
_CODES: Final[tuple[tuple[type[RouteTableError], int, str], ...]] = (
    (RouteQuotaError, 400, "RouteLimitExceeded"),
    (RouteThrottledError, 503, "RequestLimitExceeded"),
    (RouteApiUnavailableError, 503, "Unavailable"),
)
"""Error to status and code. Source: Amazon EC2 API Reference, Error codes."""
_TAKE_TIME: Final = frozenset({"CreateRoute", "DeleteRoute"})
_Answer = tuple[int, str]


@dataclass(slots=True, kw_only=True)
class _Call:
    """One request that waits for the loop."""

    action: str
    parameters: Mapping[str, str]
    began_ns: int = 0
    answer: Future[_Answer] = field(default_factory=Future)


class Ec2Endpoint:
    """Answers a route controller; a Participant.

    Args:
        read_instances: returns instance id to name of the node, as they are now.
        create_ns: how long CreateRoute and DeleteRoute take.
    """

    name: Final = "ec2"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self, cloud: Cloud, read_instances: Callable[[], Mapping[str, str]], create_ns: Nanoseconds, recorder: Recorder
    ) -> None:
        self._cloud, self._read_instances, self._create_ns, self._recorder = cloud, read_instances, create_ns, recorder
        self._nodes: dict[str, str] = {}
        """Instance id to name of the node, of all machines so far: a machine outlives its Node object."""
        self._queued: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._under_way: list[_Call] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self._queued))
        self._thread = threading.Thread(target=self._server.serve_forever, name="ec2", daemon=True)
        self.calls = 0
        """Calls that have been answered."""
        self.answered_ns = Nanoseconds(0)
        """When the last one was answered."""

    @property
    def url(self) -> str:
        """Where it listens: AWS_ENDPOINT_URL of its callers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the server. Safe to call twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._take_queued(Nanoseconds(0))
        for call in self._under_way:
            call.answer.set_result(_refuse(503, "Unavailable", "the run is over"))
        self._under_way = []
        self._server.server_close()

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Accept queued calls, and answer those that are due; none while the cloud's API hangs."""
        self._take_queued(now_ns)
        waiting = []
        for call in self._under_way:
            due_ns = call.began_ns + (self._create_ns if call.action in _TAKE_TIME else 0)
            if self._cloud.is_hanging or now_ns < due_ns:
                waiting.append(call)
            else:
                call.answer.set_result(self._answer(call))
                self.calls, self.answered_ns = self.calls + 1, now_ns
        self._under_way = waiting
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether no call is under way."""
        return not self._under_way and self._queued.empty()

    def _take_queued(self, now_ns: Nanoseconds) -> None:
        while not self._queued.empty():
            call = self._queued.get_nowait()
            call.began_ns = now_ns
            self._under_way.append(call)

    def _answer(self, call: _Call) -> _Answer:
        self._nodes |= self._read_instances()
        try:
            match call.action:
                case "DescribeRouteTables":
                    content = self._describe_tables()
                case "DescribeInstances":
                    content = self._describe_instances(call.parameters)
                case "CreateRoute":
                    content = self._create(call)
                case "DeleteRoute":
                    content = self._delete(call)
                case other:
                    return _refuse(400, "InvalidAction", f"The action {other} is not valid for this web service.")
        except RouteTableError as error:
            status, code = next(
                ((status, code) for kind, status, code in _CODES if isinstance(error, kind)), (400, "InvalidParameterValue")
            )
            return _refuse(status, code, str(error))
        except KeyError as error:
            return _refuse(400, "MissingParameter", f"The request must contain {error.args[0]}.")
        head = f'<{call.action}Response xmlns="{_NAMESPACE}"><requestId>hitless</requestId>'
        return 200, f"{head}{content}</{call.action}Response>"

    def _describe_tables(self) -> str:
        instances = {node: instance for instance, node in self._nodes.items()}
        tables = []
        for zone, routes in self._cloud.describe().items():
            items = "".join(
                _item(
                    destinationCidrBlock=route.cidr,
                    instanceId=instances.get(route.node, ""),
                    state="active",
                    origin="CreateRoute",
                )
                for route in routes
            )
            tags = _item(key=f"kubernetes.io/cluster/{SEED_NAMESPACE}", value="1") + _item(
                key="Name", value=f"{SEED_NAMESPACE}-private-utility-{zone}"
            )
            head = f"<routeTableId>{_TABLE_PREFIX}{escape(zone)}</routeTableId>"
            tables.append(f"<item>{head}<routeSet>{items}</routeSet><tagSet>{tags}</tagSet></item>")
        return f"<routeTableSet>{''.join(tables)}</routeTableSet>"

    def _describe_instances(self, parameters: Mapping[str, str]) -> str:
        self._cloud.describe_instance()
        wanted = [value for key, value in parameters.items() if key.startswith("InstanceId.")]
        found = []
        for instance in wanted or list(self._nodes):
            if instance not in self._nodes:
                raise RouteTableError(f"The instance ID '{instance}' does not exist")
            attached = "<attachment><deviceIndex>0</deviceIndex></attachment>"
            interface = f"<item><networkInterfaceId>eni-{escape(instance[2:])}</networkInterfaceId>{attached}</item>"
            head = f"<instanceId>{escape(instance)}</instanceId>"
            found.append(f"<item>{head}<networkInterfaceSet>{interface}</networkInterfaceSet></item>")
        sets = "".join(f"<item><instancesSet>{one}</instancesSet></item>" for one in found)
        return f"<reservationSet>{sets}</reservationSet>"

    def _create(self, call: _Call) -> str:
        parameters = call.parameters
        zone, cidr = _zone_of(parameters), parameters["DestinationCidrBlock"]
        instance = parameters.get("InstanceId") or f"i-{parameters['NetworkInterfaceId'].removeprefix('eni-')}"
        node = self._nodes.get(instance)
        if node is None:
            raise RouteTableError(f"The instance ID '{instance}' does not exist")
        facts: JsonObject = {"zone": zone, "cidr": cidr, "node": node}
        try:
            route = CloudRoute(zone=zone, cidr=cidr, node=node)
            self._cloud.create(route)
        except RouteTableError as error:
            self._recorder.record("route.failed", **facts, error=str(error))
            raise
        created = "route.created" if self._cloud.is_effective(route) else "route.accepted"
        self._recorder.record(created, **facts, began_ns=call.began_ns)
        return "<return>true</return>"

    def _delete(self, call: _Call) -> str:
        zone, cidr = _zone_of(call.parameters), call.parameters["DestinationCidrBlock"]
        node = next((route.node for route in self._cloud.tables.list(zone) if route.cidr == cidr), "")
        try:
            self._cloud.delete(zone, cidr)
        except RouteTableError as error:
            self._recorder.record("route.failed", zone=zone, cidr=cidr, node=node, error=str(error))
            raise
        self._recorder.record("route.deleted", zone=zone, cidr=cidr, node=node, began_ns=call.began_ns)
        return "<return>true</return>"


class _Handler(BaseHTTPRequestHandler):
    """Hands every call to the loop."""

    protocol_version = "HTTP/1.1"

    def __init__(self, queued: queue.SimpleQueue[_Call], *connection: Any) -> None:  # noqa: ANN401 - as the server makes it
        self._queued = queued
        super().__init__(*connection)

    def do_POST(self) -> None:
        """Queue the call, and send the loop's answer."""
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        parameters = dict(parse_qsl(form, keep_blank_values=True))
        call = _Call(action=parameters.get("Action", ""), parameters=parameters)
        self._queued.put(call)
        status, body = call.answer.result()
        content = body.encode()
        # A program that has been stopped does not read its last answer.
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "text/xml;charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write no log: the events contain the calls."""


def _zone_of(parameters: Mapping[str, str]) -> str:
    return parameters["RouteTableId"].removeprefix(_TABLE_PREFIX)


def _refuse(status: int, code: str, message: str) -> _Answer:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return status, f"<Response><Errors>{error}</Errors><RequestID>hitless</RequestID></Response>"


def _item(**fields: str) -> str:
    return f"<item>{''.join(f'<{name}>{escape(value)}</{name}>' for name, value in fields.items())}</item>"
