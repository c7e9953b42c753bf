"""A child process of this project that reports its states and never outlives its parent.

Its stdin is a pipe; at end of file the process stops. Its stdout carries its states, one JSON line each
(`probes.lifeline.say`). Its stderr is a file whose last lines go into error messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import probes
from hitless.clock import wait_until
from hitless.errors import WorldError, attempting

_STDERR_OCTETS: Final = 2000
_LISTEN_S: Final = 0.2


class StatedProcess:
    """One running program; a variable of the environment that is None is removed. Raises WorldError: it cannot be started."""

    def __init__(
        self, name: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str | None] | None = None
    ) -> None:
        self.name = name
        self.facts: dict[str, Mapping[str, Any]] = {}
        """The states that it has reported, each with the facts that came with it."""
        self._stderr_path = directory / f"{name}.stderr"
        self._rest = b""
        with attempting(f"start the {name} process"), self._stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of this project
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(environment or {}),
                cwd=directory,
                process_group=0,  # Ctrl-C is for the harness, which stops the others
            )
        assert self.process.stdout is not None  # noqa: S101 - asked for above
        assert self.process.stdin is not None  # noqa: S101
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self._stdout.fileno(), False)

    def listen(self, timeout_s: float = 0.0) -> None:
        """Read the reported states; wait at most this long for the next one."""
        if self._stdout.closed:
            return
        readable, _, _ = select.select([self._stdout], [], [], timeout_s)
        content = self._stdout.read() if readable else None
        if content:
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                facts = json.loads(line)
                self.facts[facts.pop("state")] = facts

    def wait_state(self, state: str, timeout_s: float) -> Mapping[str, Any]:
        """Wait for a state; return the facts that came with it. Raises WorldError: it died, or did not report it in time."""

        def has_said() -> bool:
            if state not in self.facts:
                self.check_alive()
                self.listen(_LISTEN_S)
            return state in self.facts

        unmet = f"the {self.name} process is not {state}"
        wait_until(has_said, timeout_s=timeout_s, poll_s=0, unmet=unmet, describe=self._complaint)
        return self.facts[state]

    def check_alive(self) -> None:
        """Raise WorldError if it ended without reporting `stopped`."""
        code = self.process.poll()
        if code is None:
            return
        self.listen()
        if code != 0 or "stopped" not in self.facts:
            raise WorldError(f"the {self.name} process died with code {code}: {self._complaint()}")

    def order(self, **order: Any) -> None:  # noqa: ANN401 - JSON
        """Write an order to its stdin. Nothing happens if it has ended."""
        with contextlib.suppress(BrokenPipeError):
            if not self._stdin.closed:
                self._stdin.write(json.dumps(order).encode() + b"\n")
                self._stdin.flush()

    def end_stdin(self) -> None:
        """Close its stdin: it stops. Safe to call twice."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def stop(self, timeout_s: float) -> None:
        """End it: close its stdin, send SIGTERM after half of the time, SIGKILL after all of it. Safe to call twice."""
        self.end_stdin()
        for signal_it in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(timeout_s / 2)
                break
            except subprocess.TimeoutExpired:
                signal_it()
        self.process.wait()
        if not self._stdout.closed:
            self.listen()
            self._stdout.close()

    def _complaint(self) -> str:
        """Return the end of its stderr."""
        return self._stderr_path.read_bytes()[-_STDERR_OCTETS:].decode(errors="replace").strip() or "it wrote nothing to stderr"


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the present environment with the changes and a PYTHONPATH on which the modules are found."""
    # Before the user's entries, from which libraries can come.
    paths = (str(Path(probes.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")]))
    # numpy's linear algebra would start a thread a core, for nothing.
    ours = {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    return {name: value for name, value in {**os.environ, **ours, **changes}.items() if value is not None}
