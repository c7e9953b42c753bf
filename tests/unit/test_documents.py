"""Documents that people write: whatever is wrong, one clear message."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from hitless.documents import DOCUMENT_OCTETS_MAX, parse_document, read_document, validate
from hitless.errors import UsageError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "x.yaml: line 2, column 1: found the key 'a' twice"),
        ("a: &x 1\nb: *x", "x.yaml: line 2, column 4: found an alias"),
        ("- 1", "x.yaml: found [1]; expected a mapping"),
        ("{1: 2, '1': 3}", "x.yaml: line 1, column 8: found the key '1' twice"),
        ("{[1]: 2}", "x.yaml: line 1, column 2: found a key that is a mapping or a list"),
        ("a: {<<: {b: 1}}", "x.yaml: line 1, column 5: found the merge key <<"),
        ("a: " + "[" * 200, "x.yaml: line 1, column 67: found nesting deeper than 64"),
        ("a: !!python/object:os.system x", "x.yaml: line 1, column 4: found the tag !!python/object:os.system"),
        ("a: 1\n---\nb: 2", "x.yaml: found documents at line 1 and line 3; expected one document"),
        ('a: "\\ud800"', "x.yaml: line 1, column 4: found half of a surrogate pair"),
        ("", "x.yaml: found nothing; expected a mapping"),
        ("a:\n\tb: 1", "x.yaml: line 2, column 1: found character"),
        ("a: \x01", "x.yaml: found unacceptable character #x0001"),
        (" " * (DOCUMENT_OCTETS_MAX + 1), "x.yaml: larger than "),
    ],
)
def test_a_bad_document_gives_one_message(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_document(text, "x.yaml")
    assert str(caught.value).startswith(message)


def test_a_good_document_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("a: {b: [1, 2.5, true, null, text]}\n")
    assert read_document(path) == {"a": {"b": [1, 2.5, True, None, "text"]}}


def test_a_character_that_json_writes_as_two_escapes_is_read() -> None:
    assert parse_document(r'{"\ud83d\ude00": 1}', "x.json") == {"\U0001f600": 1}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: No such file or directory; give the path of a readable file"):
        read_document(tmp_path / "no.yaml")


@given(st.one_of(st.binary(max_size=80), st.text("{}[]:-,&*!?|>'\"%@\n ab1<=.~#", max_size=60)))
def test_any_input_raises_only_usage_errors(content: bytes | str) -> None:
    try:
        document = parse_document(content, "x.yaml")
    except UsageError:
        return
    assert isinstance(document, dict)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: int
    name: str


def test_validation_names_the_place_and_those_of_all_other_mistakes() -> None:
    with pytest.raises(UsageError) as caught:
        validate(_Model, {"rate": "fast", "more": 1}, "x.yaml", "spec")
    assert str(caught.value) == (
        "x.yaml: spec.rate: found fast; expected a valid integer, unable to parse string as an integer "
        "(also wrong: spec.name, spec.more)"
    )
    with pytest.raises(UsageError, match=r"\(also wrong: a1, a2, a3, a4, a5, \.\.\.\)"):
        validate(_Model, {"rate": "fast", "name": "x"} | {f"a{number}": 1 for number in range(1, 7)}, "x.yaml")


def test_a_key_that_is_wrong_is_found_in_its_mapping() -> None:
    class Keyed(BaseModel):
        arms: dict[Literal["GATED"], int]

    with pytest.raises(UsageError, match=r"^x\.yaml: arms: found GATE; expected 'GATED'$"):
        validate(Keyed, {"arms": {"GATE": 1}}, "x.yaml")


def test_a_key_with_a_line_break_keeps_the_message_on_one_line() -> None:
    with pytest.raises(UsageError) as caught:
        validate(_Model, {"rate": 1, "name": "x", "a\nb": None}, "x.yaml")
    assert str(caught.value).startswith("x.yaml: a b: ")
    assert "\n" not in str(caught.value)
