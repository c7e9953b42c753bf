"""`hitless conform`: the decision table of a program against the double's, or of one release against another's."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from clusters.linux.sandbox import enter_sandbox
from clusters.programs.api_server import find_assets
from clusters.programs.conformance import ask_program, simplify
from clusters.programs.identity import check_program, identify
from commands.options import Format, make_folder, make_run_directory
from commands.terminal import print_table
from gardener.observed.cases import CASES, ask_double, say
from gardener.releases import ExtensionRelease, find_release
from hitless.facts import Part
from hitless.plural import plural
from hitless.store import write_json
from hitless.words import Verdict
from reports.gate.decision_table import SCHEMA, DecisionTable

_REFUSED: Final = {"Error": "refused", "Timeout": "refused"}
"""The double refuses what a program reports as an error, or never settles."""


def conform(extension: Path, against: Path | None, output: Path, output_format: Format) -> Verdict:
    """Ask a program every case of the table, compare, print and store what differs; PASS where nothing does.

    It is compared with another program, or with the double if there is none.

    Raises:
        MissingCapabilityError: a program is missing; nothing was asked.
        WorldError: a program ended, or did not become ready.
    """
    for option, path in (("--extension", extension), ("--against", against)):
        if path is not None:
            check_program(option, path)
    find_assets()
    make_folder(output)
    enter_sandbox()
    directory = make_run_directory(output, "conform")
    asked = _ask(extension, directory / "extension")
    if against is not None:
        other = _ask(against, directory / "against")
    else:
        release = _release_of(extension)
        other = {name: simplify(CASES[name].double or say(ask_double(CASES[name], release))) for name in asked}
        asked = {name: _REFUSED.get(outcome, outcome) for name, outcome in asked.items()}
    different = {name: (asked[name], other[name]) for name in asked if asked[name] != other[name]}
    table = DecisionTable(
        schema=SCHEMA,
        program=identify(Part.EXTENSION, extension),
        other=None if against is None else identify(Part.EXTENSION, against),
        asked=asked,
        against=other,
        different=tuple(sorted(different)),
    )
    document = asdict(table)
    write_json(directory / "conform.json", document)
    if output_format is Format.JSON:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        named = "the double" if against is None else str(against)
        if different:
            rows = ((name, *outcomes) for name, outcomes in different.items())
            # With paths as headings there would be no space for the decisions.
            print_table("Decisions that differ", ("case", "program", "against"), rows, has_numbers=False)
        differ = "differs" if len(different) == 1 else "differ"
        sys.stdout.write(f"{plural(len(asked), 'case')} asked, {len(different)} {differ} from {named}: {directory}\n")
    return Verdict.FAIL if different else Verdict.PASS


def _ask(program: Path, logs: Path) -> dict[str, str]:
    logs.mkdir(parents=True)
    return ask_program(program, _release_of(program), logs)


def _release_of(program: Path) -> ExtensionRelease:
    return find_release(identify(Part.EXTENSION, program).version)
