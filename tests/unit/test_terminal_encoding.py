"""What the terminal's encoding lacks is escaped: printing never decides how a command ends."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer

from commands.main import run_app
from commands.options import EXIT_CODES, Outcome
from commands.terminal import print_comparison, print_progress, print_table
from hitless.words import Verdict
from reports.summary import summarise
from tests.unit.comparisons import comparison


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_exit_code_is_the_verdicts_with_every_terminal_encoding(
    encoding: str, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    app = typer.Typer()

    @app.command()
    def tell() -> None:
        print_comparison(summarise(comparison(1)), Path("\N{GREEK SMALL LETTER PI}"))
        print_table("\N{LONG RIGHTWARDS ARROW}", ("", "\N{RIGHTWARDS ARROW}"), [("\N{HEBREW LETTER ALEF}", "\N{INFINITY}")])
        print_progress("\N{SNOWMAN}")
        sys.stdout.write("\N{SNOWMAN}")
        raise Outcome(EXIT_CODES[verdict])

    monkeypatch.setattr(sys, "argv", ["hitless"])
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams)
    assert (ended.value.code, b"\\u2603" in out, err) == (EXIT_CODES[verdict], True, b"\\u2603\n")
