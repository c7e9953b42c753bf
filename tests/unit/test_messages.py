"""Every message of every error path, read from the sources: it says what is wrong and what to do, in plain English."""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import hitless.errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
ERRORS: Final = frozenset(name for name in vars(hitless.errors) if name.endswith("Error")) | {
    "DeniedError",
    "GoneError",
    "MisfitError",
    "YamlError",
}
NOT_PRODUCT: Final = ("tests", "suites")

FOREIGN: Final = re.compile(
    r"\b(nobody|somebody|of ours|so many|to be had|be had|no say|whoever|take[sn]? down|shall)\b", re.IGNORECASE
)
COUNTED: Final = re.compile(
    r"(?<!\* )\{(?!_?[A-Z])[^{}]*\} (probe|flow|run|route|node|trial|outage|packet|image|zone|container|connection|fault)s"
    r"\b(?! per second)"
)
"""A count with a noun that is always plural: `hitless.plural.plural` writes both."""
REMEDY: Final = re.compile(
    r"\b(install|use|run|load|build|start|give|explains how|apt-get|pip|REMEDY|remedy|describe_remedy)\b", re.IGNORECASE
)
"""What a MissingCapabilityError has to contain: how to get the capability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One error that the product raises."""

    at: str
    """File and line."""
    error: str
    """Class of the error."""
    text: str
    """Template of the message, expressions in braces."""
    keywords: frozenset[str]
    """Names of the arguments that were given."""


def product_files() -> tuple[Path, ...]:
    """Return the tracked modules of the product."""
    names = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()  # noqa: S607 - git of the path
    return tuple(ROOT / name for name in names if not name.startswith(NOT_PRODUCT))


def template(node: ast.expr, names: dict[str, ast.expr]) -> str:  # noqa: PLR0911 - one return a kind of expression
    """Return a message's text with its expressions in braces; a variable is replaced by what it was assigned last."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part, names) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)) if name in names:
            return template(names[name], {})
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left, names) + template(right, names)
        case ast.Name(id=name) if name in names:
            return template(names[name], {other: value for other, value in names.items() if other != name})
        case _:
            return f"{{{ast.unparse(node)}}}"


def messages_of(source: str, name: str) -> Iterator[Message]:
    """Return the errors that a module makes."""
    tree = ast.parse(source)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        assigned = sorted(
            (node for node in ast.walk(function) if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)),
            key=lambda node: node.lineno,
        )
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            error = ast.unparse(call.func).rpartition(".")[2]
            if error not in ERRORS or function.name == "at":
                continue
            names = {
                ast.unparse(node.targets[0]): node.value
                for node in assigned
                if (node.lineno, node.col_offset) < (call.lineno, call.col_offset)
            }
            parts = [*call.args, *(keyword.value for keyword in call.keywords)]
            yield Message(
                at=f"{name}:{call.lineno}",
                error=error,
                text=" | ".join(template(part, names) for part in parts),
                keywords=frozenset(str(keyword.arg) for keyword in call.keywords) | ({"problem"} if call.args else frozenset()),
            )


def faults_of(message: Message) -> list[str]:
    """Return what is wrong with a message."""
    faults = []
    if not message.text.strip(" |"):
        faults.append("is empty")
    if message.error == "UsageError" and not ({"found", "expected"} <= message.keywords or "problem" in message.keywords):
        faults.append("has neither found and expected nor a problem")
    if message.error == "MissingCapabilityError" and not REMEDY.search(message.text):
        faults.append("does not say how to get the capability")
    if found := FOREIGN.search(message.text):
        faults.append(f"is no plain English: {found[0]}")
    if found := COUNTED.search(message.text):
        faults.append(f"has a plural for one: {found[0]}")
    return [f"{message.at}: {message.error} {fault}: {message.text}" for fault in faults]


def test_every_message_says_what_is_wrong_and_what_to_do() -> None:
    messages = [
        message
        for path in product_files()
        for message in messages_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]
    assert len(messages) > 200  # the product has about 250 raise sites
    assert [fault for message in messages for fault in faults_of(message)] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('raise UsageError("")', "is empty"),
        ('raise UsageError(where="--rate")', "has neither found and expected nor a problem"),
        ('raise UsageError(where="--rate", found="x")', "has neither found and expected nor a problem"),
        ('raise MissingCapabilityError("no nft")', "does not say how to get the capability"),
        ('raise WorldError(f"{name} is of no use to nobody")', "is no plain English: nobody"),
        ('message = "no route is to be had"; raise WorldError(message)', "is no plain English: to be had"),
        ('raise WorldError(f"lost {lost} probes")', "has a plural for one: {lost} probes"),
    ],
)
def test_a_bad_message_is_found(line: str, fault: str) -> None:
    (message,) = messages_of(f"def f():\n  {line}", "x.py")
    assert any(fault in one for one in faults_of(message))
