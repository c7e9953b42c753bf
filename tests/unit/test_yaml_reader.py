"""YAML 1.2: what looks like a date, a switch or an operator is text, and tabs stand where the specification lets them."""

import math

import pytest

from hitless.yaml_reader import YamlError, read_yaml


def content_of(text: str) -> object:
    (document,) = read_yaml(text)
    return document.content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("=", "="),
        ("2026-13-45", "2026-13-45"),
        ("2026-01-01", "2026-01-01"),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("1.36", 1.36),
        (".5", 0.5),
        ("-1.e3", -1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("True", True),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("9" * 500, float("9" * 500)),
    ],
)
def test_a_scalar_is_what_the_core_schema_says(text: str, value: object) -> None:
    assert content_of(f"a: {text}") == {"a": value}


def test_not_a_number_is_read() -> None:
    found = content_of("a: .nan")
    assert isinstance(found, dict)
    assert math.isnan(found["a"])


def test_keys_become_text_as_in_json() -> None:
    assert content_of("{1: a, true: b, null: c, 1.5: d}") == {"1": "a", "true": "b", "null": "c", "1.5": "d"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\t# why\n  b: 1", {"a": {"b": 1}}),
        ("a:\t1\t# why\n\t\nb: 2", {"a": 1, "b": 2}),
        ('{\n\t"a": {\n\t\t"b": [1,\t2]\n\t}\n}', {"a": {"b": [1, 2]}}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_tabs_separate(text: str, value: object) -> None:
    assert content_of(text) == value


def test_tabs_do_not_indent() -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml("a:\n\tb: 1")
    assert (caught.value.line, caught.value.column) == (2, 1)


def test_every_document_of_a_stream_has_its_line() -> None:
    found = [(document.line, document.content) for document in read_yaml("# first\n---\na: 1\n---\n---\nb: 2\n---\n")]
    assert [each for each in found if each[1] is not None] == [(3, {"a": 1}), (6, {"b": 2})]


@pytest.mark.parametrize("text", ["a: !!int 7", "a: !!bool 1", "a: !mine b", "!!seq {a: 1}", "!!map [1]"])
def test_a_tag_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match="the tag"):
        read_yaml(text)
