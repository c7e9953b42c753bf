"""Other programs, for comparison: found on PATH, run inside a namespace, limited in time and always ended.

A program that is missing or does not work is skipped, and every table shows the reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clusters.linux.namespaces import inside
from hitless.clock import came_true
from hitless.errors import MissingCapabilityError, WorldError

PACKAGES: Final = {
    "fping": "fping",
    "irtt": "irtt",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "mn": "mininet",
}
"""Program to the Debian package that has it; `make bench-peers` installs them all."""
_PLACES: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where an ordinary user's PATH does not lead."""
_END_S: Final = 5.0
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended, and what CPU it took from start to end."""

    code: int
    user_s: float
    system_s: float


def find_program(name: str) -> str:
    """Return the path of a program. Raises MissingCapabilityError: it is not installed."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES)))
    if found is None:
        raise MissingCapabilityError(
            f"{name} is not installed (apt-get install {PACKAGES.get(name, name)}, or make bench-peers)"
        )
    return found


class Program:
    """One run of a program; a context manager, which ends it.

    Args:
        arguments: the program, by its name or its path, then its arguments.
        output: where its stdout and stderr go, both.
        namespace: file of the network namespace that it runs in; None: the present one.

    Raises:
        MissingCapabilityError: it is not installed.
        WorldError: it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], output: Path, namespace: Path | None = None) -> None:
        self.name, self._output = arguments[0], output
        command = [find_program(arguments[0]), *arguments[1:]]
        where = inside(namespace) if namespace else contextlib.nullcontext()
        try:
            with output.open("wb") as file, where:
                self._process = subprocess.Popen(  # noqa: S603 - a fixed list of words
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"LC_ALL": "C"},
                    process_group=0,  # Ctrl-C is for the bench, which ends it
                )
        except OSError as error:
            raise WorldError(f"cannot start {self.name}: {error.strerror}") from error
        self._ended: Ended | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._look() is None

    def wait(self, timeout_s: float, allowed: Collection[int] = (0,)) -> Ended:
        """Return when it has ended on its own.

        Raises:
            WorldError: it did not in time (it is killed then), or it ended with another exit code than is allowed.
        """
        if not came_true(lambda: self._look() is not None, timeout_s=timeout_s, poll_s=_POLL_S):
            self.end(signal.SIGKILL)
            raise WorldError(f"{self.name} did not end within {timeout_s:g} s{self._complaint()}")
        ended = self.end()
        if ended.code not in allowed:
            raise WorldError(f"{self.name} ended with exit code {ended.code}{self._complaint()}")
        return ended

    def wait_text(self, wanted: str, timeout_s: float) -> None:
        """Return when it has printed this. Raises WorldError: it did not in time, or it ended before."""

        def has_said() -> bool:
            if wanted in self.text:
                return True
            if self._look() is not None:
                raise WorldError(f"{self.name} ended before it printed {wanted!r}{self._complaint()}")
            return False

        if not came_true(has_said, timeout_s=timeout_s, poll_s=_POLL_S):
            raise WorldError(f"{self.name} did not print {wanted!r} within {timeout_s:g} s{self._complaint()}")

    def end(self, number: int = signal.SIGTERM, patience_s: float = _END_S) -> Ended:
        """End it with a signal, and with SIGKILL where that does not help; ending twice is no error."""
        for attempt in (number, signal.SIGKILL):
            if self._look() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, attempt)
            came_true(lambda: self._look() is not None, timeout_s=patience_s, poll_s=_POLL_S)
        if self._ended is None:
            raise WorldError(f"{self.name} cannot be killed")
        return self._ended

    def _look(self) -> Ended | None:
        """Record its end and its resource usage. Popen must not wait for it, because that would discard the usage."""
        if self._ended is None:
            found, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if found:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._ended = Ended(code=self._process.returncode, user_s=used.ru_utime, system_s=used.ru_stime)
        return self._ended

    def _complaint(self) -> str:
        tail = " ".join(self.text.split())[-300:]
        return f": {tail}" if tail else ""
