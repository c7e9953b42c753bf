"""Starts a program that the kernel kills when the thread that started it ends.

`python -m clusters.linux.bound PARENT PROGRAM ...` becomes that program: PID, signals, exit code. PARENT is the PID of the
caller, which may have died before the kernel was asked.
"""

from __future__ import annotations

import os
import signal
import sys

from clusters.linux.namespaces import die_with_parent

_CANNOT_START = 127
"""Source: the convention of shells."""


def main() -> None:
    """Become the program. Exit code 127: it cannot be started, as stderr says."""
    parent, *command = sys.argv[1:]
    die_with_parent(signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGKILL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a program that the user named, an argument list
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror or error}\n")
        sys.exit(_CANNOT_START)


if __name__ == "__main__":
    main()
