"""Labs that outlive their command: one detached process each, found by a state file.

`hitless lab up` starts a holder, which enters a sandbox, brings the lab up and waits. Its state file is in $XDG_RUNTIME_DIR or
the directory for temporary files. The holder keeps it locked (flock), and the kernel releases the lock when the holder's last
process ends: a file that can be locked has no living owner. A dead holder leaves only that file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.namespaces import NETWORK_DIRECTORY, Clone, open_namespace, set_namespace
from clusters.linux.processes import read_start
from clusters.linux.sandbox import enter_sandbox, leave_mark_behind, mark_inside
from hitless.errors import HitlessError, UsageError, WorldError
from hitless.words import JsonObject

DEFAULT_NAME: Final = "lab"
_START_TIMEOUT_S: Final = 120
_STOP_TIMEOUT_S: Final = 20
_READY: Final = b"up"
_ANSWER_OCTETS: Final = 65_536
_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: PID, UID, GID. The kernel translates the PID into the receiver's PID namespace. Source: unix(7)."""
_NAME_ALLOWED: Final = "letters, digits, - and _, at most 40"
_NAME_LENGTH_MAX: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A state file and its owner."""

    name: str
    path: Path
    """The state file."""
    is_alive: bool
    """Whether a process holds the file locked."""
    process: int | None
    """PID of the lab's first process, as seen from here; None: dead, or not up yet."""
    started_ticks: int | None
    """Its start time since boot in clock ticks: together with the PID it identifies one process. Source: proc(5), field 22."""
    spec: LabSpec | None
    """The lab that it holds; None as above."""


def start_holder(spec: LabSpec, name: str = DEFAULT_NAME) -> Holder:
    """Bring a lab up in its own process and return once it is up.

    Raises:
        UsageError: the name is invalid, or a lab of that name is up.
        WorldError: the lab did not come up; nothing is left behind.
    """
    path = _state_path(name)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.settimeout(_START_TIMEOUT_S)
        with theirs:
            command = [sys.executable, "-m", "clusters.lab.holder", str(path), json.dumps(asdict(spec)), str(theirs.fileno())]
            process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                env=leave_mark_behind(os.environ),
                cwd=Path(__file__).parents[2],
            )
        try:
            answer, ancillary, _, _ = ours.recvmsg(_ANSWER_OCTETS, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BaseException as error:
            process.kill()
            process.wait()
            if isinstance(error, TimeoutError):
                raise WorldError(f"the lab was not up after {_START_TIMEOUT_S} s") from error
            raise
    if answer != _READY:
        process.wait()
        raise WorldError(answer.decode() or f"the lab's process ended with exit code {process.returncode}")
    process.returncode = 0  # it outlives this process, which must not wait for it
    first = _CREDENTIALS.unpack(ancillary[0][2])[0]
    state = {"process": first, "started_ticks": read_start(first), "spec": asdict(spec)}
    path.write_text(json.dumps(state), encoding="utf-8")
    return find_holder(name)


def list_holders() -> tuple[Holder, ...]:
    """Return all state files of this user by name, including those of dead owners."""
    directory = _state_directory()
    if not directory.is_dir():
        return ()
    return tuple(_read_holder(path) for path in sorted(directory.glob("*.json")))


def find_holder(name: str = DEFAULT_NAME, advice: str = "start one with `hitless lab up`") -> Holder:
    """Return the living holder of that name. Raises UsageError: it is not up; the advice is for when none is."""
    living = {holder.name: holder for holder in list_holders() if holder.is_alive}
    if name not in living:
        which = f"the labs that are up: {', '.join(living)}" if living else advice
        raise UsageError(f"no lab named {name} is up; {which}")
    return living[name]


def stop_holder(holder: Holder) -> None:
    """End a holder with its lab and everything that runs in it, and remove its state file.

    Raises WorldError: it is not up yet, or does not end.
    """
    if holder.is_alive:
        descriptor = _open_process(holder)
        try:
            for number, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _STOP_TIMEOUT_S)):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], patience_s)[0]:
                    break
            else:
                raise WorldError(f"the process {holder.process} of the lab {holder.name} does not end; kill it")
        finally:
            os.close(descriptor)
    holder.path.unlink(missing_ok=True)


def clean_holders() -> tuple[Holder, ...]:
    """Remove the state files of dead owners; return them."""
    dead = tuple(holder for holder in list_holders() if not holder.is_alive)
    for holder in dead:
        holder.path.unlink(missing_ok=True)
    return dead


