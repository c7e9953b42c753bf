"""`python -m bench`: measures the instrument on this machine beside other tools.

Each module of `bench` is one question. Every answer is stored in bench.json at once, and all tables are made from the stored
answers: `--from` prints a stored benchmark again, `--into` writes the tables into a document between its markers. Times are
those of one machine at one moment: compare ratios.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.accuracy import ACCURACY
from bench.bringup import BRINGUP
from bench.causes import CAUSES
from bench.cpu import CPU
from bench.facts import describe_machine, say_machine
from bench.gate import GATE
from bench.hold import HOLD
from bench.mesh import MESH
from bench.peers import PEERS
from bench.question import Question
from bench.rate import RATE
from bench.reports import REPORTS
from bench.scale import SCALE
from bench.tables import BenchFormat, Table, fill_in, to_markdown
from clusters.linux.sandbox import enter_sandbox
from commands.options import Outcome, default_runs, make_run_directory
from commands.terminal import print_progress, print_table
from hitless.errors import BugError, HitlessError, UsageError, WorldError
from hitless.store import write_json
from hitless.words import JsonObject

QUESTIONS: Final = (ACCURACY, PEERS, CPU, RATE, MESH, BRINGUP, CAUSES, REPORTS, SCALE, HOLD)
ON_REQUEST: Final = (GATE,)
"""Runs only by name, because it takes half an hour."""
SCHEMA: Final = "hitless.bench/2"
_WIDTH: Final = 140
"""Characters per line without a terminal."""


def run_bench(*, is_quick: bool, only: str | None, output_format: BenchFormat, stored: Path | None, into: Path | None) -> None:
    """Ask the questions, or take the answers of a stored benchmark, and print the tables.

    Args:
        is_quick: few repetitions: shows that everything works, not how well.
        only: names of questions, with commas; None: all.
        output_format: what is printed.
        stored: a bench.json to show instead of measuring.
        into: a document whose tables are replaced.

    Raises:
        Outcome: a question failed; the others were answered.
        UsageError: no such question, no such file, no markers.
    """
    questions = choose(only)
    if into is not None:
        _write_into(into, {"machine": "", **{question.name: "" for question in questions}}, is_trial=True)
    document = _measure(questions, output_format, is_quick=is_quick) if stored is None else _read(stored, questions)
    answers: JsonObject = document["answers"]
    if stored is not None and output_format is BenchFormat.TEXT:
        _print_tables(questions, answers)
    if output_format is BenchFormat.JSON:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    pieces = {question.name: _to_markdown(question, answers[question.name]) for question in questions}
    pieces = {"machine": say_machine(document["machine"], is_quick=document["quick"])} | pieces
    if output_format is BenchFormat.MARKDOWN:
        sys.stdout.write("\n".join(pieces.values()))
    if into is not None:
        _write_into(into, pieces)
    if any("failed" in answer for answer in answers.values()):
        raise Outcome(WorldError.exit_code)


def choose(only: str | None) -> tuple[Question, ...]:
    """Return the questions of these names, in the order in which they are asked. Raises UsageError."""
    known = {question.name: question for question in (*QUESTIONS, *ON_REQUEST)}
    names = [name.strip() for name in only.split(",")] if only is not None else [question.name for question in QUESTIONS]
    for name in names:
        if name not in known:
            raise UsageError(where="--only", found=repr(name), expected=", ".join(known))
    return tuple(question for question in known.values() if question.name in names)


def _measure(questions: Sequence[Question], output_format: BenchFormat, *, is_quick: bool) -> JsonObject:
    enter_sandbox()
    directory = make_run_directory(default_runs(), "bench")
    document: JsonObject = {"schema": SCHEMA, "quick": is_quick, "machine": describe_machine(), "answers": {}, "took_s": {}}
    for question in questions:
        began = time.monotonic()
        document["answers"][question.name] = _ask(question, is_quick=is_quick)
        document["took_s"][question.name] = round(time.monotonic() - began, 1)
        write_json(directory / "bench.json", document)
        if output_format is BenchFormat.TEXT:
            _print_tables([question], document["answers"])
    print_progress(f"written: {directory / 'bench.json'}, {sum(document['took_s'].values()):.0f} s")
    return document


def _ask(question: Question, *, is_quick: bool) -> JsonObject:
    """Return the answer, or the reason why there is none: a failing question must not stop the others."""
    try:
        return question.ask(is_quick)
    except BugError:
        raise
    except HitlessError as error:
        print_progress(f"{question.name} failed: {error}")
        return {"failed": str(error)}


def _read(path: Path, questions: Sequence[Question]) -> JsonObject:
    """Return a stored benchmark that has an answer to each of these questions. Raises UsageError."""
    try:
        content: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(where=str(path), problem=f"{error}; give the path of a bench.json") from error
    document: JsonObject = content if isinstance(content, dict) else {}
    if document.get("schema") != SCHEMA:
        raise UsageError(where=str(path), place="schema", found=repr(document.get("schema")), expected=SCHEMA)
    for question in questions:
        if question.name not in document["answers"]:
            answered = ", ".join(document["answers"])
            raise UsageError(where=str(path), place="answers", problem=f"no answer to {question.name}; use --only {answered}")
    return document


def _tables(question: Question, answer: JsonObject) -> tuple[Table, ...]:
    if "failed" in answer:
        return (Table(title=question.text, columns=("failed",), rows=((answer["failed"],),)),)
    return question.show(answer)


def _print_tables(questions: Sequence[Question], answers: JsonObject) -> None:
    for question in questions:
        for table in _tables(question, answers[question.name]):
            print_table(table.title, table.columns, table.rows, table.note, width_min=_WIDTH)


def _to_markdown(question: Question, answer: JsonObject) -> str:
    return "\n".join(to_markdown(table) for table in _tables(question, answer))


def _write_into(path: Path, pieces: dict[str, str], *, is_trial: bool = False) -> None:
    """Write the tables between the markers; a trial only checks that they exist, before half an hour is spent."""
    try:
        text = fill_in(path.read_text(encoding="utf-8"), pieces, str(path))
        if not is_trial:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(where=str(path), problem=f"{error.strerror or error}; give the path of a writable document") from error
