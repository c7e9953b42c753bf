"""The lab's tests and the suites on another kernel: user-mode Linux, with IPIP. `make test-kernel` and `make test-kernel-all`.

User-mode Linux is an ordinary program: a Linux kernel as a process, over the host's file system, without KVM. It has `ipip`,
`netem` and one CPU, its system calls are slow, and its version (6.1) is older than Ip.OutTransmits (6.8). So it is where the
path that most clusters take is tested on any machine.

The guest runs in a sandbox of its own, so whatever ends this program ends the guest. It sees the host's files read only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clusters.linux.namespaces import NETWORK_DIRECTORY
from clusters.linux.sandbox import enter_sandbox, leave_mark_behind
from hitless.errors import HitlessError
from tests.kernel.plans import PLANS, Step
from tests.kernel.results import tell

GUEST = Path(__file__).with_name("guest.py")
MODULES = Path("/usr/lib/uml/modules")
REMEDY = "missing: {}; Debian and Ubuntu: apt-get install user-mode-linux kmod"
_MISSING_CODE = 20


def find_missing() -> str | None:
    """Return what of user-mode Linux this machine lacks; None: nothing."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    programs = [name for name in ("linux.uml", "modprobe") if shutil.which(name, path=path) is None]
    missing = [*programs, *([] if MODULES.is_dir() else [str(MODULES)])]
    return ", ".join(missing) or None


def boot(folder: Path, steps: tuple[Step, ...]) -> None:
    """Run the steps in a guest; each one's result is a file in `folder` afterwards."""
    plan = {step.name: step.command(sys.executable, "/run/host") for step in steps}
    folder.chmod(0o777)  # an ordinary user of the guest writes there, too
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    python = Path(sys.executable)
    variables = {
        "SHARED": str(folder),
        "PREFIX": sys.base_prefix,
        "HOME": "/tmp",  # noqa: S108 - the guest's own
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        "linux.uml",
        "mem=2G",
        f"umid=hitless-{os.getpid()}",
        f"uml_dir={folder}/",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        "loglevel=3",
        "con=null",
        "con0=null,fd:1",
        f"init={python}",
        *(f"{name}={value}" for name, value in variables.items()),
        "--",
        str(GUEST),
    ]
    environment = leave_mark_behind(os.environ)
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)  # noqa: S603 - built above


def main() -> int:
    """Run a plan in the guest and return the first exit code of its steps that is not 0."""
    name = sys.argv[1] if len(sys.argv) > 1 else "some"
    missing = find_missing()
    if name not in PLANS or missing is not None:
        print(REMEDY.format(missing) if missing else f"no plan {name}; there are {', '.join(PLANS)}", file=sys.stderr)  # noqa: T201
        return _MISSING_CODE if missing else 2
    try:
        enter_sandbox()
    except HitlessError as error:
        print(f"hitless: {error}", file=sys.stderr)  # noqa: T201 - a program's last word
        return error.exit_code
    # In memory and visible in the sandbox alone: nothing is left, whatever ends this program.
    with tempfile.TemporaryDirectory(dir=NETWORK_DIRECTORY) as folder:
        began = time.monotonic()
        boot(Path(folder), PLANS[name])
        text, code = tell(Path(folder), PLANS[name], time.monotonic() - began)
    print(text)  # noqa: T201 - what the run came to
    return code


if __name__ == "__main__":
    sys.exit(main())
