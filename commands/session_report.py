"""What `pytest suites/` shows: a live view, then an index, a page for each scenario whose arms both ran, and annotations.

Arms may have run in several processes (pytest-xdist). Each leaves `arm.json` in its folder when it is over; the second of a
scenario finds the first one's, reads its records and writes the comparison as `SCENARIO.html` into the session's folder. It is
a file and no folder, so that the release gate counts every arm once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import pytest

from analysis.comparison import Comparison
from commands.arms import ArmOutcome
from commands.compare import read_stored
from commands.live import LiveView
from commands.reporting import attempt, write_arm
from hitless.store import write_json
from hitless.words import JsonObject
from reports.page import render_page
from reports.session import ArmEntry, SessionIndex, State, render_index, render_step_summary
from reports.summary import Summary, summarise
from reports.templating import annotate

INDEX: Final = "index.html"
_ARM_FILE: Final = "arm.json"
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_REASON_MAX: Final = 600
"""Characters of a reason that the index shows; pytest's own report has all."""

RecordProperty = Callable[[str, object], None]


def report_arm(outcome: ArmOutcome, record_property: RecordProperty) -> tuple[Path, ...]:
    """Write the report of an arm, record its figures as properties of its test, and return the files worth attaching."""
    written = write_arm(outcome)
    record_property("folder", outcome.directory.name)
    record_property("verdict", ",".join(outcome.verdicts))
    if written.summary is not None:
        for name, value in _figures(written.summary):
            record_property(name, value)
    return tuple(path for name in ("report.html", "chart.svg") if (path := outcome.directory / name).exists())


def finish_arm(outcome: ArmOutcome, records: Path, *, is_expected: bool, must_keep: bool) -> None:
    """Compare an arm with the other of its scenario, if that is over, and drop the records that are not needed any more.

    They are kept of an arm whose test failed, and of all arms where asked. The folder is the session's.
    """
    header = outcome.runs[0].history.header
    told: JsonObject = {"scenario": header.scenario, "arm": header.arm, "may_drop": is_expected and not must_keep}
    # Written first: of two arms that end at once, at least one sees the other.
    write_json(outcome.directory / _ARM_FILE, told)
    other = next(
        (
            folder
            for folder, found in _read_arms(records)
            if found["scenario"] == told["scenario"] and found["arm"] != told["arm"] and any(folder.glob("*/run.json"))
        ),
        None,
    )
    if other is None:
        return
    page = records / f"{header.scenario}.html"
    try:
        page.touch(exist_ok=False)
    except FileExistsError:
        return
    attempt(page, lambda: page.write_text(_compare(outcome, other), encoding="utf-8"))
    drop_records(outcome.directory)
    drop_records(other)


def drop_records(folder: Path) -> None:
    """Remove the records of an arm that came out as expected, unless they are to be kept; its report stays."""
    if _read_arm(folder).get("may_drop"):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)


def _compare(outcome: ArmOutcome, other: Path) -> str:
    runs, damaged = read_stored(other)
    both = sorted((*outcome.runs, *runs), key=lambda run: (run.history.header.trial, run.history.header.arm))
    found = Comparison(runs=tuple(both), damaged=damaged)
    return render_page(found, summarise(found))


def _figures(summary: Summary) -> Iterator[tuple[str, object]]:
    (arm,) = summary.arms.values()
    yield "lost", arm.totals.lost
    yield "offered", arm.totals.offered
    yield "flows_hit", arm.totals.flows_hit
    if arm.totals.downtime_ms_max is not None:
        yield "downtime_ms_max", arm.totals.downtime_ms_max.longest
    if arm.gate_hold_ms_max is not None:
        yield "gate_hold_ms_max", arm.gate_hold_ms_max


def _read_arms(records: Path) -> list[tuple[Path, JsonObject]]:
    return [(path.parent, _read_arm(path.parent)) for path in sorted(records.glob(f"*/{_ARM_FILE}"))]


def _read_arm(folder: Path) -> JsonObject:
    """Return what an arm left; nothing, where it was stopped before its end."""
    with suppress(OSError, ValueError):
        document: JsonObject = json.loads((folder / _ARM_FILE).read_bytes())
        return document
    return {}


