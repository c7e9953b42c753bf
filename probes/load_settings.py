"""Settings of the processes of the application load: one JSON file each, checked before anything is opened.

The service (`probes.http_service`):

    {"name": "service", "directory": "/run/x", "body_octets": 1000, "connections_max": 512,
     "duration_ns_max": 60000000000,
     "places": [{"pod": "node-a1-mesh", "address": "100.96.0.2", "port": 8080, "namespace": "/run/netns/node-a1-mesh"}]}

Locust's master and workers (`probes/locustfile.py`); a master has no peers and no users:

    {"name": "worker-node-a1-mesh", "directory": "/run/x", "epoch_ns": 0, "namespace": "/run/netns/node-a1-mesh", "client": 0,
     "peers": [{"server": 1, "pod": "node-b1-mesh", "address": "100.96.2.2", "port": 8080}], "users": 4,
     "interval_ns": 100000000, "body_octets": 1000, "timeout_ns": 2000000000, "duration_ns_max": 60000000000}

No pydantic: these ship into pods.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from hitless.load import BODY_OCTETS_MAX, USERS_MAX
from probes.settings import INT64_MAX, Address, Name, Port, Text, read_document, read_fields, refuse

PORT: Final = 8080
"""Port of the service in each pod."""
_DURATION_NS_MAX: Final = 24 * 3600 * 10**9
_INTERVAL_NS_MIN: Final = 1_000_000
"""1,000 requests per second of one user: more than a user can send."""
_CONNECTIONS_MAX: Final = 4_096
_PLACES_MAX: Final = 256
_Octets = Annotated[int, range(BODY_OCTETS_MAX + 1)]
_Duration = Annotated[int, range(1, _DURATION_NS_MAX + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSettings:
    """One pod in which the service listens."""

    pod: Name
    """Name that its answers carry."""
    address: Address
    """Address to listen at, IPv4 or IPv6."""
    port: Annotated[int, range(1 << 16)] = PORT
    """0: any free port; the service reports it."""
    namespace: Text | None = None
    """Path of the pod's network namespace; None: the service's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Settings of the service."""

    name: Name
    """Its report is called NAME.json."""
    directory: Path
    """Folder of the report; it exists."""
    body_octets: _Octets
    """Of the body of each answer."""
    connections_max: Annotated[int, range(1, _CONNECTIONS_MAX + 1)]
    """Limit of open connections in all pods together; further ones are closed at once."""
    duration_ns_max: _Duration
    """It ends on its own after this."""
    places: tuple[PlaceSettings, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what `read_service_settings` reads."""
        return asdict(self) | {"directory": str(self.directory)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """One pod to which users send requests."""

    server: Annotated[int, range(1 << 16)]
    """Its place in LoadSpec.servers."""
    pod: Name
    address: Address
    port: Port = PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class LocustSettings:
    """Settings of a Locust process that are not Locust's own options."""

    name: Name
    """Its files are called NAME.requests and NAME.json."""
    directory: Path
    """Folder of its files; it exists."""
    epoch_ns: Annotated[int, range(-INT64_MAX, INT64_MAX + 1)]
    """CLOCK_MONOTONIC reading that is 0 on the run clock."""
    namespace: Text | None = None
    """Path of the pod's network namespace, where users' connections are made; None: the present one."""
    client: Annotated[int, range(USERS_MAX + 1)] = 0
    """The pod's place in LoadSpec.clients."""
    peers: tuple[PeerSettings, ...] = ()
    """Peers of its users, one for each user; a worker has at least one."""
    users: Annotated[int, range(USERS_MAX + 1)] = 0
    """Number of its users; it is live when this many have been answered. 0: a master."""
    interval_ns: Annotated[int, range(_INTERVAL_NS_MIN, _DURATION_NS_MAX + 1)] = 1_000_000_000
    """Time between two requests of a user."""
    body_octets: _Octets = 0
    """Of the body of a right answer."""
    timeout_ns: _Duration = 1_000_000_000
    """A user gives up a request after this."""
    duration_ns_max: _Duration
    """The process ends on its own after this."""

    def as_json(self) -> dict[str, Any]:
        """Return what `read_locust_settings` reads."""
        return asdict(self) | {"directory": str(self.directory)}


def read_service_settings(path: Path) -> ServiceSettings:
    """Read and check the service's settings. Raises UsageError."""
    settings = read_fields(ServiceSettings, read_document(path), str(path))
    if not 1 <= len(settings.places) <= _PLACES_MAX:
        refuse(str(path), "places", f"{len(settings.places)} pods", f"1 to {_PLACES_MAX}")
    return settings


def read_locust_settings(path: Path) -> LocustSettings:
    """Read and check the settings of a master or a worker. Raises UsageError."""
    settings = read_fields(LocustSettings, read_document(path), str(path))
    if settings.users and not settings.peers:
        refuse(str(path), "peers", "none", f"at least one, for {settings.users} users")
    return settings
