"""Reading YAML documents that people write: one clear message for whatever is wrong with them.

Only this module imports yaml.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hitless.errors import UsageError
from hitless.words import JsonObject

DOCUMENT_OCTETS_MAX: Final = 1_048_576
"""A larger file is no scenario and no Shoot. Source: ours; etcd refuses objects over 1.5 MiB."""
_ALLOWED: Final = "one YAML document, with unique text keys and without aliases"
_DEPTH_MAX: Final = 64
_SHOWN_MAX: Final = 120

Model = TypeVar("Model", bound=BaseModel)


class MisfitError(ValueError):
    """What a validator raises where fields do not fit each other: `validate` makes the one message of it.

    Args:
        place: the field below the model that is to be changed.
        found: what stands there.
        allowed: what may stand there.
    """

    def __init__(self, place: str, found: object, allowed: str) -> None:
        """Take the parts of the message."""
        self.place, self.found, self.allowed = place, found, allowed
        super().__init__(f"{place}: found {found}; allowed: {allowed}")


def read_document(path: Path) -> JsonObject:
    """Read a file that holds one YAML document, a mapping.

    Raises:
        UsageError: it cannot be read, or is not such a document.
    """
    try:
        with path.open("rb") as file:
            content = file.read(DOCUMENT_OCTETS_MAX + 1)
    except OSError as error:
        raise UsageError(where=str(path), found=error.strerror or str(error), allowed="a readable file") from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(where=_shown(str(path)), found=str(error), allowed="a readable file") from error
    return parse_document(content, str(path))


def parse_document(content: bytes | str, where: str) -> JsonObject:
    """Parse one YAML document, a mapping with text keys; aliases and duplicate keys are refused.

    Args:
        content: the text.
        where: how messages name it.

    Raises:
        UsageError: it is not such a document.
    """
    if len(content) > DOCUMENT_OCTETS_MAX:
        raise UsageError(where=where, found="a larger file", allowed=f"at most {DOCUMENT_OCTETS_MAX} octets")
    try:
        document = yaml.load(content, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(where=where, place=line, found=_shown(error.problem), allowed=_ALLOWED) from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise UsageError(where=where, found=_shown(str(error)), allowed=_ALLOWED) from error
    if not isinstance(document, dict):
        raise UsageError(where=where, found=_shown(document), allowed="a mapping")
    return document


def validate(model: type[Model], document: object, where: str, place: str = "") -> Model:
    """Validate a document against a pydantic model.

    Args:
        model: the model.
        document: what was parsed.
        where: how messages name the file.
        place: where in the file `document` stands, such as `spec.networking.providerConfig`.

    Raises:
        UsageError: names the first thing that is wrong, and how many others there are.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        path = [*((place,) if place else ()), *(_shown(str(part)) for part in first["loc"])]
        more = f" ({len(others)} more such places)" if others else ""
        found = "nothing" if first["type"] == "missing" else _shown(first["input"])
        allowed = first["msg"].removeprefix("Value error, ")
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, MisfitError):
            path, found, allowed = [*path, cause.place], _shown(cause.found), cause.allowed
        raise UsageError(where=where, place=".".join(path), found=found, allowed=f"{allowed}{more}") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, duplicate keys, keys that are no text, and bottomless nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "an alias", self.get_mark())
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise yaml.constructor.ConstructorError(None, None, f"nesting deeper than {_DEPTH_MAX}", self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {_shown(key)}, not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(str(text).split())
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
