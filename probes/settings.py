"""Settings of an agent: one JSON file, checked whole before anything is opened.

    {"agent": "sender", "directory": "/run/x", "epoch_ns": 0, "interval_ns": 5000000, "packet_octets": 44, "live_answers": 5,
     "drain_ns": 2000000000, "duration_ns_max": 60000000000, "linger_ns": 0, "waits": false,
     "endpoints": [{"name": "a", "address": "10.0.0.1", "namespace": null, "port": 8620, "sends": true, "reflects": false}],
     "flows": [{"id": 70001, "ssid": 1, "flow_class": "udp", "source": "a", "source_address": "10.0.0.1", "destination": "b",
                "destination_address": "10.0.0.2", "target_address": null, "port": 8620, "rewritten_sources": []}]}

An agent sends the flows whose source is one of its endpoints with `sends`, and reflects those whose destination is one of its
endpoints with `reflects`; it ignores the other flows. What it sends is all datagrams of one class, or all TCP. All
addresses are of one family: a pod with two has an agent for each, in one process.

A file of any process of this project is read into a dataclass by the types of its fields: a field declares its type, and by
`Annotated` the range of a number or the check of a text. A wrong field is refused with the file, the place in it, what was
found and what is allowed. No pydantic: this ships into pods.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from hitless.errors import UsageError, attempting
from hitless.words import FLOW_ID_MAX, FlowClass
from probes.sockets import family_of
from probes.stamp import PACKET_OCTETS, PORT, SSID_MAX, TLV_HEADER_OCTETS

PACKET_OCTETS_MAX: Final = 9_000
"""Largest probe: a jumbo frame."""
_INTERVAL_NS_MIN: Final = 50_000
"""20,000 ticks per second: an interpreter cannot wake up more often."""
_HOUR_NS: Final = 3600 * 10**9
_PATIENCE_NS_MAX: Final = 600 * 10**9
_ROWS_MAX: Final = 1 << 30
"""Rows of a sender's table: 60 GB of sparse file. A longer run needs a longer interval."""
INT64_MAX: Final = (1 << 63) - 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A name becomes part of a file name or of an HTTP header."""
Shape = TypeVar("Shape")


class _RefusedError(ValueError):
    """Refusal with the allowed values."""


def _check_text(text: str) -> str:
    if not text or "\0" in text:
        raise _RefusedError("a string that is not empty")
    return text


def _check_name(text: str) -> str:
    if not _NAME.fullmatch(_check_text(text)):
        raise _RefusedError("a name of letters, digits, '.', '_' and '-'")
    return text


def _check_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise _RefusedError("an IPv4 or IPv6 address") from error
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise _RefusedError("an IPv4 address, or an IPv6 address that has no zone and is not IPv4-mapped")
    return str(address)


Text = Annotated[str, _check_text]
"""A string that is not empty."""


Name = Annotated[str, _check_name]
"""A name that is safe in a path and in a header."""


Address = Annotated[str, _check_address]
"""An IPv4 or IPv6 address, in its shortest form."""


Port = Annotated[int, range(1, 1 << 16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """One pod that the agent holds sockets in."""

    name: Name
    address: Address
    """Address of the pod, IPv4 or IPv6."""
    namespace: Text | None = None
    """Path of its network namespace; None: the agent's own."""
    port: Port = PORT
    """UDP port of its reflector."""
    sends: bool = True
    reflects: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """One flow."""

    id: Annotated[int, range(1, FLOW_ID_MAX + 1)]
    """FlowId: its name in the record."""
    ssid: Annotated[int, range(1, SSID_MAX + 1)]
    """Session Identifier on the wire, unique among the flows of an agent. Source: RFC 8972 3."""
    source: Name
    """Name of the endpoint that sends."""
    source_address: Address
    destination: Name
    """Name of the endpoint that reflects."""
    destination_address: Address
    port: Port = PORT
    """Port of the reflector, or of the Service at `target_address`."""
    flow_class: FlowClass = FlowClass.UDP
    target_address: Address | None = None
    """Address of the Service that it is sent to; None: it is sent to the destination itself."""
    rewritten_sources: tuple[Address, ...] = ()
    """Addresses that the source may have been rewritten to on the way."""

    @property
    def sent_to(self) -> str:
        """The address that it is sent to."""
        return self.target_address or self.destination_address

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses that its packets may come from."""
        return (self.source_address, *self.rewritten_sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings of one agent."""

    agent: Name
    """Its name: record files are called AGENT.sender, AGENT.clock, ..."""
    directory: Path
    """Where they go; it exists."""
    epoch_ns: Annotated[int, range(-INT64_MAX, INT64_MAX + 1)]
    """CLOCK_MONOTONIC reading that is 0 on the run clock."""
    interval_ns: Annotated[int, range(_INTERVAL_NS_MIN, _HOUR_NS + 1)]
    """Time between two ticks."""
    packet_octets: Annotated[int, range(PACKET_OCTETS, PACKET_OCTETS_MAX + 1)] = PACKET_OCTETS
    """UDP payload of a probe."""
    live_answers: Annotated[int, range(1, 1001)] = 5
    """Answers in a row that make a flow live."""
    drain_ns: Annotated[int, range(_PATIENCE_NS_MAX + 1)]
    """How long to listen after the last tick."""
    duration_ns_max: Annotated[int, range(1, 24 * _HOUR_NS + 1)]
    """The agent stops on its own after this."""
    linger_ns: Annotated[int, range(_PATIENCE_NS_MAX + 1)] = 0
    """How long it reflects after it stopped sending, unless it is told to end: others may stop later."""
    waits: bool = False
    """Whether it only reflects until an order says when to send."""
    endpoints: tuple[EndpointSettings, ...]
    flows: tuple[FlowSettings, ...]

    @property
    def ticks_max(self) -> int:
        """Most ticks that fit into `duration_ns_max`."""
        return self.duration_ns_max // self.interval_ns + 1

    @property
    def sent_flows(self) -> tuple[FlowSettings, ...]:
        """Flows that this agent sends, those of one source next to each other, in the order of the endpoints."""
        order = {endpoint.name: index for index, endpoint in enumerate(self.endpoints) if endpoint.sends}
        mine = (flow for flow in self.flows if flow.source in order)
        return tuple(sorted(mine, key=lambda flow: (order[flow.source], flow.id)))

    @property
    def sent_class(self) -> FlowClass | None:
        """Class of the datagram flows that it sends; None: it sends none."""
        return next((flow.flow_class for flow in self.sent_flows if not flow.flow_class.is_tcp), None)

    @property
    def reflected_flows(self) -> tuple[FlowSettings, ...]:
        """Flows that this agent reflects; the kernel itself answers ICMP."""
        mine = {endpoint.name for endpoint in self.endpoints if endpoint.reflects}
        return tuple(flow for flow in self.flows if flow.destination in mine and flow.flow_class is not FlowClass.ICMP)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as one JSON object, which `read_settings` reads."""
        return asdict(self) | {"directory": str(self.directory)}


def read_settings(path: Path) -> AgentSettings:
    """Read and check a settings file. Raises UsageError: with the place and what is allowed there."""
    return parse_settings(read_document(path), where=str(path))


def parse_settings(document: object, *, where: str) -> AgentSettings:
    """Check a document and turn it into settings; `where` names it in messages.

    Raises UsageError: with the place and what is allowed there.
    """
    settings = read_fields(AgentSettings, document, where)
    _check_together(settings, where)
    return settings


def _check_together(settings: AgentSettings, where: str) -> None:
    """Check conditions between several fields."""
    if PACKET_OCTETS < settings.packet_octets < PACKET_OCTETS + TLV_HEADER_OCTETS:
        allowed = f"{PACKET_OCTETS}, or {PACKET_OCTETS + TLV_HEADER_OCTETS} and more: a TLV has four octets at least"
        refuse(where, "packet_octets", settings.packet_octets, allowed)
    if repeated := _repeated([endpoint.name for endpoint in settings.endpoints]):
        refuse(where, "endpoints", f"{repeated!r} twice", "unique names")
    if repeated := _repeated([flow.id for flow in settings.flows]):
        refuse(where, "flows", f"id {repeated} twice", "unique ids")
    if repeated := _repeated([flow.ssid for flow in settings.flows]):
        refuse(where, "flows", f"ssid {repeated} twice", "unique SSIDs")
    kinds = {"TCP" if flow.flow_class.is_tcp else flow.flow_class.upper() for flow in settings.sent_flows}
    if len(kinds) > 1:
        refuse(where, "flows", f"{' and '.join(sorted(kinds))} to send", "only UDP, only ICMP, or only TCP")
    if not settings.sent_flows and not settings.reflected_flows:
        refuse(where, "flows", "no flow that an endpoint sends or reflects", "at least one")
    if settings.ticks_max * max(1, len(settings.sent_flows)) > _ROWS_MAX:
        rows = settings.ticks_max * len(settings.sent_flows)
        refuse(where, "duration_ns_max", f"{rows} probes", f"{_ROWS_MAX} at most")
    _check_addresses(settings, where)


def _check_addresses(settings: AgentSettings, where: str) -> None:
    if len(families := {family_of(address).name for address in _addresses_of(settings)}) > 1:
        refuse(where, "", f"{' and '.join(sorted(families))} addresses", "one family; use one agent for each")
    addresses = {endpoint.name: endpoint.address for endpoint in settings.endpoints}
    for index, flow in enumerate(settings.flows):
        for side, name, address in (
            ("source", flow.source, flow.source_address),
            ("destination", flow.destination, flow.destination_address),
        ):
            if addresses.get(name, address) != address:
                refuse(
                    where, f"flows[{index}].{side}_address", repr(address), f"{addresses[name]!r}, the address of the endpoint"
                )


def _addresses_of(settings: AgentSettings) -> Iterator[str]:
    yield from (endpoint.address for endpoint in settings.endpoints)
    for flow in settings.flows:
        yield from (flow.destination_address, flow.sent_to, *flow.sources)


def _repeated(values: Sequence[Any]) -> Any:  # noqa: ANN401 - a name or a number, as given
    return next((value for value, count in Counter(values).items() if count > 1), None)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a settings file. Raises WorldError: it cannot be written."""
    with attempting(f"write the settings file {path}"):
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_document(path: Path) -> object:
    """Return the content of a settings file. Raises UsageError: it cannot be read, or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(where=str(path), problem=f"{error.strerror}; give the path of a readable JSON file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(where=str(path), problem=f"not JSON: {error}; write one JSON object") from error


def read_fields(shape: type[Shape], document: object, where: str, place: str = "") -> Shape:
    """Read a JSON object into a dataclass; a field with a default may be left out.

    Args:
        shape: the dataclass.
        document: the object.
        where: how messages name the document.
        place: where the object is in it; empty: it is the whole document.

    Raises UsageError: a field is wrong, missing or not known.
    """
    hints, required = _fields_of(cast("Any", shape))
    if not isinstance(document, dict):
        refuse(where, place, _kind(document), f"an object with {', '.join(hints)}")
    for key in document:
        if key not in hints:
            refuse(where, place, f"the key {key!r}", ", ".join(hints))
    start = f"{place}." if place else ""
    given = {**dict.fromkeys(required, ...), **document}
    return shape(**{key: _read(hints[key], value, where, start + key) for key, value in given.items()})


def refuse(where: str, place: str, found: object, allowed: str) -> NoReturn:
    """Raise a UsageError that names the error of a field."""
    raise UsageError(where=where, place=place, found=str(found)[:200], expected=allowed)


@cache
def _fields_of(shape: Any) -> tuple[Mapping[str, Any], tuple[str, ...]]:  # noqa: ANN401 - a dataclass
    """Return the type of each field, and the names of those without a default."""
    hints = get_type_hints(shape, include_extras=True)
    return hints, tuple(one.name for one in fields(shape) if one.default is MISSING and one.default_factory is MISSING)


def _read(hint: Any, value: Any, where: str, place: str) -> Any:  # noqa: ANN401 - as the field says
    """Return a value of a field's type; an ellipsis stands for a missing field."""
    arguments, shown = get_args(hint), "nothing" if value is ... else repr(value)
    if NoneType in arguments:
        return None if value is None else _read(arguments[0], value, where, place)
    if is_dataclass(hint):
        return read_fields(cast("type[Any]", hint), value, where, place)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            refuse(where, place, _kind(value), "a list of objects")
        return tuple(_read(arguments[0], one, where, f"{place}[{at}]") for at, one in enumerate(value))
    try:
        return _check_value(hint, arguments, value)
    except _RefusedError as error:
        refuse(where, place, value if hint is Path else shown, str(error))


def _check_value(hint: Any, arguments: tuple[Any, ...], value: Any) -> Any:  # noqa: ANN401 - as above
    """Return a single value of a field's type. Raises _RefusedError."""
    if arguments and arguments[0] is int:
        if type(value) is not int or value not in arguments[1]:
            raise _RefusedError(f"a whole number from {arguments[1][0]} to {arguments[1][-1]}")
    elif arguments:
        return arguments[1](value if isinstance(value, str) else "")
    elif hint is Path:
        if not Path(_check_text(str(value))).is_dir():
            raise _RefusedError("a directory that exists")
        return Path(value)
    elif issubclass(hint, Enum):
        if value not in list(hint):
            raise _RefusedError(f"one of {', '.join(hint)}")
        return hint(value)
    elif type(value) is not bool:
        raise _RefusedError("true or false")
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "a truth value"}
    return names.get(type(value), "nothing")
