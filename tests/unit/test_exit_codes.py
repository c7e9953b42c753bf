"""What the command line answers when a command ends with an error."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from enum import Enum, auto

import pytest
import typer
from pydantic_core import SchemaError, SchemaValidator
from pydantic_core.core_schema import enum_schema

from clusters.linux.interrupts import is_interrupt
from commands.main import run_app
from hitless.errors import BugError, RecordDamagedError, UsageError, WorldError

BUG, USAGE, UNKNOWN, INTERRUPTED = 3, 2, 20, 130


@pytest.fixture(autouse=True)
def kept_signals() -> Iterator[None]:
    """The command line sets handlers of its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def act() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["hitless"])
    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("division by zero"), BUG),
        (BugError("a port was used before it was up"), BUG),
        (UsageError(where="x.yaml", found="a", expected="b"), USAGE),
        (WorldError("no route"), UNKNOWN),
        (RecordDamagedError("run.json: not a run"), UNKNOWN),
    ],
)
def test_every_error_has_its_exit_code_and_its_message(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_app(raising(error, monkeypatch))
    assert ended.value.code == code
    assert str(error) in capsys.readouterr().err


def test_a_bug_prints_its_traceback_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_app(raising(ZeroDivisionError("division by zero"), monkeypatch))
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "report it" in told.splitlines()[-1]


class Interrupted(Enum):
    """An enumeration that a signal meets while pydantic reads its members."""

    @property
    def value(self) -> str:
        raise KeyboardInterrupt(signal.SIGTERM.name)

    ONLY = auto()


def test_an_interrupt_that_pydantic_turned_into_an_error_is_still_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SchemaError) as made:
        SchemaValidator(enum_schema(Interrupted, [Interrupted.ONLY]))
    with pytest.raises(SystemExit) as ended:
        run_app(raising(made.value, monkeypatch))
    assert (ended.value.code, capsys.readouterr().err) == (130, "hitless: interrupted\n")


def test_an_error_that_quotes_an_interrupted_program_is_no_interrupt() -> None:
    assert not is_interrupt(AssertionError("it printed: KeyboardInterrupt: SIGINT"))
