"""The command of a prober pod: serves requests, or sends one to the serving process.

    python -m probes.pod serve DIRECTORY      the pod's first process, see `probes.supervisor`
    python -m probes.pod ask DIRECTORY        one request from stdin, a line of JSON; its answer to stdout, a line of JSON

A run asks several times per second in every pod, and each request is a process: `ask` imports only what it needs.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from hitless.errors import HitlessError, WorldError

SOCKET: Final = "supervisor.socket"
"""Unix socket of the supervisor in its directory."""
_REQUEST_OCTETS_MAX: Final = 32 << 20
"""The settings of an agent with 65,535 flows take 15 MB."""


def ask(directory: str, line: bytes) -> bytes:
    """Send a request to the supervisor of a directory; return its answer. Raises WorldError: no supervisor answers."""
    try:
        os.chdir(directory)  # the path of a Unix socket has 108 octets: it is named from here
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(SOCKET)
            connection.sendall(line.rstrip(b"\n") + b"\n")
            return read_line(connection) + b"\n"
    except OSError as error:
        raise WorldError(f"the supervisor in {directory} does not answer: {error.strerror or error}") from error


def read_line(connection: socket.socket) -> bytes:
    """Read up to the end of the line, or of the stream."""
    with connection.makefile("rb") as stream:
        return stream.readline(_REQUEST_OCTETS_MAX).rstrip(b"\n")


def main(arguments: list[str]) -> int:
    """Serve or ask. Returns the exit code."""
    try:
        match arguments:
            case ["serve", directory]:
                from probes.supervisor import serve  # noqa: PLC0415 - numpy and the settings, which `ask` does without

                serve(directory)
            case ["ask", directory]:
                # One line, not all: the stream of an exec has no end of stdin before its protocol's version 5.
                answer = ask(directory, sys.stdin.buffer.readline(_REQUEST_OCTETS_MAX))
                sys.stdout.buffer.write(answer)
                sys.stdout.buffer.flush()
            case _:
                sys.stderr.write("usage: python -m probes.pod serve|ask DIRECTORY\n")
                return 2
    except HitlessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
