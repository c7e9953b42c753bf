"""The sandbox: own mount, PID and network namespaces, so that the kernel cleans up in every case.

    P0  the process that was started: waits, forwards signals to its child and returns the child's exit code
    P1  makes the namespaces, and waits likewise (a process cannot move itself into a new PID namespace, only its children)
    P2  PID 1 of that namespace: returns from `enter_sandbox` and runs the program

When P2 ends, the kernel kills everything in its PID namespace. With the last process the mounts go, with the last mount the
network namespaces. If P0 or P1 is killed (kill -9), the kernel kills its child: each process asks for SIGKILL at its parent's
death, and a pipe whose other end only the parent holds shows whether the parent had died before that.

Without root a user namespace is entered as well. That needs a process with one thread. Existing threads of numpy do not survive
the fork; the numerical libraries start new ones in the child.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from clusters.linux.interrupts import ENDING_SIGNALS, listen_to_signals
from clusters.linux.namespaces import NETWORK_DIRECTORY, Clone, Mount, die_with_parent, mount, unshare
from hitless.errors import MissingCapabilityError, WorldError, attempting

_MARK: Final = "HITLESS_SANDBOX"
"""Environment variable that holds the link of the sandbox's PID namespace; programs started inside inherit it."""
_OWN_PID_NAMESPACE: Final = Path("/proc/self/ns/pid")
_WAITED_FOR: Final = ENDING_SIGNALS | {signal.SIGCHLD}
_SIOCSIFFLAGS: Final = 0x8914
"""Source: linux/sockios.h."""
_IFF_UP: Final = 0x1


def is_inside() -> bool:
    """Return whether this process runs in a sandbox (its own or one that it was started in)."""
    return os.environ.get(_MARK) == str(_OWN_PID_NAMESPACE.readlink())


def mark_inside() -> None:
    """Note in the environment that this process is in a sandbox; for processes that joined one by its descriptors."""
    os.environ[_MARK] = str(_OWN_PID_NAMESPACE.readlink())


