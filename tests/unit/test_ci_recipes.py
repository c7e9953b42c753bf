"""The CI recipes: workflows that actionlint accepts, and commands with options that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from commands.main import app
from hitless.documents import read_document
from reports.gate.rules import Rules, read_rules

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "ci"
WORKFLOWS = tuple(sorted(path for path in RECIPES.glob("*.yaml") if "runs-on:" in path.read_text(encoding="utf-8")))
OF_PLUGINS = {"--dist", "--junitxml"}


def shell_lines(path: Path) -> list[list[str]]:
    """The words of every line of shell that calls hitless or pytest, up to what the shell does with them."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if re.search(r"bin/(hitless|pytest) ", line)]
    calls = [re.split(r" \| | \|\| | >", line[re.search(r"\S*bin/(hitless|pytest) ", line).start() :])[0] for line in lines]  # type: ignore[union-attr]
    return [shlex.split(call) for call in calls]


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def options_of(*names: str) -> set[str]:
    """The options of a command of hitless, by its name."""
    command = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


def options_of_suites() -> set[str]:
    added = re.findall(r'addoption\(\s*"(--[a-z-]+)"', (ROOT / "conftest.py").read_text(encoding="utf-8"))
    return {*added, *OF_PLUGINS}


def unknown(words: list[str]) -> set[str]:
    """The options of a call that the command does not have; with those of the versions of `gate --run`."""
    if words[0].endswith("pytest"):
        return options(words) - options_of_suites()
    names = [word for word in words[1:3] if not word.startswith("-")]
    command = options_of(*(names if names[0] == "kind" else names[:1]))
    wrong = options([word for word in words if " " not in word]) - command
    for name, value in pairwise(words):
        if name in {"--baseline-args", "--candidate-args"}:
            wrong |= options(shlex.split(value)) - options_of("compare")
    return wrong


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_read_and_its_commands_have_the_options_that_it_gives_them(path: Path) -> None:
    assert read_document(path)
    assert [unknown(words) for words in shell_lines(path) if unknown(words)] == []


def test_the_calls_in_the_recipes_are_found() -> None:
    found = {path.stem: [" ".join(words[:2]) for words in shell_lines(path)] for path in RECIPES.glob("*.yaml")}
    assert found["extension"] == ["venv/bin/hitless conform", "venv/bin/hitless gate"]
    assert found["prow"] == [".venv/bin/pytest suites/"] * 2
    assert len(found["kind"]) == 3


def test_the_rules_of_the_recipe_are_rules() -> None:
    rules = read_rules(read_document(RECIPES / "rules.yaml"), "rules.yaml", date(2026, 12, 1))
    assert rules == Rules()


def find_actionlint() -> str | None:
    return shutil.which("actionlint", path=os.pathsep.join((os.environ["PATH"], str(Path.home() / "go" / "bin"))))


@pytest.mark.skipif(find_actionlint() is None, reason="go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12")
def test_actionlint_accepts_the_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["extension", "kind", "lab", "prober-image"]
    done = subprocess.run(  # noqa: S603 - a linter, of our own files
        [str(find_actionlint()), *map(str, WORKFLOWS)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