def execute_inside(holder: Holder, namespace: str, arguments: Sequence[str]) -> int:
    """Run a program inside a namespace of a lab, on this terminal, and return its exit code (128+n: ended by signal n).

    Raises:
        UsageError: the lab has no such namespace, or no program is named.
        WorldError: the lab is gone.
    """
    if holder.spec is None:
        raise WorldError(f"the lab {holder.name} is not up")
    names = LabNetwork(holder.spec).namespaces
    if namespace not in names:
        raise UsageError(where="lab exec", place="namespace", found=namespace, expected=", ".join(names))
    if not arguments:
        raise UsageError(where="lab exec", place="command", found="nothing", expected="a program and its arguments")
    process, there = _open_process(holder), Path.cwd()
    child = os.fork()
    if child == 0:
        os._exit(_join_and_run(process, holder, namespace, arguments, there))
    os.close(process)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.signal(signal.SIGINT, before)


def _join_and_run(process: int, holder: Holder, namespace: str, arguments: Sequence[str], there: Path) -> int:
    """In a forked child: join the lab's namespaces, run the program, return the exit code."""
    try:
        kinds = Clone.MOUNT | Clone.PID
        if Path(f"/proc/{holder.process}/ns/user").readlink() != Path("/proc/self/ns/user").readlink():
            kinds |= Clone.USER  # entering the own one again is refused. Source: setns(2)
        set_namespace(process, kinds)
        with open_namespace(NETWORK_DIRECTORY / namespace) as network:
            set_namespace(network, Clone.NETWORK)
        with contextlib.suppress(OSError):
            os.chdir(there)
        # Only children enter a PID namespace.
        child = os.fork()
        if child == 0:
            mark_inside()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvp(arguments[0], list(arguments))  # noqa: S606 - no shell is wanted
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except (OSError, WorldError) as error:
        sys.stderr.write(f"hitless: {arguments[0]}: {error}\n")
        sys.stderr.flush()
        return 127
    return code if code >= 0 else 128 - code


def _open_process(holder: Holder) -> int:
    """Return a descriptor of the holder's process. Raises WorldError: it is gone, or not up yet."""
    if holder.process is None:
        raise WorldError(f"the lab {holder.name} is not up yet")
    try:
        descriptor = os.pidfd_open(holder.process)
    except OSError as error:
        raise WorldError(f"the lab {holder.name} is gone") from error
    if read_start(holder.process) != holder.started_ticks:
        os.close(descriptor)
        raise WorldError(f"the lab {holder.name} is gone: its process id belongs to another process now")
    # A zombie still has its number and its start time, but no namespaces.
    if select.select([descriptor], [], [], 0)[0]:
        os.close(descriptor)
        raise WorldError(f"the lab {holder.name} is gone")
    return descriptor


def _state_directory() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"hitless-{os.getuid()}"


def _state_path(name: str) -> Path:
    """Return the state file's path in a directory that belongs to this user alone. Raises UsageError, WorldError."""
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > _NAME_LENGTH_MAX:
        raise UsageError(where="lab", place="name", found=repr(name), expected=_NAME_ALLOWED)
    directory = _state_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = directory.lstat()
    if owner.st_uid != os.getuid() or directory.is_symlink():
        raise WorldError(f"{directory} belongs to another user; remove it or set XDG_RUNTIME_DIR")
    path = directory / f"{name}.json"
    if path.exists() and _read_holder(path).is_alive:
        raise UsageError(f"a lab named {name} is already up; use another name, or stop it with `hitless lab down`")
    return path


def _read_holder(path: Path) -> Holder:
    try:
        with path.open("rb") as file:
            is_alive = not _try_lock(file.fileno())
            content = file.read()
    except OSError:
        is_alive, content = False, b""
    state: JsonObject = {}
    if is_alive:
        # Empty: the lab is being brought up.
        with contextlib.suppress(ValueError):
            state = json.loads(content)
    process, started, spec = (state.get(key) for key in ("process", "started_ticks", "spec"))
    return Holder(
        name=path.stem,
        path=path,
        is_alive=is_alive,
        process=process if isinstance(process, int) else None,
        started_ticks=started if isinstance(started, int) else None,
        spec=TypeAdapter(LabSpec).validate_python(spec) if isinstance(spec, dict) else None,
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hold(path: Path, spec: LabSpec, channel: socket.socket) -> None:
    """Run the holder: lock the state file, bring the lab up, report it, and wait for the end."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _try_lock(lock):
        raise UsageError(f"a lab named {path.stem} is already up; use another name, or stop it with `hitless lab down`")
    os.truncate(lock, 0)
    enter_sandbox()
    lab = LabNetwork(spec)
    try:
        lab.up()
        channel.send(_READY)
        channel.close()
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        lab.down()


def _main() -> int:
    path, document, descriptor = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    with socket.socket(fileno=descriptor) as channel:
        try:
            _hold(path, TypeAdapter(LabSpec).validate_python(document), channel)
        except (HitlessError, OSError) as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                channel.send(str(error).encode()[:_ANSWER_OCTETS])
            return WorldError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
