"""Errors of the Kubernetes client as errors of hitless, with one message each. No exception of a library leaves this package.

The class says what to do next: try again later, read again, correct the access, or correct the object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from urllib3.exceptions import HTTPError

from hitless.errors import ApiError, ApiUnavailableError, ConflictError, HitlessError, NotFoundError, UsageError

_TEXT_LENGTH_MAX: Final = 500
"""Longest quotation of an answer in a message, characters."""

_AWAY: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which a later attempt may succeed. Source: k8s.io/apimachinery pkg/api/errors: IsServerTimeout,
IsTimeout, IsTooManyRequests, IsInternalError, IsServiceUnavailable; 502 and 504 are a load balancer's."""

_UNTYPED: Final = "failed to create typed patch object"
"""An object that does not fit its schema is a 500 in a server-side apply, and no attempt cures it. Source: k8s.io/apimachinery
pkg/util/managedfields, observed on 1.36."""


class GoneError(ApiError):
    """The resource version is too old to resume from (HTTP 410, or an event of that status): list again."""


class DeniedError(ApiError):
    """The user may not do this (HTTP 401, 403): correct the credentials or the RBAC objects."""


_CLASSES: Final[Mapping[int, type[ApiError]]] = {
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
}


def refusal(request: str, status: int, body: str, *, reason: str = "") -> ApiError:
    """Return the error of an HTTP status. Its reason phrase is quoted if the body, a Status object or not, says nothing."""
    text = f"{request}: HTTP {status}: {_said(body) or reason or 'no reason given'}"
    if status in _CLASSES:
        return _CLASSES[status](text)
    return ApiUnavailableError(text) if status in _AWAY and _UNTYPED not in text else ApiError(text)


@contextmanager
def hitless_errors(request: str) -> Iterator[None]:
    """Turn everything that a call of the client can raise into an ApiError."""
    from kubernetes.client.exceptions import ApiException, OpenApiException  # noqa: PLC0415 - see clusters.kubernetes.api_calls
    from kubernetes.config import ConfigException  # noqa: PLC0415 - as above

    try:
        yield
    except HitlessError:
        raise
    except ConfigException as error:
        raise DeniedError(f"{request}: cannot get credentials: {_one_line(error)}") from error
    except ApiException as error:
        if error.status:
            raise refusal(request, error.status, _as_text(error.body), reason=str(error.reason)) from error
        raise _no_answer(request, error) from error
    except (HTTPError, OSError) as error:
        raise _no_answer(request, error) from error
    except (OpenApiException, ValueError, KeyError, TypeError, AttributeError) as error:
        # The client's own parsing of an answer that is not the API's: no JSON, an event without its fields.
        raise ApiUnavailableError(f"{request}: the server that answered is not a Kubernetes API: {_one_line(error)}") from error


@contextmanager
def kubeconfig_errors(kubeconfig: Path) -> Iterator[None]:
    """Turn everything that reading a kubeconfig can raise into a UsageError: the client does not check the file's structure."""
    from kubernetes.config import ConfigException  # noqa: PLC0415 - see clusters.kubernetes.api_calls

    try:
        yield
    except HitlessError:
        raise
    except (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        allowed = "a kubeconfig with a context that works"
        raise UsageError(where=str(kubeconfig), found=_one_line(error), expected=allowed) from error


def _no_answer(request: str, error: Exception) -> ApiError:
    text = _one_line(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return DeniedError(f"{request}: the server's certificate does not match the kubeconfig: {text}")
    return ApiUnavailableError(f"{request}: no answer: {text}")


def _said(body: str) -> str:
    """Return the message of a Status object, or the beginning of any other answer."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    message = status.get("message") if isinstance(status, dict) else None
    return " ".join(str(message or body).split())[:_TEXT_LENGTH_MAX]


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_TEXT_LENGTH_MAX]


def _as_text(body: object) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
