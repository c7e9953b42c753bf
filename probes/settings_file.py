"""Settings files: one JSON object for a process of this project, read into a dataclass by the types of its fields.

A field declares its type, and by `Annotated` the range of a number or the check of a text. A wrong field
is refused with the file, the place in it, what was found and what is allowed. No pydantic: this ships into pods.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from hitless.errors import UsageError, attempting

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

    Raises:
        UsageError: a field is wrong, missing or not known.
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
