"""The sandbox: however a run ends, no process, mount, namespace or route is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clusters.linux.fence import wait_gone
from clusters.linux.namespaces import NETWORK_DIRECTORY, Clone, unshare
from clusters.linux.sandbox import enter_sandbox, is_inside, leave_mark_behind

PROGRAM = Path(__file__).with_name("lab_program.py")
LAB_NAMESPACES = 13
PATIENCE_S = 20.0
KILLS = 20
_PR_SET_CHILD_SUBREAPER = 36
_NOBODY = 65_534


def outside_environment() -> dict[str, str]:
    """Return an environment in which a program does not know that it is in a sandbox, and creates its own."""
    return leave_mark_behind(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}


def command(how: str) -> list[str]:
    return [sys.executable, str(PROGRAM), how]


def world() -> dict[str, str]:
    """State that a program could change: mounts, names of namespaces, links, routes, rules."""
    texts = {name: Path(f"/proc/self/{name}").read_text() for name in ("mounts", "net/dev", "net/route", "net/fib_trie")}
    texts["net/dev"] = " ".join(line.split(":")[0].strip() for line in texts["net/dev"].splitlines())  # not its counters
    return texts | {"netns": " ".join(path.name for path in NETWORK_DIRECTORY.iterdir())}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Adopt orphans while the test runs; afterwards none may be alive and the world must be as before."""
    wait_gone(PATIENCE_S)
    before = world()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
        wait_childless()
        assert before == world()
    finally:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def wait_childless() -> None:
    """Return when this process has no child, adopted ones included."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                select.select([], [], [], 0.005)
        except ChildProcessError:
            return
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    raise AssertionError(f"still alive: {children}")


def start(how: str, *, in_session_of_its_own: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        command(how),
        env=outside_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=in_session_of_its_own,
    )


def wait_up(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert f"up pid=1 namespaces={LAB_NAMESPACES}\n" == process.stdout.readline()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("how", "code", "last_words"), [("end", 0, ""), ("exit", 7, ""), ("raise", 1, "RuntimeError: as asked\n")]
)
def test_the_exit_code_comes_through(how: str, code: int, last_words: str) -> None:
    process = start(how)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (code, f"up pid=1 namespaces={LAB_NAMESPACES}\n") == (process.returncode, output)
    assert last_words == errors[-len(last_words) :] if last_words else not errors


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once_and_the_lab_is_taken_down(number: signal.Signals) -> None:
    process = start("wait")
    wait_up(process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (130, f"interrupted {number.name}\n", "") == (process.returncode, output, errors)


@pytest.mark.usefixtures("nothing_left")
def test_a_signal_to_the_whole_group_interrupts_once() -> None:
    process = start("wait", in_session_of_its_own=True)
    wait_up(process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (130, "interrupted SIGINT\n")


@pytest.mark.usefixtures("nothing_left")
def test_ctrl_c_at_the_terminal_interrupts_once() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, command("wait"), outside_environment())  # noqa: S606 - no shell is wanted
    output = read_until(terminal, b"up pid=1")
    os.write(terminal, b"\x03")
    output += read_until(terminal, b"interrupted SIGINT\r\n")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert output.count(b"interrupted") == 1
    assert b"Traceback" not in output


def read_until(descriptor: int, wanted: bytes, patience_s: float = PATIENCE_S) -> bytes:
    output = b""
    deadline = time.monotonic() + patience_s
    while wanted not in output and select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            output += os.read(descriptor, 4096)
        except OSError:  # the other end is closed
            break
    assert wanted in output
    return output


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_first_process_shows_as_killed() -> None:
    process = start("wait")
    wait_up(process)
    family(process.pid)[-1].kill()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL


class Relative:
    """A process of a program's tree, held by a descriptor, so that its number cannot be reused."""

    def __init__(self, number: int) -> None:
        self.descriptor = os.pidfd_open(number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)


def family(number: int) -> list[Relative]:
    """Return a process and its line of first children, as far as it exists now: P0, P1, P2."""
    found: list[Relative] = []
    with contextlib.suppress(OSError, IndexError):
        while True:
            found.append(Relative(number))
            number = int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
    return found


