"""A docker engine of the tests' own: dockerd in network, mount and PID namespaces, gone with its first process.

The machine's own engine, its iptables and its ip_forward stay untouched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters.kind.docker import Docker
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError
from hitless.words import MILLISECOND, SECOND, Nanoseconds

PROGRAMS = ("docker", "dockerd", "containerd", "runc", "tini", "unshare", "ip")
START_S = 30
PREPARE = 'ip link set lo up && exec "$@"'


def missing_for_engine() -> str | None:
    """Return what keeps a docker engine from running here, or None."""
    if os.geteuid() != 0:
        return "root, to run a docker engine of our own"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    return f"the programs {', '.join(absent)} (Debian: docker.io, tini, util-linux, iproute2)" if absent else None


@contextmanager
def running_engine() -> Iterator[tuple[Docker, int]]:
    """Run an engine; give its client and the PID of dockerd's first process, as seen from here."""
    folder = Path(tempfile.mkdtemp(prefix="hitless-docker-"))
    socket = f"unix://{folder}/docker.sock"
    daemon = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    daemon += ["-H", socket, "--iptables=false", "--ip6tables=false"]
    # Without a first process that reaps, every container's dead shim would stay as a zombie.
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(  # noqa: S603 - fixed words
        [*apart, "sh", "-c", PREPARE, "sh", "tini", "--", *daemon],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
    )
    try:
        program = shutil.which("docker")
        assert program is not None
        docker = Docker(Path(program), socket)
        _wait_engine(docker, process, folder / "log")
        yield docker, process.pid
    finally:
        process.kill()
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_engine(docker: Docker, process: subprocess.Popen[bytes], log: Path) -> None:
    clock = RunClock()
    while True:
        try:
            docker.version()
        except MissingCapabilityError:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert clock.now_ns() < START_S * SECOND, log.read_text(errors="replace")[-2000:]
            clock.wait_until(Nanoseconds(clock.now_ns() + 100 * MILLISECOND))
        else:
            return