class SessionReport:
    """Plugin of pytest, in the process that started the session, whose folder it finds: None if no arm was run."""

    def __init__(self, find_records: Callable[[], Path | None]) -> None:
        self._find_records = find_records
        self._arms: dict[str, ArmEntry] = {}
        self._index: Path | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of an arm; of a repeated arm, the last."""
        said = {name: str(value) for name, value in report.user_properties}
        is_over = report.when == "call" or report.failed
        if "scenario" in said and is_over and report.outcome in {"passed", "failed", "skipped"}:
            self._arms[report.nodeid] = self._make_entry(report, said)

    @property
    def _is_all_skipped(self) -> bool:
        return bool(self._arms) and all(arm.state is State.SKIPPED for arm in self._arms.values())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session whose scenarios were all skipped; drop what is left to drop, and write the index."""
        if self._is_all_skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        records = self._find_records()
        if records is None or not self._arms:
            return
        for folder, _ in _read_arms(records):
            drop_records(folder)
        names = dict.fromkeys(arm.scenario for arm in self._arms.values())
        index = SessionIndex(
            title=f"hitless suites {records.name}",
            arms=tuple(self._arms.values()),
            comparisons=tuple(name for name in names if (records / f"{name}.html").exists()),
        )
        path = records / INDEX
        self._index = path if attempt(path, lambda: path.write_text(render_index(index), encoding="utf-8")) else None
        if "GITHUB_STEP_SUMMARY" in os.environ:
            with suppress(OSError), Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
                file.write(render_step_summary(index))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the index; annotate the change where GitHub runs the session; say that all were skipped."""
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for arm in self._arms.values():
                if arm.state is State.UNEXPECTED:
                    terminalreporter.write_line(annotate("error", arm.name, arm.reason))
        if self._index is not None:
            terminalreporter.write_line(f"hitless: {self._index}")
        if self._is_all_skipped:
            terminalreporter.write_line(
                "hitless: every scenario was skipped, so nothing was tested; this is a failure", red=True
            )

    def _make_entry(self, report: pytest.TestReport, said: dict[str, str]) -> ArmEntry:
        records, page = self._find_records(), f"{said.get('folder')}/report.html"
        state = {"passed": State.EXPECTED, "failed": State.UNEXPECTED, "skipped": State.SKIPPED}[report.outcome]
        lost = f"{int(said['lost']):,} of {int(said['offered']):,} probes" if "lost" in said else ""
        return ArmEntry(
            name=report.nodeid.rpartition("[")[2].rstrip("]"),
            scenario=said["scenario"],
            state=state,
            expected=said["expected"],
            verdicts=said.get("verdict", ""),
            figures=lost,
            reason=_say_reason(report),
            page=page if records is not None and (records / page).exists() else None,
        )


def _say_reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = _COLOUR.sub("", report.longreprtext if crash is None else crash.message)
    # pytest's text on both sides of the assertion repeats the verdicts.
    return text.removeprefix("AssertionError: ").partition("\nassert ")[0].strip()[:_REASON_MAX]


class SessionLive:
    """Plugin of pytest, in the process that started the session: its live view, on the real standard error.

    pytest captures the one that tests write to. As long as no arm was run there is no folder.
    """

    def __init__(self, config: pytest.Config, find_records: Callable[[], Path | None]) -> None:
        self._config = config
        self._find_records = find_records
        self._view: LiveView | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Make room for what pytest prints; workers of pytest-xdist have the session's folder from the start."""
        self._show()

    def pytest_runtest_call(self) -> None:
        """Begin with the first arm: its fixtures made the session's folder."""
        self._show()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """Make room for what pytest prints."""
        self._show()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """End it before the summary is printed."""
        if self._view is not None:
            self._view.close()

    def _show(self) -> None:
        records = self._find_records()
        if self._view is not None:
            self._view.erase()
        elif records is not None:
            capture = self._config.pluginmanager.getplugin("capturemanager")
            with nullcontext() if capture is None else capture.global_and_fixture_disabled():
                stream = os.fdopen(os.dup(2), "w", encoding="utf-8")
            # The dots of pytest are an unfinished line.
            self._view = LiveView(records, stream, first="\n")
