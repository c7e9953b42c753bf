"""The API server's side of an exec: a websocket with channels, scripted. Source: RFC 6455; v4.channel.k8s.io of kubernetes."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _BINARY, _CLOSE = 1, 2, 8
SUCCESS = json.dumps({"status": "Success"}).encode()


def failure(code: int) -> bytes:
    """Content of the error channel for a failed command."""
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return json.dumps({"status": "Failure", "details": {"causes": causes}}).encode()


class ExecServer:
    """Answers one exec after the other.

    Args:
        script: for each exec the frames that are sent once a line has come: (channel, content); an empty script breaks the
        stream without an error; None refuses the upgrade.
    """

    def __init__(self, script: Sequence[Sequence[tuple[int, bytes]] | None]) -> None:
        self._script = list(script)
        self.requests: list[str] = []
        self.lines: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.join(10.0)
        self._listener.close()

    def _serve(self) -> None:
        for frames in self._script:
            connection, _ = self._listener.accept()
            with connection:
                self._answer(connection, frames)

    def _answer(self, connection: socket.socket, frames: Sequence[tuple[int, bytes]] | None) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        lines = head.decode().split("\r\n")
        self.requests.append(lines[0])
        if frames is None:
            body = b'{"message": "pods \\"p\\" not found"}'
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        key = next(line.partition(": ")[2] for line in lines if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
        connection.sendall(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
            ).encode()
        )
        said = b""
        while not said.endswith(b"\n"):
            said += _read_frame(connection)[1:]
        self.lines.append(said)
        for channel, content in frames:
            _send_frame(connection, _BINARY, bytes([channel]) + content)
        if frames:
            _send_frame(connection, _CLOSE, struct.pack(">H", 1000))


def _read_exactly(connection: socket.socket, octets: int) -> bytes:
    content = b""
    while len(content) < octets:
        content += connection.recv(octets - len(content))
    return content


def _read_frame(connection: socket.socket) -> bytes:
    """Read a client's frame, which is masked."""
    opcode, length = _read_exactly(connection, 2)
    assert opcode & 0x0F in {_TEXT, _BINARY}
    size = length & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", _read_exactly(connection, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", _read_exactly(connection, 8))
    mask = _read_exactly(connection, 4)
    content = _read_exactly(connection, size)
    return bytes(octet ^ mask[index % 4] for index, octet in enumerate(content))


def _send_frame(connection: socket.socket, opcode: int, content: bytes) -> None:
    size = len(content)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([size])
    elif size < 1 << 16:
        head += b"\x7e" + struct.pack(">H", size)
    else:
        head += b"\x7f" + struct.pack(">Q", size)
    connection.sendall(head + content)
