"""A session that a signal ends: pytest's own report of it must not fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_session(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    own = ("-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={path.parent}", "-o", "addopts=")
    command = [sys.executable, "-m", "pytest", *options, *own, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - built above


BETWEEN_TWO_LINES = """
import types

def interrupted():
    raise KeyboardInterrupt

def test_nothing():
    types.FunctionType(interrupted.__code__.replace(co_linetable=b""), {"KeyboardInterrupt": KeyboardInterrupt})()
"""
"""A frame without a line number, as CPython leaves it when the signal meets an instruction of no line."""


def test_an_interrupt_between_two_lines_ends_a_session_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "test_interrupted.py"
    path.write_text(BETWEEN_TWO_LINES, encoding="utf-8")
    ended = run_session(path, "-p", "conftest")
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 2, ended


IN_AN_OLD_WRAPPER = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    yield
    raise KeyboardInterrupt
"""
"""A plugin's hook wrapper of pluggy's old style, which the signal meets after its yield."""


def test_an_interrupt_that_meets_an_old_hook_wrapper_ends_a_session_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(IN_AN_OLD_WRAPPER, encoding="utf-8")
    path = tmp_path / "test_nothing.py"
    path.write_text("def test_nothing(): pass", encoding="utf-8")
    ended = run_session(path, "-c", "pyproject.toml")
    assert "INTERNALERROR" not in ended.stdout
    assert ended.returncode == 2, ended


IN_PYDANTIC = """
from pydantic_core import SchemaError

def test_settings():
    raise SchemaError("Error building enum validator: KeyboardInterrupt: SIGINT")

def test_next():
    pass
"""
"""What is left of an interrupt that meets the core of pydantic."""


def test_an_interrupt_that_became_another_error_ends_a_session_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "test_interrupted.py"
    path.write_text(IN_PYDANTIC, encoding="utf-8")
    ended = run_session(path, "-p", "conftest")
    assert "1 passed" not in ended.stdout
    assert ended.returncode == 2, ended


IN_A_FINALISER = """
import signal, threading
from clusters.linux.interrupts import listen_to_signals

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

listen_to_signals()
try:
    Last()
    threading.Event().wait(20)
except KeyboardInterrupt as interrupt:
    print(interrupt)
"""


def test_an_interrupt_that_meets_a_finaliser_is_sent_again() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_A_FINALISER], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert (ended.stdout, ended.stderr, ended.returncode) == ("SIGTERM\n", "", 0)
