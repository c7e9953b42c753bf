"""Whatever ends a comparison or a suite session, at whatever moment: nothing is left, and what was stored says what it is."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.test_sandbox import (
    in_user_namespace_of_its_own,
    nothing_left,
    outside_environment,
    read_until,
    wait_childless,
    world,
)
from tests.lab.test_suite_options import PLUGINS

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
MOMENTS = 3
"""For each kind of end."""
LATEST_S = 4.5
"""About when the first of two runs ends."""
NAMESPACES_MAX = 30
"""What one comparison needs (its lab of 13 and those in which it tries the machine, measured: 21 to 26), and no lab more."""
COMPARE = ("-m", "commands.main", "compare", "--scenario", "nothing-happens", "--trials", "1", "--rate", "20")
ONE_ARM = ("-m", "commands.main", "compare", "--scenario", "mutant-first-node", "--trials", "1", "--rate", "20")
SUITES = ("-m", "pytest", str(ROOT / "suites"), "-v", *PLUGINS, "--scenario", "nothing-happens")
_KEPT = nothing_left  # a fixture

End = Callable[[subprocess.Popen[str]], None]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start one of our programs in a process group of its own, as a shell does."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        env=outside_environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def interrupt_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


def random_moments(seed: str) -> list[float]:
    """One moment of each part of the run, so that bring-up, probing and validation all get theirs."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    return [LATEST_S * (part + chance.random()) / MOMENTS for part in range(MOMENTS)]


def end_at(moment_s: float, how: End, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    assert process.stdout is not None
    select.select([process.stdout], [], [], moment_s)
    how(process)
    output, errors = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def assert_readable_or_said(output: Path) -> None:
    """`hitless judge` gives a verdict, or says in one line why it cannot."""
    directories = [path for path in output.iterdir() if not path.is_symlink()] if output.exists() else []
    for directory in directories:
        judged = run("-m", "commands.main", "judge", str(directory))
        assert judged.returncode in {0, 2, 20}, judged.stderr
        assert judged.stderr.count("\n") == (0 if judged.stdout else 1), judged.stderr
        assert "Traceback" not in judged.stderr


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("how", [interrupt_group, interrupt, terminate])
def test_an_interrupted_comparison_says_so_and_leaves_nothing(how: End, tmp_path: Path) -> None:
    for number, moment_s in enumerate(random_moments(how.__name__)):
        output = tmp_path / str(number)
        ended = end_at(moment_s, how, *COMPARE, "--output", str(output))
        wait_childless()
        if output.exists():
            has_finished = "report: " in ended.stdout
            assert ended.returncode == 130 or (has_finished and ended.returncode in {20, 130}), (moment_s, ended)
            assert "Traceback" not in ended.stderr, (moment_s, ended.stderr)
        else:
            # So early, Python itself has not come to the program yet; it says 1 for an interrupt while it imports `site`.
            is_before_program = ended.returncode == 1 and "init_import_site" in ended.stderr
            assert is_before_program or ended.returncode in {130, -signal.SIGINT, -signal.SIGTERM}, (moment_s, ended)
        assert_readable_or_said(output)


def kill_comparisons(output: Path) -> None:
    """Kill at random moments; then prove that no network namespace is left (see test_sandbox.kill_at_random_and_count)."""
    before = world()
    for number, moment_s in enumerate(random_moments("kill")):
        ended = end_at(moment_s, subprocess.Popen.kill, *COMPARE, "--output", str(output / str(number)))
        assert ended.returncode in {-signal.SIGKILL, 20}, (moment_s, ended)
        wait_childless()
        assert_readable_or_said(output / str(number))
    assert before == world()
    Path("/proc/sys/user/max_net_namespaces").write_text(str(NAMESPACES_MAX))
    for _ in range(20):  # the kernel frees namespaces a moment after their last process
        done = run(*ONE_ARM, "--output", str(output / "whole"))
        if "ENOSPC" not in done.stderr:
            break
    assert "report: " in done.stdout, done.stderr


def test_kill_9_of_a_comparison_leaves_nothing(tmp_path: Path) -> None:
    assert in_user_namespace_of_its_own(lambda: kill_comparisons(tmp_path)) == 0


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
@pytest.mark.parametrize(("how", "code"), [(interrupt_group, 2), (terminate, 2), (subprocess.Popen.kill, -signal.SIGKILL)])
def test_an_interrupted_suite_session_leaves_nothing(how: End, code: int, workers: tuple[str, ...], tmp_path: Path) -> None:
    process = start(*SUITES, f"--output={tmp_path}", *workers)
    assert process.stdout is not None
    read_until(process.stdout.fileno(), b"test_switch[nothing-happens", PATIENCE_S)  # the first arm begins
    how(process)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, (output, errors)
