"""Reader of YAML documents written by people: one clear message for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from hitless.errors import UsageError
from hitless.words import JsonObject
from hitless.yaml_reader import YamlDocument, YamlError, read_yaml

DOCUMENT_OCTETS_MAX: Final = 1_048_576
"""A larger file is no scenario and no Shoot. Source: chosen here; etcd refuses objects over 1.5 MiB."""
_ALLOWED: Final = "YAML with unique keys and without aliases"
_SHOWN_MAX: Final = 120
_PLACES_MAX: Final = 5
_OF_KEY: Final = "[key]"
"""Last part of pydantic's location of a mapping's key."""
_LIKENESS_MIN: Final = 0.8
"""From this likeness on a name counts as misspelt. Chosen here: `kubelet` and `kubeProxy` have 0.5, `overlays` has 0.93."""

Model = TypeVar("Model")


class MisfitError(ValueError):
    """Fields that contradict each other; raised by a validator, turned into a UsageError by `validate`.

    `place` is the field below the model that has to change, `expected` what is accepted in the place of its value.
    """

    def __init__(self, place: str, found: object, expected: str) -> None:
        """Take the parts of the message."""
        self.place, self.found, self.expected = place, found, expected
        super().__init__(f"{place}: found {found}; expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file, or one item of a `kind: List` in it."""

    place: str
    """Its place in the file, for messages: empty for the only one, else `line 12` or `items.3`."""
    content: JsonObject


def read_document(path: Path) -> JsonObject:
    """Read a file that holds one YAML document, a mapping. Raises UsageError: it cannot be read, or is not such a document."""
    return parse_document(_read(path), str(path))


def read_documents(path: Path) -> tuple[Document, ...]:
    """Read a file that may hold several documents; see `parse_documents`. Raises UsageError."""
    return parse_documents(_read(path), str(path))


def parse_document(content: bytes | str, where: str) -> JsonObject:
    """Parse one YAML document, a mapping; any other documents must be empty. `where` is its name in messages.

    Raises UsageError: it is not such a document.
    """
    documents = _parse(content, where)
    if len(documents) > 1:
        lines = " and ".join(f"line {document.line}" for document in documents[:2])
        raise UsageError(where=where, found=f"documents at {lines}", expected="one document")
    return _mapping(documents[0].content if documents else None, where)


def parse_documents(content: bytes | str, where: str) -> tuple[Document, ...]:
    """Parse the mappings of a stream of documents. Empty documents are left out; a `kind: List` gives its items.

    Raises UsageError: the text is no YAML, is empty, or holds something that is no mapping.
    """
    found: list[Document] = []
    streamed = _parse(content, where)
    for document in streamed:
        place = f"line {document.line}" if len(streamed) > 1 else ""
        mapping = _mapping(document.content, where, place)
        items = mapping.get("items")
        if mapping.get("kind") == "List" and isinstance(items, list):
            for number, item in enumerate(items):
                here = f"items.{number}"
                found.append(Document(place=here, content=_mapping(item, where, here)))
        else:
            found.append(Document(place=place, content=mapping))
    if not found:
        raise UsageError(where=where, found="nothing", expected="a mapping")
    return tuple(found)


def choose_document(
    documents: Collection[Document], where: str, is_wanted: Callable[[JsonObject], bool], wanted: str
) -> Document:
    """Return the wanted document of a file; if the file has only one document, return that.

    `where` names the file in messages, `wanted` the kind of document, such as `a Shoot`.

    Raises UsageError: none of several is wanted, or two are; names them.
    """
    if len(documents) == 1:
        return next(iter(documents))
    matching = [document for document in documents if is_wanted(document.content)]
    if len(matching) == 1:
        return matching[0]
    named = matching or documents
    found = " and ".join(f"{_name(document.content)} at {document.place}" for document in named)
    raise UsageError(where=where, found=_shown(found), expected=f"one document with {wanted}")


