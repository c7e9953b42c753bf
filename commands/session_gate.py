"""`pytest suites/ --baseline DIR` and `--history DIR`: the session ends with the release gate's decision, or adds to a history.

The baseline and the rules are read before the first run, so that bad input costs no runs. A failed test never becomes a go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

FindRecords = Callable[[], Path | None]
"""Returns the session's folder; None: nothing was run."""


@dataclass(kw_only=True, eq=False)
class SessionGate:
    """Plugin of pytest: decides about the session's summaries."""

    baseline: Side
    """The last release."""
    question: Question
    find_records: FindRecords
    text: str = ""
    """What the session ends with."""

    def pytest_report_header(self) -> str:
        """Say beforehand how many trials a decision needs."""
        plan = plan_trials(self.baseline, self.question.rules.primary)
        return f"release gate: baseline {self.baseline.path}; {say_plan(plan)}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Decide, store the decision beside the summaries, and set the exit code."""
        records = self.find_records()
        if records is None or session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            self.text = "no decision, because the session ended early or ran no scenario"
            return
        try:
            release = decide_release(self.baseline, read_side("CANDIDATE", records), self.question)
        except UsageError as error:
            self.text, session.exitstatus = f"no decision: {error}", error.exit_code
            return
        write_json(records / "gate.json", release.as_json())
        self.text = render_text(release)
        if release.outcome is not Outcome.GO or release.allowed:
            session.exitstatus = EXIT_CODES[release.outcome]
        elif session.exitstatus:
            self.text += "a test failed, so the session fails"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the decision."""
        terminalreporter.section("release gate")
        terminalreporter.write_line(self.text.rstrip())


@dataclass(kw_only=True, eq=False)
class SessionHistory:
    """Plugin of pytest: adds the session's summaries to a history."""

    history: Path
    release: str | None
    """Version under test; None: that of the extension in the summaries."""
    find_records: FindRecords
    text: str = ""
    """What the session ends with."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add the summaries; where they cannot be added, a session that passed fails."""
        records = self.find_records()
        if records is None:
            self.text = "nothing was added, because no scenario was run"
            return
        try:
            added, _ = add_summaries(self.history, [records], self.release)
        except HitlessError as error:
            self.text = f"nothing was added: {error}"
            session.exitstatus = session.exitstatus or error.exit_code
            return
        self.text = f"{plural(added, 'summary', 'summaries')} added to {self.history}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was added."""
        terminalreporter.write_line(f"history: {self.text}")
