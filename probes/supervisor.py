"""Agent supervisor: the first process of a prober pod.

It runs one process with all agents of the pod, and takes JSON requests through `kubectl exec` (`probes.pod`).

| request | answer |
|---|---|
| `{"do": "clock"}` | clock (`read_clock_id`), monotonic_ns |
| `{"do": "start", "settings": [{...}, ...]}` | agents: their names; `directory` is the supervisor's; old files go |
| `{"do": "look"}` | process: states that it reported, code (exit code; null: it lives), complaint; null: none was started |
| `{"do": "order", "order": {...}}` | of `probes.lifeline`, handed to the process |
| `{"do": "list"}` | files: name to size in octets, holes at the end cut off |
| `{"do": "read", "name": ..., "offset": ..., "octets": ...}` | content: zlib, base64 |
| `{"do": "inspect"}` | of `probes.netlink`: meant for a pod in the node's own network namespace |

A request that cannot be met is answered with `{"error": ...}`. Requests come through the API server and the kubelet, by the
nodes' own addresses, never over the pod network that is being measured. A stream may break at any time: the agents go on, and
their records stay in DIRECTORY until they are fetched. Everything goes through a Unix socket in DIRECTORY; no port is open.

SIGTERM ends the supervisor, and the supervisor ends its agents.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from hitless.errors import HitlessError, UsageError, WorldError, attempting
from hitless.records import trim
from probes.clocks import read_clock_id
from probes.netlink import read_node_state
from probes.pod import SOCKET, read_line
from probes.settings import parse_settings, write_document

STATES: Final = "process.states"
COMPLAINT: Final = "process.stderr"
"""The states that the agents' process has reported, and its error output."""
SETTINGS: Final = ".settings"
"""AGENT.settings has the settings of an agent."""
_OURS: Final = frozenset({Path(STATES).suffix, Path(COMPLAINT).suffix, SETTINGS, Path(SOCKET).suffix})
"""How the names of the supervisor's own files end; the others are the agents'."""
PIECE_OCTETS_MAX: Final = 8 << 20
"""Largest piece of a file that one answer holds."""
_COMPLAINT_OCTETS: Final = 2000
_PATIENCE_S: Final = 10.0
"""Time after which a peer that does not finish its line, or a process that does not end, is given up."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,160}")

Document = dict[str, Any]


class Supervisor:
    """Starts, watches and ends the process of one run's agents, as requests say; their records go to a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, request: object) -> Document:
        """Carry out a request and return the answer; an error is also an answer."""
        deeds: dict[str, Callable[[Document], Document]] = {
            "clock": self._clock,
            "start": self._start,
            "look": self._look,
            "order": self._order,
            "list": self._list,
            "read": self._read,
            "inspect": lambda _: read_node_state(),
        }
        try:
            if not isinstance(request, dict) or request.get("do") not in deeds:
                raise UsageError(where="request", place="do", found=str(request)[:100], expected=", ".join(deeds))
            return deeds[request["do"]](request)
        except HitlessError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"{error.filename or self._directory}: {error.strerror or error}"}

    def close(self) -> None:
        """End the agents: ask, wait, kill."""
        self._tell(b'{"order": "end"}\n')
        if self._process is None:
            return
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _clock(self, _: Document) -> Document:
        return {"clock": read_clock_id(), "monotonic_ns": time.monotonic_ns()}

    def _start(self, request: Document) -> Document:
        given = request.get("settings")
        if not isinstance(given, list) or not given:
            raise UsageError(
                where="request", place="settings", found=str(given)[:100], expected="a list with one entry per agent"
            )
        documents = [{**one, "directory": str(self._directory)} if isinstance(one, dict) else one for one in given]
        settings = [parse_settings(one, where="settings") for one in documents]
        if self._is_running():
            raise WorldError("the agents are already running; end them first")
        self._forget()
        paths = [self._directory / f"{one.agent}{SETTINGS}" for one in settings]
        for path, one in zip(paths, settings, strict=True):
            write_document(path, one.as_json())
        with (self._directory / STATES).open("wb") as stdout, (self._directory / COMPLAINT).open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of this project
                [sys.executable, "-s", "-P", "-m", "probes.agent", *map(str, paths)],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
            )
        return {"agents": [one.agent for one in settings]}

    def _forget(self) -> None:
        """Remove the remains of an earlier run."""
        self._process = None
        for path in self._directory.iterdir():
            if path.name != SOCKET and path.is_file():
                path.unlink()

    def _look(self, _: Document) -> Document:
        states, complaint = self._directory / STATES, self._directory / COMPLAINT
        if not states.exists():
            return {"process": None}
        said = states.read_text(encoding="utf-8").split("\n")[:-1]
        # After a restart the supervisor no longer holds the process that reported these states.
        code = self._process.poll() if self._process else -signal.SIGKILL
        tail = complaint.read_bytes()[-_COMPLAINT_OCTETS:].decode(errors="replace").strip() if complaint.exists() else ""
        return {"process": {"states": [json.loads(line)["state"] for line in said], "code": code, "complaint": tail}}

    def _order(self, request: Document) -> Document:
        self._tell(json.dumps(request.get("order")).encode() + b"\n")
        return {}

    def _tell(self, line: bytes) -> None:
        """Write a line to the agents' process; a process that has ended needs no orders."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def _list(self, _: Document) -> Document:
        files = [path for path in sorted(self._directory.iterdir()) if path.is_file() and path.suffix not in _OURS]
        for path in files:
            if path.suffix == ".sender" and not self._is_running():
                trim(path)
        return {"files": {path.name: path.stat().st_size for path in files}}

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _read(self, request: Document) -> Document:
        name, offset, octets = (request.get(key) for key in ("name", "offset", "octets"))
        if not isinstance(name, str) or not _NAME.fullmatch(name) or Path(name).suffix in _OURS:
            raise UsageError(
                where="request", place="name", found=repr(name)[:100], expected="the name of a file that `list` returns"
            )
        if type(offset) is not int or type(octets) is not int or offset < 0 or not 0 < octets <= PIECE_OCTETS_MAX:
            allowed = f"an offset from 0 and 1 to {PIECE_OCTETS_MAX} octets"
            raise UsageError(where="request", place="offset, octets", found=f"{offset!r}, {octets!r}"[:100], expected=allowed)
        with (self._directory / name).open("rb") as file:
            file.seek(offset)
            content = file.read(octets)
        return {"content": base64.b64encode(zlib.compress(content, 1)).decode()}


def serve(directory: str) -> None:
    """Answer requests until SIGTERM. Raises WorldError: the directory cannot be used."""
    stopping, writer = os.pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def stop(_number: int, _frame: FrameType | None) -> None:
        os.write(writer, b".")

    signal.signal(signal.SIGTERM, stop)
    with attempting(f"serve in {directory}"):
        os.chdir(directory)  # the path of a Unix socket has 108 octets: it is named from here
        Path(SOCKET).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(SOCKET)
        Path(SOCKET).chmod(0o600)
        listener.listen()
    supervisor = Supervisor(Path.cwd())
    with listener:
        while stopping not in select.select([stopping, listener.fileno()], [], [])[0]:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE_S)
                connection.sendall(_answer_line(supervisor, read_line(connection)))
    supervisor.close()
    Path(SOCKET).unlink(missing_ok=True)


def _answer_line(supervisor: Supervisor, line: bytes) -> bytes:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    return json.dumps(supervisor.answer(request)).encode() + b"\n"
