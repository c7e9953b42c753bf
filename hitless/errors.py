"""The one error tree, split by what the reader should do next.

A failure of the product is a finding, never an exception: an exception means that hitless could not act or could not know.
Every branch carries the exit code that the command line gives it.
"""

from __future__ import annotations

from typing import ClassVar


class HitlessError(Exception):
    """Root of the tree; never raised itself."""

    exit_code: ClassVar[int] = 3


class UsageError(HitlessError):
    """The input is wrong: mend the file or the option that the message names.

    Args:
        message: the whole sentence, where the answer is no enumeration; the other arguments are left out then.
        where: the file, option or document that was read.
        place: the path inside it, such as `spec.networking.providerConfig.overlay`; empty where it is the whole.
        found: what stood there.
        allowed: what may stand there.
    """

    exit_code = 2

    def __init__(self, message: str = "", *, where: str = "", place: str = "", found: str = "", allowed: str = "") -> None:
        """Build the one message: where, place, found, allowed; or a sentence of its own."""
        self.where, self.place, self.found, self.allowed = where, place, found, allowed
        at = f"{where}: {place}" if place else where
        super().__init__(message or f"{at}: found {found}; allowed: {allowed}")


class WorldError(HitlessError):
    """The world did not do what it was told (a namespace, a route, an agent, an API): look at the machine or the cluster."""

    exit_code = 20


class MissingCapabilityError(WorldError):
    """The machine lacks something; `hitless doctor` says how to get it."""


class ApiError(WorldError):
    """The Kubernetes API refused or did not answer."""


class ApiUnavailableError(ApiError):
    """The API did not answer: try again later."""


class ConflictError(ApiError):
    """The object changed since it was read (HTTP 409): read again, then write."""


class NotFoundError(ApiError):
    """No such object (HTTP 404)."""


class RouteTableError(WorldError):
    """The cloud's route API refused."""


class RouteQuotaError(RouteTableError):
    """The route table holds as many routes as its quota allows (AWS: RouteLimitExceeded)."""


class RouteThrottledError(RouteTableError):
    """Too many calls (AWS: RequestLimitExceeded)."""


class RouteApiUnavailableError(RouteTableError):
    """The route API does not answer."""


class RecordDamagedError(HitlessError):
    """A stored run cannot be read: the record is damaged or from another version."""

    exit_code = 20


class BugError(HitlessError):
    """Our own bug: please report it."""

    exit_code = 3
