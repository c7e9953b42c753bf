"""The live view of a session of the suites, on the real standard error: pytest captures the one that tests write to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from commands.live import LiveView


class SessionLive:
    """Plugin of pytest, in the process that started the session.

    Args:
        config: of the session.
        find_records: returns the session's folder; None: no arm was run yet.
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
