"""One etcd and one kube-apiserver, which are both seed and Shoot for the programs.

No controller and no scheduler runs: objects stay as they are written, apart from what hitless simulates.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clusters.linux.machine import Feature
from clusters.programs.process import Process, free_port
from hitless.clock import wait_until
from hitless.errors import MissingCapabilityError, attempting

_CACHES: Final = "hitless/kubernetes-*"
"""Where `make kube-apiserver` leaves the program, below the user's cache folder."""
_SOURCES: Final = {
    "openssl": " (Debian: openssl)",
    "etcd": " (Debian: etcd-server), or set KUBEBUILDER_ASSETS",
    "kube-apiserver": " with `make kube-apiserver` in a checkout, or set KUBEBUILDER_ASSETS to the folder that "
    "`setup-envtest use -p path` prints",
}
_READY_S: Final = 60.0
_POLL_S: Final = 0.05
_CHUNK_OCTETS: Final = 65_536
_BACKLOG: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """The programs of a control plane."""

    etcd: Path
    kube_apiserver: Path
    openssl: Path
    """Creates the key that signs the tokens of ServiceAccounts."""


def find_assets() -> Assets:
    """Return the programs: from KUBEBUILDER_ASSETS, as envtest users have them, else what the machine has.

    Raises:
        MissingCapabilityError: one is missing; names it and how to get it.
    """
    return Assets(openssl=_find("openssl"), etcd=_find("etcd"), kube_apiserver=_find("kube-apiserver"))


def _find(name: str) -> Path:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if folder and name != "openssl":
        if not (Path(folder) / name).is_file():
            raise MissingCapabilityError(
                f"KUBEBUILDER_ASSETS={folder} has no {name}; install both programs there (`setup-envtest use`)"
            )
        return Path(folder) / name
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = max(map(str, cache.glob(f"{_CACHES}/{name}")), default=None) or shutil.which(name)
    if found is None:
        raise MissingCapabilityError(f"{name} is not on PATH; install it{_SOURCES[name]}")
    return Path(found)


def examine_for_programs() -> Feature:
    """Return whether this machine can start a control plane for programs of Gardener's parts."""
    name = "a control plane for programs"
    try:
        assets = find_assets()
    except MissingCapabilityError as error:
        return Feature(name=name, is_present=False, detail="--extension and its like need it", remedy=str(error))
    return Feature(name=name, is_present=True, detail=f"{assets.etcd} and {assets.kube_apiserver}", remedy="")


