"""A program that a run starts: what it becomes, and that it does not outlive a harness that is killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.programs.process import Process, free_port
from hitless.clock import wait_until
from hitless.errors import WorldError

HARNESS = """
import signal, sys
from pathlib import Path
from clusters.programs.process import Process
process = Process("sleeper", ["sleep", "600"], Path(sys.argv[1]))
print(process.pid, flush=True)
signal.pause()
"""


def command_of(pid: int) -> str:
    """Return the command line of a process; empty: it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ").strip()
    except OSError:
        return ""


def test_it_ends_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HARNESS, str(tmp_path)]
    harness = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - fixed words
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    wait_until(lambda: command_of(pid) == "sleep 600", timeout_s=20, poll_s=0.01, unmet="the program was not started")
    harness.send_signal(signal.SIGKILL)
    harness.communicate()
    wait_until(lambda: command_of(pid) == "", timeout_s=20, poll_s=0.01, unmet="the program outlived its harness")


def test_it_is_not_started_for_a_harness_that_is_gone(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    bound = [sys.executable, "-m", "clusters.linux.bound", "1", "touch", str(mark)]
    done = subprocess.run(bound, check=False, timeout=60)  # noqa: S603 - fixed words
    assert done.returncode == 128 + signal.SIGKILL
    assert not mark.exists()


def test_one_that_cannot_be_started_is_named_with_the_reason(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program", encoding="utf-8")
    program.chmod(0o755)
    process = Process("broken", [str(program)], tmp_path)

    def has_ended() -> bool:
        try:
            process.check()
        except WorldError:
            return True
        return False

    wait_until(has_ended, timeout_s=20, poll_s=0.01, unmet="it still runs")
    with pytest.raises(WorldError, match=r"broken ended with exit code 127(.|\n)*cannot start .*: Exec format error"):
        process.check()


def test_a_port_is_given_once_and_never_one_that_the_kernel_gives_to_connections() -> None:
    with socket.socket() as listener:
        taken = free_port()
        listener.bind(("127.0.0.1", taken + 1))
        ports = [taken, *(free_port() for _ in range(50))]
    assert taken + 1 not in ports
    assert len(set(ports)) == len(ports)
    assert all(port < 32_768 for port in ports)
