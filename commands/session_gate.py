"""`pytest suites/ --baseline DIR` and `--history DIR`: the session ends with the release gate's decision, or adds to a history.

The baseline and the rules are read before the first run, so that bad input costs no runs. A failed test never becomes a go.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands.gate import EXIT_CODES, read_side
from commands.history_files import add_summaries
from hitless.errors import HitlessError, UsageError
from hitless.plural import plural
from hitless.store import write_json
from reports.gate.decision import Outcome, Question, decide_release
from reports.gate.relative import plan_trials
from reports.gate.sides import Side
from reports.gate.writing import render_text, say_plan


class SessionGate:
    """Plugin of pytest.

    Args:
        baseline: the last release.
        question: what decides about the session's summaries.
        find_records: returns the session's folder; None: nothing was run.
    """

    def __init__(self, baseline: Side, question: Question, find_records: Callable[[], Path | None]) -> None:
        self._baseline, self._question = baseline, question
        self._find_records = find_records
        self._text = ""

    def pytest_report_header(self) -> str:
        """Say beforehand how many trials a decision needs."""
        plan = plan_trials(self._baseline, self._question.rules.primary)
        return f"release gate: baseline {self._baseline.path}; {say_plan(plan)}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Decide, store the decision beside the summaries, and set the exit code."""
        records = self._find_records()
        if records is None or session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            self._text = "no decision, because the session ended early or ran no scenario"
            return
        try:
            release = decide_release(self._baseline, read_side("CANDIDATE", records), self._question)
        except UsageError as error:
            self._text, session.exitstatus = f"no decision: {error}", error.exit_code
            return
        write_json(records / "gate.json", release.as_json())
        self._text = render_text(release)
        if release.outcome is not Outcome.GO or release.allowed:
            session.exitstatus = EXIT_CODES[release.outcome]
        elif session.exitstatus:
            self._text += "a test failed, so the session fails"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the decision."""
        terminalreporter.section("release gate")
        terminalreporter.write_line(self._text.rstrip())


class SessionHistory:
    """Plugin of pytest.

    Args:
        history: folder of the history.
        release: version under test; None: that of the extension in the summaries.
        find_records: returns the session's folder; None: nothing was run.
    """

    def __init__(self, history: Path, release: str | None, find_records: Callable[[], Path | None]) -> None:
        self._history, self._release, self._find_records = history, release, find_records
        self._text = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add the summaries; where they cannot be added, a session that passed fails."""
        records = self._find_records()
        if records is None:
            self._text = "nothing was added, because no scenario was run"
            return
        try:
            added, _ = add_summaries(self._history, [records], self._release)
        except HitlessError as error:
            self._text = f"nothing was added: {error}"
            session.exitstatus = session.exitstatus or error.exit_code
            return
        self._text = f"{plural(added, 'summary', 'summaries')} added to {self._history}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was added."""
        terminalreporter.write_line(f"history: {self._text}")
