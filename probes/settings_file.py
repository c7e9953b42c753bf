"""Settings files: one JSON object that a process of this project is told, read field by field.

Every reader of settings uses this one, so that a wrong field is refused the same way everywhere: with the file, the place in
it, what was found and what is allowed. No pydantic: this ships into pods.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from hitless.errors import UsageError, WorldError

INT64_MAX: Final = (1 << 63) - 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A name becomes part of a file's name, or travels in a header of HTTP."""


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a settings file. Raises WorldError: it cannot be written."""
    try:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"cannot write the settings file {path}: {error.strerror}"
        raise WorldError(message) from error


def read_document(path: Path) -> object:
    """Return what a settings file holds. Raises UsageError: it cannot be read, or is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(where=str(path), problem=f"{error.strerror}; give the path of a readable JSON file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(where=str(path), problem=f"not JSON: {error}; write one JSON object") from error


class FieldReader:
    """Reads the fields of one JSON object; every method raises UsageError, with the place, where a field is wrong.

    Args:
        where: how messages name the document.
        place: where the object lies in it; empty: it is the whole document.
        document: the object.
        shape: the dataclass whose fields it may have.
    """

    def __init__(self, where: str, place: str, document: object, shape: type[Any]) -> None:
        self._where, self._place = where, place
        known = [field.name for field in fields(shape)]
        if not isinstance(document, dict):
            raise self.wrong("", _kind(document), f"an object with {', '.join(known)}")
        self._document: Mapping[str, Any] = document
        for key in document:
            if key not in known:
                raise self.wrong("", f"the key {key!r}", ", ".join(known))

    def wrong(self, key: str, found: object, allowed: str) -> UsageError:
        """Return the error that says what is wrong with a field; an empty key is the object itself."""
        place = ".".join(part for part in (self._place, key) if part)
        return UsageError(where=self._where, place=place, found=str(found)[:200], expected=allowed)

    def has(self, key: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._document.get(key) is not None

    def each(self, key: str, shape: type[Any]) -> list[FieldReader]:
        """Return a reader for each object of a list."""
        found = self._list(key)
        return [FieldReader(self._where, f"{key}[{index}]", one, shape) for index, one in enumerate(found)]

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number."""
        value = self._document.get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, self._shown(key), f"a whole number from {least} to {most}")
        return value

    def yes(self, key: str, *, default: bool = True) -> bool:
        """Return a truth value."""
        value = self._document.get(key, default)
        if type(value) is not bool:
            raise self.wrong(key, self._shown(key), "true or false")
        return value

    def text(self, key: str) -> str:
        """Return a string that is not empty."""
        value = self._document.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.wrong(key, self._shown(key), "a string that is not empty")
        return value

    def text_or_none(self, key: str) -> str | None:
        """Return a string that is not empty; None: there is none."""
        return self.text(key) if self.has(key) else None

    def name(self, key: str) -> str:
        """Return a name that is safe in a path and in a header."""
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise self.wrong(key, repr(value), "a name of letters, digits, '.', '_' and '-'")
        return value

    def one_of(self, key: str, allowed: Sequence[str], default: str) -> str:
        """Return one of some strings."""
        value = self._document.get(key, default)
        if value not in allowed:
            raise self.wrong(key, self._shown(key), f"one of {', '.join(allowed)}")
        return str(value)

    def directory(self, key: str) -> Path:
        """Return a directory that exists."""
        path = Path(self.text(key))
        if not path.is_dir():
            raise self.wrong(key, str(path), "a directory that exists")
        return path

    def address(self, key: str) -> str:
        """Return an IPv4 or IPv6 address, in its shortest form."""
        return self._address(key, self.text(key))

    def address_or_none(self, key: str) -> str | None:
        """Return an address; None: there is none."""
        return self.address(key) if self.has(key) else None

    def addresses(self, key: str) -> tuple[str, ...]:
        """Return addresses; none where the field is not there."""
        if not self.has(key):
            return ()
        return tuple(self._address(f"{key}[{index}]", value) for index, value in enumerate(self._list(key)))

    def _list(self, key: str) -> list[Any]:
        found = self._document.get(key)
        if not isinstance(found, list):
            raise self.wrong(key, _kind(found), "a list of objects")
        return found

    def _address(self, key: str, value: object) -> str:
        try:
            address = ipaddress.ip_address(str(value))
        except ValueError as error:
            raise self.wrong(key, repr(value), "an IPv4 or IPv6 address") from error
        if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
            raise self.wrong(key, repr(value), "an IPv4 address, or an IPv6 address without a zone that is not IPv4-mapped")
        return str(address)

    def _shown(self, key: str) -> str:
        return repr(self._document[key]) if key in self._document else "nothing"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "a truth value"}
    return names.get(type(value), "nothing")