def leave_mark_behind(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a program that makes its own sandbox."""
    return {name: value for name, value in environment.items() if name != _MARK}


def enter_sandbox() -> None:
    """Enter the sandbox; call it once, early, from the main thread. Inside one it does nothing.

    From here on SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does: PID 1 ignores signals that it has no handler for.
    Raises MissingCapabilityError: the kernel refuses the namespaces. Raised in the original process; nothing was changed.
    """
    if is_inside():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    answer, question = os.pipe()
    child, lifeline = _fork_bound()
    if child:
        os.close(question)
        with os.fdopen(answer, "rb") as pipe:
            refusal = pipe.read().decode()
        if not refusal:
            _attend(child)
        os.waitpid(child, 0)
        os.close(lifeline)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise MissingCapabilityError(f"{refusal}; run `hitless doctor` to see how to allow namespaces")
    os.close(answer)
    _descend(lifeline, question)
    os.close(question)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    listen_to_signals()


def enter_own_network() -> None:
    """Give this thread and its children their own network and named namespaces inside the present sandbox.

    So several processes share one sandbox and its end, and none sees the namespaces of another. Nothing is forked: a process
    with other threads may call it, as long as those do not use the network. Raises WorldError: the kernel refused.
    """
    unshare(Clone.MOUNT | Clone.NETWORK)
    _furnish_network()


def isolate_thread(kinds: Clone = Clone.MOUNT | Clone.PID | Clone.NETWORK) -> None:
    """Unshare namespaces of these kinds; without privilege, also the user namespace.

    Raises WorldError: the kernel refuses, or the process has several threads and no privilege.
    """
    if os.geteuid() == 0:
        # Root in a container may lack CAP_SYS_ADMIN; then it needs a user namespace, too.
        with contextlib.suppress(WorldError):
            unshare(kinds)
            return
    user, group = os.geteuid(), os.getegid()
    unshare(Clone.USER)
    with attempting(f"map user {user} and group {group} into a user namespace"):
        # Without privilege setgroups must be given up before the group may be mapped. Source: user_namespaces(7).
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    unshare(kinds)


def _descend(lifeline: int, question: int) -> None:
    """Run P1: make the namespaces and fork P2, which prepares them and returns. A refusal is written into `question`."""
    try:
        isolate_thread()
        _bind_to_parent(lifeline)  # again: a new user namespace changes credentials, and that resets the death signal
        child, _ = _fork_bound()
        if child:
            os.close(question)
            _attend(child)
        _furnish()
    except (WorldError, OSError) as error:
        os.write(question, str(error).encode())
        os._exit(WorldError.exit_code)


def _fork_bound() -> tuple[int, int]:
    """Fork a child that dies with this process.

    Returns:
        In the parent (child's PID, its own end of the lifeline); in the child (0, the end that it watches).
    """
    watched, held = os.pipe()
    child = os.fork()
    if child:
        os.close(watched)
        return child, held
    os.close(held)
    _bind_to_parent(watched)
    return 0, watched


def _bind_to_parent(lifeline: int) -> None:
    die_with_parent(signal.SIGKILL)
    # The parent may have died before the line above: then its end of the pipe is closed already.
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(128 + signal.SIGKILL)


def _attend(child: int) -> NoReturn:
    """Wait for the child, forward signals from other processes, and end as it ends.

    A signal from the terminal (si_code SI_KERNEL) has already reached the child, which is in the same foreground group.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored children leave no exit status
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _end_like(status)
        caught = signal.sigwaitinfo(_WAITED_FOR)
        if caught.si_signo in ENDING_SIGNALS and caught.si_code <= 0:  # SI_USER, SI_QUEUE, SI_TKILL. Source: sigaction(2)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, caught.si_signo)


def _end_like(status: int) -> NoReturn:
    """End this process as the child with that wait status ended, without Python's exit handlers."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os._exit(os.waitstatus_to_exitcode(status) % 256)


def _furnish() -> None:
    """Prepare P2's namespaces: private mounts, its own /proc and /run/netns, a loopback that is up."""
    mount("none", Path("/"), None, Mount.RECURSIVE | Mount.PRIVATE)
    # If a container hides parts of /proc, the kernel refuses a new one. The old one suffices, because nothing here looks up
    # another process by its number.
    with contextlib.suppress(WorldError):
        mount("proc", Path("/proc"), "proc", Mount.NO_SUID | Mount.NO_DEV | Mount.NO_EXEC)
    _furnish_network()
    mark_inside()


def _furnish_network() -> None:
    """Make an empty /run/netns, visible here only, and a loopback that is up."""
    _make_network_directory()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loopback:
        fcntl.ioctl(loopback, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _make_network_directory() -> None:
    """Mount an empty tmpfs at /run/netns, visible here only.

    If the host has no such directory, none may be made there: then a tmpfs covers /run, and all its entries are bound into the
    new one.
    """
    options = "mode=755"
    if not NETWORK_DIRECTORY.is_dir():
        run = NETWORK_DIRECTORY.parent
        covered = os.open(run, os.O_PATH | os.O_DIRECTORY)
        mount("tmpfs", run, "tmpfs", Mount.NO_SUID | Mount.NO_DEV, options)
        with os.scandir(f"/proc/self/fd/{covered}") as entries:
            for entry in entries:
                _bind_entry(entry, run / entry.name)
        os.close(covered)
        NETWORK_DIRECTORY.mkdir()
    mount("tmpfs", NETWORK_DIRECTORY, "tmpfs", Mount.NO_SUID | Mount.NO_DEV, options)


def _bind_entry(entry: os.DirEntry[str], target: Path) -> None:
    """Bind one directory, file or socket of the covered /run at `target`; copy a symbolic link."""
    if entry.is_symlink():
        target.symlink_to(Path(entry.path).readlink())
        return
    if entry.is_dir():
        target.mkdir()
    else:
        target.touch()
    # An entry that cannot be bound (another user's, without root) stays empty.
    with contextlib.suppress(WorldError):
        mount(entry.path, target, None, Mount.BIND | Mount.RECURSIVE)
