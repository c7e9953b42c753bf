"""A YAML 1.2 reader that returns plain data.

Only this module imports a YAML library, and of it only the parser. Scalars follow the core schema (YAML 1.2.2 10.3.2), so a
date, `=` or `yes` is text. Keys become text, as they do on the way to a Kubernetes API server, which speaks JSON. An alias is
refused: a few of them make gigabytes of a kilobyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.scanner import Scanner

DEPTH_MAX: Final = 64
"""Deepest nesting of mappings and sequences. Source: chosen here; a Shoot has about ten."""

_TAG: Final = "tag:yaml.org,2002:"
_BREAKS: Final = "\0\r\n\x85\u2028\u2029"
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {**dict.fromkeys(("true", "True", "TRUE"), True), **dict.fromkeys(("false", "False", "FALSE"), False)}
_INTEGERS: Final = (
    (re.compile(r"[-+]?[0-9]{1,400}"), 10),
    (re.compile(r"0o[0-7]{1,400}"), 8),
    (re.compile(r"0x[0-9a-fA-F]{1,400}"), 16),
)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlError(ValueError):
    """The text is no YAML that is accepted: what is wrong, and in which line and column, from 1, if that is known."""

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        self.problem, self.line, self.column = problem, line, column
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document of a stream."""

    line: int
    """Where its content begins, from 1."""
    content: Any
    """Plain data; None: the document is empty."""


def read_yaml(text: bytes | str) -> tuple[YamlDocument, ...]:
    """Return the documents of a YAML stream, empty ones included.

    Raises YamlError: it is no YAML, or has an alias, a key twice, an unknown tag, half a character or bottomless nesting.
    """
    parser = YAML(typ="safe", pure=True)
    parser.Scanner = _Scanner
    try:
        return tuple(_Reader(parser.parse(text)).documents())
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
        raise YamlError(str(error.problem or error.context or "no YAML").removeprefix("found "), *place) from error
    except YamlError:
        raise
    except (YAMLError, ValueError, IndexError, RecursionError, OverflowError) as error:
        raise YamlError(str(error).partition("\n")[0]) from error


class _Scanner(Scanner):
    """ruamel's scanner, with tabs between tokens and before comments: YAML 1.2.2 6.2 forbids them only in indentation."""

    def scan_to_next_token(self) -> None:
        """Skip white space, comments and line breaks."""
        reader = self.reader
        is_indentation = reader.column == 0
        if reader.index == 0 and reader.peek() == "\ufeff":
            reader.forward()
        while True:
            length = 0
            while reader.peek(length) in " \t":
                length += 1
            is_blank = reader.peek(length) in "#" + _BREAKS
            if is_indentation and not self.flow_level and not is_blank:
                length = 0
                while reader.peek(length) == " ":
                    length += 1
            reader.forward(length)
            if reader.peek() == "#":
                while reader.peek() not in _BREAKS:
                    reader.forward()
            if not self.scan_line_break():
                return
            is_indentation = True
            if not self.flow_level:
                self.allow_simple_key = True


class _Reader:
    """Makes data of the parser's events."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events

    def documents(self) -> Iterator[YamlDocument]:
        for event in self._events:
            match event:
                case StreamStartEvent() | StreamEndEvent() | DocumentStartEvent() | DocumentEndEvent():
                    pass
                case _:
                    yield YamlDocument(line=event.start_mark.line + 1, content=self._read(event, 1))

    def _read(self, event: Event, depth: int) -> Any:  # noqa: ANN401 - any value of the file
        if depth > DEPTH_MAX:
            raise _error(f"nesting deeper than {DEPTH_MAX}", event)
        match event:
            case ScalarEvent():
                return _read_scalar(event)
            case MappingStartEvent():
                _check_tag(event, "map")
                return self._read_mapping(depth)
            case SequenceStartEvent():
                _check_tag(event, "seq")
                return self._read_sequence(depth)
            case _:  # all else that the parser gives for a node
                raise _error("an alias", event)

    def _read_mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = _key(self._read(event, depth + 1), event)
            if key == "<<" and isinstance(event, ScalarEvent) and event.implicit[0]:
                raise _error("the merge key <<", event)
            if key in mapping:
                raise _error(f"the key {key!r} twice", event)
            mapping[key] = self._read(next(self._events), depth + 1)
        return mapping

    def _read_sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._read(event, depth + 1))
        return items


def _key(value: object, event: Event) -> str:
    """Return a key as text: a number, true or null as JSON writes it."""
    if isinstance(value, dict | list):
        raise _error("a key that is a mapping or a list", event)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_scalar(event: ScalarEvent) -> Any:  # noqa: ANN401 - text, a number, true, false or null
    text = _join_surrogates(event)
    if not event.implicit[0]:
        if event.tag not in {None, "!", f"{_TAG}str"}:
            raise _error(f"the tag {_shown(event)} on {text!r}", event)
        return text
    return _resolve(text)


def _join_surrogates(event: ScalarEvent) -> str:
    """Return a scalar's text in which two escapes for one character, as JSON writes it, are that character. RFC 8259 7."""
    text: str = event.value
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise _error("half of a surrogate pair", event) from error


def _resolve(text: str) -> str | int | float | bool | None:
    """Return the value of a plain scalar in the core schema. Source: YAML 1.2.2 10.3.2."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for pattern, radix in _INTEGERS:
        if pattern.fullmatch(text):
            return int(text[2:] if radix != 10 else text, radix)  # noqa: PLR2004 - decimal numbers have no prefix
    if _NO_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))
    return float(text) if _FLOAT.fullmatch(text) else text


def _check_tag(event: MappingStartEvent | SequenceStartEvent, allowed: str) -> None:
    if event.tag not in {None, "!", f"{_TAG}{allowed}"}:
        raise _error(f"the tag {_shown(event)}", event)


def _shown(event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> str:
    return str(event.tag).replace(_TAG, "!!")


def _error(problem: str, event: Event) -> YamlError:
    return YamlError(problem, event.start_mark.line + 1, event.start_mark.column + 1)