class ApiServer:
    """One control plane with data of its own.

    Args:
        logs: folder for the logs of both, and for their data while they run.
    """

    def __init__(self, assets: Assets, logs: Path, flags: Sequence[str] = ()) -> None:
        self._assets, self._flags = assets, tuple(flags)
        self._processes: list[Process] = []
        self._etcd_url = ""
        self._token = secrets.token_hex(16)
        self._port = 0
        self._passage: Passage | None = None
        self.is_shoot_away = False
        """Whether the programs cannot reach the Shoot's API."""
        self.logs = logs
        """Folder of the logs of all programs."""
        self.data = logs / "data"
        """A folder that goes with it, for what the programs are given to read."""
        self.kubeconfig = self.data / "kubeconfig"
        """An administrator's kubeconfig, with CA and token inline."""
        self.shoot_kubeconfig = self.data / "shoot-kubeconfig"
        """The same for what a program has to do with the Shoot, whose API alone may be away."""
        certificates = self.data / "certificates"
        self.certificate = certificates / "apiserver.crt", certificates / "apiserver.key"
        """The server's certificate and key, which a webhook server on loopback may use as well."""

    def up(self) -> None:
        """Start both and wait until the API is ready. Raises WorldError."""
        # Beside the logs, so that the remains of a killed run are in the run's folder.
        (self.data / "certificates").mkdir(parents=True)
        (self.data / "tokens.csv").write_text(f"{self._token},administrator,administrator,system:masters\n", encoding="utf-8")
        key = self.data / "service-account.key"
        command = [str(self._assets.openssl), "genrsa", "-out", str(key), "2048"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._port = free_port()
        self._start(
            "etcd",
            str(self._assets.etcd),
            f"--data-dir={self.data / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync",
        )
        self.start_server()
        self._passage = Passage(self._port)
        self._write_kubeconfig(self.kubeconfig, self._port)
        self._write_kubeconfig(self.shoot_kubeconfig, self._passage.port)

    def start_server(self) -> None:
        """Start kube-apiserver over the data that is there, and wait until it is ready. Raises WorldError."""
        key = self.data / "service-account.key"
        server = self._start(
            "kube-apiserver",
            str(self._assets.kube_apiserver),
            f"--etcd-servers={self._etcd_url}",
            f"--cert-dir={self.data / 'certificates'}",
            "--bind-address=127.0.0.1",
            # The sandbox has only the loopback address, which must not be advertised. Without a reconciler, no address is.
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._port}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.data / 'tokens.csv'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            *self._flags,
        )
        unmet = "kube-apiserver is not ready"
        wait_until(self._is_ready, timeout_s=_READY_S, poll_s=_POLL_S, unmet=unmet, describe=server.quote)

    def kill_server(self) -> None:
        """Kill kube-apiserver, as a crash does; etcd and the data stay."""
        self._processes.pop().kill()

    def set_shoot_away(self, is_away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_shoot_away(True)
        """Make the Shoot's API unavailable to the programs, or available again."""
        assert self._passage is not None  # noqa: S101 - it is up
        self.is_shoot_away = is_away
        self._passage.set_away(is_away)

    def check(self) -> None:
        """Raise WorldError if one of them has ended."""
        for process in self._processes:
            process.check()

    def down(self) -> None:
        """End both and remove their data. Safe to call twice."""
        if self._passage is not None:
            self._passage.stop()
            self._passage = None
        for process in reversed(self._processes):
            process.end()
        self._processes = []
        shutil.rmtree(self.data, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> Process:
        self._processes.append(Process(name, arguments, self.logs))
        return self._processes[-1]

    def _is_ready(self) -> bool:
        self.check()
        certificate, _ = self.certificate
        if not certificate.is_file():
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            context = ssl.create_default_context(cafile=certificate)
            with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self._port, timeout=2, context=context)) as one:
                one.request("GET", "/readyz", headers={"Authorization": f"Bearer {self._token}"})
                return one.getresponse().read() == b"ok"
        return False

    def _write_kubeconfig(self, path: Path, port: int) -> None:
        certificate, _ = self.certificate
        with attempting(f"read {certificate}"):
            authority = base64.b64encode(certificate.read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": authority}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "hitless", "cluster": cluster}],
            "users": [{"name": "administrator", "user": {"token": self._token}}],
            "contexts": [{"name": "hitless", "context": {"cluster": "hitless", "user": "administrator"}}],
            "current-context": "hitless",
        }
        path.write_text(json.dumps(document), encoding="utf-8")


class Passage:
    """A port on loopback that forwards to another one. It is open at first."""

    def __init__(self, target: int) -> None:
        self._target, self._is_shut, self._is_stopped = target, False, False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        """Where it listens."""
        self._thread = threading.Thread(target=self._accept, name="passage", daemon=True)
        self._thread.start()

    def set_away(self, is_away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Cut every connection and each new one, or let them pass again. Repeating either is no error."""
        with self._lock:
            self._is_shut = is_away
            cut = tuple(self._connections) if is_away else ()
        for one in cut:
            _end(one)

    def stop(self) -> None:
        """Cut every connection and stop listening."""
        self.set_away(True)
        self._is_stopped = True
        _end(self._listener)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_stopped:
            # A connection that its client gave up, or the end of the listener.
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), name="passage there", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Carry both directions of one connection until either side ends it."""
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as upstream:
            pair = {client, upstream}
            with self._lock:
                if self._is_shut:
                    return
                self._connections |= pair
            back = threading.Thread(target=_pump, args=(upstream, client), name="passage back", daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()
            with self._lock:
                self._connections -= pair


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end, and end the connection then."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_OCTETS):
            sink.sendall(chunk)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    """End both directions, which wakes the thread that reads or accepts; its opener closes the socket."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
