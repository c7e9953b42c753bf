"""A docker engine for the tests: dockerd in network, mount and PID namespaces, which end with its first process.

The machine's own engine, its iptables and its ip_forward stay untouched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters.kind.docker import Docker
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError
from hitless.words import MILLISECOND, SECOND, Nanoseconds

PROGRAMS = ("docker", "dockerd", "containerd", "runc", "tini", "unshare", "setpriv", "ip")
START_S = 30
PREPARE = 'ip link set lo up && exec "$@"'


def missing_for_engine() -> str | None:
    """Return the requirement of a docker engine that this machine lacks, or None."""
    if os.geteuid() != 0:
        return "root, to run a docker engine of our own"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    return f"the programs {', '.join(absent)} (Debian: docker.io, tini, util-linux, iproute2)" if absent else None


@contextmanager
def running_engine(root: Path | None = None, runtime: Path | None = None) -> Iterator[tuple[Docker, int]]:
    """Run an engine; give its client and the PID of dockerd's first process, as seen from here.

    Args:
        root: where it keeps images; None: a folder that goes with it.
        runtime: what it runs containers with; None: its own runc.
    """
    folder = Path(tempfile.mkdtemp(prefix="hitless-docker-"))
    socket = f"unix://{folder}/docker.sock"
    daemon = ["dockerd", "--data-root", str(root or folder / "data"), "--exec-root", f"{folder}/exec", "-H", socket]
    daemon += ["--pidfile", f"{folder}/pid", "--iptables=false", "--ip6tables=false"]
    if runtime is not None:
        daemon += [f"--add-runtime=given={runtime}", "--default-runtime=given"]
    # Without a first process that reaps, every container's dead shim would stay as a zombie.
    # It must not outlive this process, however that ends.
    apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
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
        _empty(docker)
        try:
            yield docker, process.pid
        finally:
            _empty(docker)
    finally:
        process.kill()
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _empty(docker: Docker) -> None:
    """Remove containers and networks: those of this engine, and those that one over the same root left when it was killed."""
    for container in docker.run("ps", "--all", "--quiet").split():
        docker.run("rm", "--force", "--volumes", container)
    docker.run("network", "prune", "--force")


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


def main() -> int:
    """Run a command beside an engine: in its network namespace, with DOCKER_HOST; return the command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kind.engine", description=main.__doc__)
    parser.add_argument("--root", type=Path, help="where the engine keeps images; default: a folder that goes with it")
    parser.add_argument("--runtime", type=Path, help="what it runs containers with; default: its own runc")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    missing = missing_for_engine()
    if missing is not None:
        sys.stderr.write(f"no docker engine can run here; missing: {missing}\n")
        return 2
    with running_engine(options.root, options.runtime) as (docker, process):
        inside = ["nsenter", "--target", str(process), "--net", "--", *options.command]
        done = subprocess.run(inside, check=False, env=dict(docker.environment))  # noqa: S603 - the caller's command
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
