"""Words that the project does not use: each hides the subject of its sentence, or is no English."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
KINDS: Final = ("*.py", "*.md", "*.j2", "*.yaml")
FOREIGN: Final = re.compile(
    r"(?<![a-z])(nobody|somebody|everybody|whoever|of[ _]ours|so[ _]many|(to|cannot)[ _]be[ _]had|(has[ _])?no[ _]say)"
    r"(?![a-z])",
    re.IGNORECASE,
)
NEED_THEM: Final = frozenset({"tests/unit/test_english.py", "tests/unit/test_messages.py"})
"""They name the words."""
USER_ID: Final = re.compile(r"\b_?NOBODY\b|run_as_nobody")
"""The user with the id 65534."""


def find_foreign(text: str) -> list[str]:
    """Return the words in a text that the project does not use."""
    return [match[0] for match in FOREIGN.finditer(USER_ID.sub("", text))]


def test_no_file_uses_them() -> None:
    listed = subprocess.run(["git", "ls-files", *KINDS], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603, S607 - git, and fixed words
    found = [
        f"{name}:{number}: {word}"
        for name in listed.stdout.split()
        if name not in NEED_THEM and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        for word in find_foreign(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nobody answers.", ["Nobody"]),
        ("a socket of ours", ["of ours"]),
        ("no route is to be had", ["to be had"]),
        ("so many probes; somebody", ["so many", "somebody"]),
        ("The gate has no say.", ["has no say"]),
        ("def test_what_a_socket_of_ours_dropped", ["of_ours"]),
        ("uid = NOBODY; the gate does not apply", []),
    ],
)
def test_each_is_found(text: str, words: list[str]) -> None:
    assert find_foreign(text) == words
