"""All errors of hitless, grouped by what the reader should do next.

Lost packets are a finding, never an exception. An exception means that hitless could not act or could not measure.
Each class carries the exit code of the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class HitlessError(Exception):
    """Root of the tree; never raised directly."""

    exit_code: ClassVar[int] = 3


class UsageError(HitlessError):
    """An input is wrong: correct the file or the option that the message names.

    Two forms, one message: `found` with `expected`, for a value that can be compared with what is accepted; else `problem`.

    Args:
        problem: what is wrong and what to do: `--kubeconfig is required with --backend kubeconfig`.
        where: the file, option or document that was read.
        place: the path inside it, such as `spec.networking.providerConfig.overlay`; empty: the whole of it.
        found: the value that was read.
        expected: what is accepted in its place.
    """

    exit_code = 2

    def __init__(self, problem: str = "", *, where: str = "", place: str = "", found: str = "", expected: str = "") -> None:
        """Build the message: `WHERE: PLACE: found X; expected Y`, or `WHERE: PLACE: PROBLEM`."""
        self.where, self.place, self.found, self.expected = where, place, found, expected
        self.problem = problem or f"found {found}; expected {expected}"
        super().__init__(": ".join(filter(None, (where, place, self.problem))))

    def at(self, where: str, place: str) -> UsageError:
        """Return the same error with the file and the place that the user knows."""
        moved = UsageError(self.problem, where=where, place=place)
        moved.found, moved.expected = self.found, self.expected
        return moved


class WorldError(HitlessError):
    """The machine or the cluster (a namespace, a route, an agent, an API) failed to do what was requested: look there."""

    exit_code = 20


class MissingCapabilityError(WorldError):
    """The machine lacks something that the command needs; the message says how to get it."""


class ApiError(WorldError):
    """The Kubernetes API refused or did not answer."""


class ApiUnavailableError(ApiError):
    """The API did not answer; a retry may succeed."""


class ConflictError(ApiError):
    """The object changed after it was read (HTTP 409); read it again before writing."""


class NotFoundError(ApiError):
    """No such object (HTTP 404)."""


class RouteTableError(WorldError):
    """The cloud's route API refused a call."""


class RouteQuotaError(RouteTableError):
    """The route table holds as many routes as its quota allows (AWS: RouteLimitExceeded)."""


class RouteThrottledError(RouteTableError):
    """Too many calls (AWS: RequestLimitExceeded)."""


class RouteApiUnavailableError(RouteTableError):
    """The route API does not answer."""


class RecordDamagedError(HitlessError):
    """A stored run cannot be read: it is damaged, or another version of hitless wrote it."""

    exit_code = 20


class BugError(HitlessError):
    """A defect of hitless: please report it."""

    exit_code = 3


@contextmanager
def attempting(what: str) -> Iterator[None]:
    """Turn an OSError into a WorldError that says what could not be done: `cannot write FILE: No space left on device`."""
    try:
        yield
    except OSError as error:
        raise WorldError(f"cannot {what}: {error.strerror or error}") from error
