"""An HTTP server on loopback with scripted answers, for behaviour that a real API server does not show on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request; replies are methods."""

    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        self.rfile.read(length)
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.server.requests.append(self)
        self.server.reply(self)

    do_GET = do_PATCH = do_PUT = do_DELETE = do_POST = handle_request  # noqa: N815 - http.server's names

    def send(self, status: int, body: bytes, *, claimed: int | None = None, **headers: str) -> None:
        """Answer; `claimed` is a Content-Length that may be wrong."""
        self.close_connection = claimed is not None
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if claimed is None else claimed))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, document: Any) -> None:  # noqa: ANN401 - JSON
        self.send(200, json.dumps(document).encode())

    def stream(self, *lines: bytes, is_held: bool) -> None:
        """Answer a watch with these lines, then hold the connection open until the test is over, or end it."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
        if is_held:
            self.wait_for_ever()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Send a TCP reset instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def wait_for_ever(self) -> None:
        """Answer nothing until the test is over."""
        self.server.over.wait(30)
        self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return  # The other side, or `reset`, has closed it.

    def log_message(self, *_: object) -> None:
        return


class ScriptedServer(ThreadingHTTPServer):
    """Answers every request with `reply`."""

    daemon_threads = True
    block_on_close = True

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.reply = reply
        self.requests: list[Exchange] = []
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        return  # Some tests disconnect the client on purpose.


@contextmanager
def scripted_api(directory: Path, reply: Reply) -> Iterator[tuple[Path, ScriptedServer]]:
    """Run such a server; yields a kubeconfig for it."""
    server = ScriptedServer(reply)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield write_kubeconfig(directory, f"http://127.0.0.1:{server.server_address[1]}"), server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def write_kubeconfig(directory: Path, address: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
