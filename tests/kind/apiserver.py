"""A real Kubernetes API for tests: etcd and kube-apiserver on loopback, as controller-runtime's envtest starts them.

Nothing else runs: no kubelet, no controller, no scheduler. Objects stay as they were written, and that is what is tested.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kind.build_apiserver import BINARY, VERSION

_READY_S = 60.0
_STOP_S = 10.0


class MissingProgramError(Exception):
    """A program is not there; the text names it and how to get it."""


def find_programs() -> tuple[Path, Path]:
    """Return etcd and kube-apiserver: from KUBEBUILDER_ASSETS, else the built one and the system's etcd.

    Raises:
        MissingProgramError: one of them is not there.
    """
    for program, package in (("openssl", "openssl"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            raise MissingProgramError(f"there is no program {program} (Debian: {package})")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        found = Path(assets) / "etcd", Path(assets) / "kube-apiserver"
        for path in found:
            if not path.is_file():
                raise MissingProgramError(f"KUBEBUILDER_ASSETS={assets} has no {path.name}")
        return found
    etcd = shutil.which("etcd")
    if etcd is None:
        raise MissingProgramError("there is no program etcd (Debian: etcd-server), and KUBEBUILDER_ASSETS is not set")
    if not BINARY.is_file():
        raise MissingProgramError(
            f"kube-apiserver {VERSION} is not built (make kube-apiserver), and KUBEBUILDER_ASSETS is not set"
        )
    return Path(etcd), BINARY


class ApiServer:
    """One etcd and one kube-apiserver with data of their own.

    Args:
        directory: where data, certificates and logs go; must be empty.
        flags: of kube-apiserver, beyond what it needs.
    """

    def __init__(self, directory: Path, flags: Sequence[str] = ()) -> None:
        self._etcd_program, self._server_program = find_programs()
        self._directory = directory
        self._flags = tuple(flags)
        self._etcd_port, self._port = _free_port(), _free_port()
        self._token = secrets.token_hex(16)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self.kubeconfig = directory / "kubeconfig"
        """An administrator's kubeconfig, once it is up."""

    def up(self) -> None:
        """Start both and wait until the API is ready."""
        (self._directory / "certificates").mkdir()
        tokens = self._directory / "tokens.csv"
        tokens.write_text(f"{self._token},administrator,administrator,system:masters\n", encoding="utf-8")
        key = ["openssl", "genrsa", "-out", str(self._directory / "service-account.key"), "2048"]
        subprocess.run(key, check=True, capture_output=True)  # noqa: S603 - our own arguments
        own = f"http://127.0.0.1:{self._etcd_port}"
        self._etcd = self._spawn(
            "etcd",
            [
                str(self._etcd_program),
                f"--data-dir={self._directory / 'etcd'}",
                f"--listen-client-urls={own}",
                f"--advertise-client-urls={own}",
                "--listen-peer-urls=http://127.0.0.1:0",
                "--unsafe-no-fsync",
            ],
        )
        self.start_server()

    def start_server(self) -> None:
        """Start kube-apiserver on the data that is there, and wait until it is ready."""
        key = self._directory / "service-account.key"
        arguments = [
            str(self._server_program),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--cert-dir={self._directory / 'certificates'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            *self._flags,
        ]
        self._server = self._spawn("kube-apiserver", arguments)
        self._wait_ready()
        self._write_kubeconfig()

    def kill_server(self) -> None:
        """Kill kube-apiserver, as a crash would; etcd and its data stay."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(_STOP_S)
            self._server = None

    def down(self) -> None:
        """End both."""
        self.kill_server()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait(_STOP_S)
            self._etcd = None

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self._directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                ["setpriv", "--pdeathsig", "KILL", *arguments],  # noqa: S607 - util-linux, wherever it is
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        pause = threading.Event()
        while not self._is_ready():
            ended = self._server is None or self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                log = (self._directory / "kube-apiserver.log").read_text(encoding="utf-8", errors="replace")
                raise AssertionError(f"kube-apiserver is not ready:\n{log[-2000:]}")
            pause.wait(0.05)

    def _is_ready(self) -> bool:
        certificate = self._directory / "certificates" / "apiserver.crt"
        if not certificate.is_file():
            return False
        connection: http.client.HTTPSConnection | None = None
        try:
            context = ssl.create_default_context(cafile=certificate)
            connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=2, context=context)
            connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {self._token}"})
            return connection.getresponse().read() == b"ok"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            if connection is not None:
                connection.close()

    def _write_kubeconfig(self) -> None:
        cluster = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self._directory / "certificates" / "apiserver.crt"),
        }
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "administrator", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "administrator"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(document), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