def look_up(content: object, *path: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """Return what stands at a path of keys; None where a key is missing or its parent is no mapping."""
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a name was probably meant to be: equal except for case, or very similar; else None."""
    lowered = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), lowered, n=1, cutoff=_LIKENESS_MIN)
    return lowered[close[0]] if close else None


def refuse_misplaced(data: Mapping[str, Any], where: str, place: str, known: Collection[str], near: Mapping[str, str]) -> None:
    """Refuse keys of `data` that are not read at their place although they were probably meant to be.

    `known` are the keys that are read here, `near` those that are read one level up or down, with the place where they belong.

    Raises UsageError: names the key and the probable key.
    """
    for key in data:
        if key in known:
            continue
        meant = nearest(key, known)
        belongs = near.get(key)
        if meant is not None:
            belongs = f"{place}.{meant}" if place else meant
        if belongs is not None:
            here = f"{place}.{key}" if place else key
            raise misplaced(where, here, belongs)


def misplaced(where: str, place: str, belongs: str) -> UsageError:
    """Return the error for a key that would be ignored at its place."""
    return UsageError(where=where, place=_shown(place), problem=f"hitless does not read this key; did you mean {belongs}?")


def validate(model: type[Model], document: object, where: str, place: str = "") -> Model:
    """Validate a document against a pydantic model or a dataclass; `place` is where in the file it stands, as messages name it.

    Raises UsageError: names the first mistake and the places of the others.
    """
    try:
        return TypeAdapter(model).validate_python(document)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        path = _path_of(first["loc"], place)
        places = list(dict.fromkeys(".".join(_path_of(other["loc"], place)) for other in others))
        rest = ", ..." if len(places) > _PLACES_MAX else ""
        more = f" (also wrong: {', '.join(places[:_PLACES_MAX])}{rest})" if places else ""
        found = "nothing" if first["type"] == "missing" else _shown(first["input"])
        expected = "a value" if first["type"] == "missing" else _expectation(first["msg"])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, MisfitError):
            path, found, expected = [*path, cause.place], _shown(cause.found), cause.expected
        raise UsageError(where=where, place=".".join(path), found=found, expected=f"{expected}{more}") from error


def _path_of(parts: tuple[int | str, ...], place: str) -> list[str]:
    """Return the place of a mistake; that of a key is the mapping, because the key is what was found."""
    inner = parts[:-2] if parts[-1:] == (_OF_KEY,) else parts
    return [*((place,) if place else ()), *(_shown(str(part)) for part in inner)]


def _expectation(message: str) -> str:
    """Return what pydantic or a validator expects, as the end of a sentence: `Input should be 'calico'` to `'calico'`."""
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return f"a value {expected}" if expected.startswith(("less than", "greater than")) else expected


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DOCUMENT_OCTETS_MAX + 1)
    except OSError as error:
        raise UsageError(f"{error.strerror or error}; give the path of a readable file", where=str(path)) from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"{error}; give the path of a readable file", where=_shown(str(path))) from error


def _parse(content: bytes | str, where: str) -> list[YamlDocument]:
    """Return the documents that are not empty. Raises UsageError."""
    if len(content) > DOCUMENT_OCTETS_MAX:
        raise UsageError(f"larger than {DOCUMENT_OCTETS_MAX:,} octets, the maximum size of a document", where=where)
    try:
        documents = read_yaml(content)
    except YamlError as error:
        place = "" if error.line is None else f"line {error.line}, column {error.column}"
        raise UsageError(where=where, place=place, found=_shown(error.problem), expected=_ALLOWED) from error
    return [document for document in documents if document.content is not None]


def _mapping(content: object, where: str, place: str = "") -> JsonObject:
    if not isinstance(content, dict):
        found = "nothing" if content is None else _shown(content)
        raise UsageError(where=where, place=place, found=found, expected="a mapping")
    return content


def _name(content: JsonObject) -> str:
    parts = (content.get("kind", "a document without a kind"), look_up(content, "metadata", "name"))
    return " ".join(str(part) for part in parts if part is not None)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(str(text).split())
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
