"""`pytest suites/ --history DIR`: the session's summaries are added to the history at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands.history_files import add_summaries
from hitless.errors import HitlessError
from hitless.plural import plural


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
            self._text = "nothing was added: no scenario was run"
            return
        try:
            added, _ = add_summaries(self._history, [records], self._release)
        except HitlessError as error:
            self._text = f"nothing was added: {error}"
            session.exitstatus = session.exitstatus or error.exit_code
            return
        self._text = f"{plural(added, 'summary', 'summaries')} added to {self._history}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was added."""
        terminalreporter.write_line(f"history: {self._text}")