def in_user_namespace_of_its_own(test: Callable[[], None]) -> int:
    """Run `test` in a forked process with a user namespace of its own; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        user, group = os.geteuid(), os.getegid()
        unshare(Clone.USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        test()
        status = 0
    except BaseException as error:  # noqa: BLE001 - it has to be told before this process ends
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def kill_at_random_and_count() -> None:
    """Kill a random process of a run at a random moment, again and again; then prove that no namespace is left.

    The kernel counts the network namespaces that were made from a user namespace: with a limit of exactly what one run needs, a
    run succeeds only when every earlier namespace is gone. Source: namespaces(7), /proc/sys/user.
    """
    chance = random.Random(20_260)  # noqa: S311 - not for secrets
    before = world()
    for _ in range(KILLS):
        process = start("wait")
        # From before the fork of P1 until long after the lab is up (a loaded machine takes 0.5 s).
        select.select([], [], [], chance.uniform(0.0, 0.7))
        chance.choice(family(process.pid)).kill()
        process.communicate(timeout=PATIENCE_S)
        wait_childless()
    assert before == world()
    Path("/proc/sys/user/max_net_namespaces").write_text(str(LAB_NAMESPACES + 1))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        process = start("end")
        _, errors = process.communicate(timeout=PATIENCE_S)
        if process.returncode == 0:
            return
        assert "ENOSPC" in errors, errors
        assert time.monotonic() < deadline, errors


def test_kill_9_at_any_moment_leaves_nothing() -> None:
    wait_gone(PATIENCE_S)
    assert in_user_namespace_of_its_own(kill_at_random_and_count) == 0


def run_as_nobody(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python as a user without any privilege, by an interpreter that this user may run (root's own often lies in /root)."""
    packages = Path(np.__file__).parents[1]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(packages)])
    failures = []
    for interpreter in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                [interpreter, *arguments],
                env=outside_environment() | {"PYTHONPATH": paths},
                user=_NOBODY,
                group=_NOBODY,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            failures.append(str(error))
            continue
        if "PermissionError" not in done.stderr and "Permission denied" not in done.stderr:
            return done
        failures.append(done.stderr)
    pytest.skip(f"missing: a second user who may read the interpreter and the checkout: {'; '.join(failures)}")


@pytest.mark.usefixtures("nothing_left")
def test_an_ordinary_user_gets_the_same() -> None:
    done = run_as_nobody([str(PROGRAM), "end"])
    assert (0, f"up pid=1 namespaces={LAB_NAMESPACES}\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.usefixtures("nothing_left")
def test_an_ordinary_user_is_root_only_inside_and_the_host_is_left_alone() -> None:
    script = (
        "import os; from clusters.linux.sandbox import enter_sandbox; enter_sandbox()\n"
        "print(os.geteuid(), open('/proc/self/uid_map').read().split()[1:], os.path.exists('/run/netns'))\n"
    )
    assert f"0 ['{_NOBODY}', '1'] True\n" == run_as_nobody(["-c", script]).stdout


def be_refused() -> None:
    Path("/proc/sys/user/max_net_namespaces").write_text("0")
    script = (
        "import os\n"
        "from clusters.linux.sandbox import enter_sandbox, is_inside\n"
        "from hitless.errors import MissingCapabilityError\n"
        "before = os.getpid()\n"
        "try:\n    enter_sandbox()\n"
        "except MissingCapabilityError as error:\n    print(error, before == os.getpid(), is_inside())\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script], env=outside_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "ENOSPC" in done.stdout, done.stdout
    assert done.stdout.endswith("True False\n"), done.stdout
    wait_childless()


def test_a_refusal_is_raised_in_the_original_process() -> None:
    assert in_user_namespace_of_its_own(be_refused) == 0


def test_entering_twice_does_nothing() -> None:
    wait_gone(PATIENCE_S)
    before = world()
    assert is_inside()
    enter_sandbox()
    assert before == world()


def test_processes_that_share_a_sandbox_may_have_networks_of_their_own() -> None:
    script = (
        "import os, socket\n"
        "from clusters.linux.sandbox import enter_own_network, enter_sandbox, is_inside\n"
        "from clusters.lab.network import LabNetwork\n"
        "from clusters.lab.spec import LabSpec\n"
        "enter_sandbox()\n"
        "labs = [LabNetwork(LabSpec(zones=1, nodes_per_zone=2)) for _ in range(2)]\n"
        "labs[0].up()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    enter_own_network()\n"
        "    before = os.listdir('/run/netns')\n"
        "    labs[1].up()\n"
        "    print(before, is_inside(), os.listdir('/run/netns') != [], socket.if_nameindex()[0][1], flush=True)\n"
        "    labs[1].down()\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 'node-a1' in os.listdir('/run/netns'))\n"
        "labs[0].down()\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script], env=outside_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] True True lo\n0 True\n", "")


def test_iproute2_finds_the_namespaces_by_name() -> None:
    script = (
        "import subprocess\n"
        "from clusters.linux.sandbox import enter_sandbox\n"
        "from clusters.lab.network import LabNetwork\n"
        "from clusters.lab.spec import LabSpec\n"
        "enter_sandbox()\n"
        "lab = LabNetwork(LabSpec(zones=1, nodes_per_zone=1)); lab.up()\n"
        "subprocess.run(['ip', '-n', 'node-a1', '-o', 'link', 'show', 'tunl0'], check=True)\n"
        "subprocess.run(['ip', 'netns', 'exec', 'node-a1-mesh', 'ip', '-o', 'route', 'get', '100.96.0.3'], check=True)\n"
        "lab.down()\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script], env=outside_environment(), capture_output=True, text=True, check=False
    )
    if "No such file" in done.stderr and "'ip'" in done.stderr:
        pytest.skip("missing: ip (iproute2)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tunl0" in done.stdout
    assert "100.96.0.3 via 169.254.1.1 dev eth0" in done.stdout
