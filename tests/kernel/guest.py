"""PID 1 of the user-mode Linux guest: mounts, modules, then the commands of the run, each with its exit code in a file.

The host's files are read only here. What programs write goes into memory: the checkout is covered by an overlay, /tmp, /run and
/dev/shm by file systems in memory. Only `/run/host`, the run's own folder, is the host's. Python's standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = Path("/run/host")
"""The run's own folder of the host: the plan, and what came of it."""
MODULES = (
    "overlay",
    "ipip",
    "vxlan",
    "veth",
    "bridge",
    "dummy",
    "tun",
    "sch_netem",
    "nf_tables",
    "iptable_raw",
    "iptable_filter",
    "iptable_mangle",
    "xt_u32",
    "xt_tcpudp",
    "ip_set",
)
_POWER_OFF = 0x4321FEDC
"""Source: linux/reboot.h, LINUX_REBOOT_CMD_POWER_OFF."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, options: str = "") -> None:
    """Mount a file system. Raises OSError."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {kind} at {target}: {os.strerror(number)}")


def prepare(shared: str) -> None:
    """Mount everything and load the modules."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for place in ("/tmp", "/run", "/dev/shm", "/dev/pts"):  # noqa: S108 - the guest's own
        Path(place).mkdir(exist_ok=True)
        is_terminals = place.endswith("pts")
        mount("none", place, "devpts" if is_terminals else "tmpfs", "ptmxmode=666" if is_terminals else "mode=1777")
    HOST.mkdir()
    mount("none", str(HOST), "hostfs", shared)
    home = Path("/run/modules/lib")
    home.mkdir(parents=True)
    (home / "modules").symlink_to("/usr/lib/uml/modules")
    for module in MODULES:
        subprocess.run(["modprobe", "-d", str(home.parent), module], check=True)  # noqa: S603, S607 - a constant
    needed = [CHECKOUT, Path(os.environ["PREFIX"])]
    closed = {parent for path in needed for parent in path.parents if not parent.stat().st_mode & 0o001}
    for folder in (*sorted(closed), CHECKOUT):
        cover(folder)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607 - found on PATH


def cover(folder: Path) -> None:
    """Put an overlay over a folder: what is written there stays in memory, and every user may enter it."""
    layers = Path("/run/layers") / "_".join(folder.parts[1:])
    upper, work = layers / "upper", layers / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    mount("none", str(folder), "overlay", f"lowerdir={folder},upperdir={upper},workdir={work}")
    folder.chmod(folder.stat().st_mode | 0o055)


def run_piped(command: list[str]) -> int:
    """Run a command and copy what it says to the console as it comes; it sees no terminal. Return its exit code."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as program:  # noqa: S603 - the plan's
        assert program.stdout is not None
        while part := os.read(program.stdout.fileno(), 1 << 16):
            os.write(1, part)
    return program.returncode


def carry_out(plan: dict[str, list[str]]) -> None:
    """Run the commands in turn; write each one's exit code at once."""
    os.chdir(CHECKOUT)
    for name, command in plan.items():
        print(f"--- {name}", flush=True)  # noqa: T201 - the guest's console
        code = run_piped(command)
        (HOST / f"{name}.json").write_text(json.dumps({"code": code}), encoding="utf-8")


def main() -> None:
    """Be PID 1: have a child do the work, reap whatever is orphaned, and switch off."""
    child = os.fork()
    if child == 0:
        prepare(os.environ["SHARED"])
        carry_out(json.loads((HOST / "plan.json").read_text(encoding="utf-8")))
        os._exit(0)
    while os.wait()[0] != child:
        pass
    os.sync()
    _LIBC.reboot(_POWER_OFF)


if __name__ == "__main__":
    main()
