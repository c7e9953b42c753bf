"""The prober's image without a registry: the files that its Dockerfile copies, alone, as its user, on a read-only root."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusters.kubernetes.prober_manifests import RECORDS, USER_ID
from hitless.records import read_agents

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "probes" / "image" / "Dockerfile"
WAIT_S = 30.0


def read_dockerfile() -> dict[str, list[str]]:
    """Return the instructions with their arguments, in order, without comments."""
    found: dict[str, list[str]] = {}
    for line in DOCKERFILE.read_text().splitlines():
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            found.setdefault(instruction, []).append(rest)
    return found


def copied_files() -> dict[str, list[Path]]:
    """Return target folder to the project's files that are copied into it."""
    copied = [line.split() for line in read_dockerfile()["COPY"] if not line.startswith("--from")]
    files: dict[str, list[Path]] = {}
    for *sources, target in copied:
        files.setdefault(target, []).extend(ROOT / source for source in sources)
    return files


def test_the_image_runs_as_a_number_writes_nowhere_and_is_pinned() -> None:
    found = read_dockerfile()
    assert found["USER"] == [f"{USER_ID}:{USER_ID}"]
    assert found["CMD"] == [f'["serve", "{RECORDS}"]']
    (base,) = (line.partition("=")[2] for line in found["ARG"])
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-[a-z]+", base)
    assert re.search(r"numpy==\d+\.\d+\.\d+$", found["RUN"][0])
    assert found["FROM"] == ["${BASE} AS numpy", f"{base.replace('-slim', '')} AS compiled", "${BASE}"]
    assert "latest" not in DOCKERFILE.read_text()


def test_every_file_of_the_probes_is_in_the_image() -> None:
    files = copied_files()
    assert files["/opt/hitless/probes/"] == sorted((ROOT / "probes").glob("*.py"))
    assert [path.name for path in files["/opt/hitless/hitless/"]] == [
        "__init__.py",
        "errors.py",
        "records.py",
        "words.py",
    ]


@pytest.fixture
def image() -> Iterator[Path]:
    """A folder like that of the image: our files, numpy, and this interpreter; readable by every user."""
    user = str(USER_ID)
    tried = ["unshare", "--mount", "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "true"]
    if subprocess.run(tried, check=False, capture_output=True).returncode != 0:  # noqa: S603 - fixed words
        pytest.skip("missing: root, unshare and setpriv, for a root file system that is read-only and a user without rights")
    folder = Path(tempfile.mkdtemp(prefix="hitless-image-"))
    folder.chmod(0o755)
    for target, files in copied_files().items():
        place = folder / Path(target).relative_to("/")
        place.mkdir(parents=True)
        for path in files:
            shutil.copy(path, place)
    for path in (ROOT / "probes").glob("*.so"):  # where there was a compiler
        shutil.copy(path, folder / "opt/hitless/probes")
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).exists():
            shutil.copytree(
                packages / name, folder / "opt/hitless" / name, ignore=shutil.ignore_patterns("__pycache__", "tests")
            )
    for name in ("records", "python"):
        (folder / name).mkdir()
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, script: str) -> subprocess.Popen[str]:
    """Run a script as the image's user: no capability, nothing writable but `records`."""
    binary = Path(sys.base_prefix).resolve()
    user = str(USER_ID)
    prepare = f"""
set -e
mount --bind {binary} {folder}/python
mount -t tmpfs -o mode=0770,uid=0,gid={user} tmpfs {folder}/records
awk '$5 !~ /records$/ {{ print $5 }}' /proc/self/mountinfo | while read -r place; do
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
cd {folder}/records
exec env -i PATH=/usr/bin:/bin PYTHONPATH={folder}/opt/hitless PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 \\
    LD_LIBRARY_PATH={folder}/python/lib \\
    setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
    {folder}/python/bin/python3 -s -P {script}
"""
    return subprocess.Popen(  # noqa: S603 - the test's own script
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", prepare],  # noqa: S607 - on any Linux
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_files_alone_probe_on_loopback(image: Path) -> None:
    """One process serves, starts an agent that probes itself, and returns its records, all inside the same confinement."""
    settings = {
        "agent": "alone",
        "epoch_ns": time.monotonic_ns(),
        "interval_ns": 5_000_000,
        "drain_ns": 500_000_000,
        "duration_ns_max": 500_000_000,
        "endpoints": [{"name": "alone", "address": "127.9.0.1"}],
        "flows": [
            {
                "id": 1,
                "ssid": 1,
                "source": "alone",
                "source_address": "127.9.0.1",
                "destination": "alone",
                "destination_address": "127.9.0.1",
            }
        ],
    }
    program = f"""
import base64, json, os, select, subprocess, sys, time, zlib
facts = {{"uid": os.getuid(), "caps": [line for line in open("/proc/self/status") if line.startswith("Cap")]}}
for place in ("/tmp", {str(image)!r}, {str(image / "opt/hitless/probes")!r}, "/var/tmp"):
    try:
        open(place + "/x", "w").close()
        facts["written"] = place
    except OSError:
        pass
supervisor = subprocess.Popen([sys.executable, "-s", "-P", "-m", "probes.pod", "serve", "."])
def ask(**request):
    line = json.dumps(request) + "\\n"
    command = [sys.executable, "-s", "-P", "-m", "probes.pod", "ask", "."]
    return json.loads(subprocess.run(command, input=line, capture_output=True, text=True, check=True).stdout)
while not os.path.exists("supervisor.socket"):
    os.sched_yield()
facts["start"] = ask(do="start", settings=[json.loads({json.dumps(settings)!r})])
while (look := ask(do="look")["process"])["code"] is None:
    pass
facts["look"] = look
facts["files"] = {{name: ask(do="read", name=name, offset=0, octets=1 << 20)["content"] for name in ask(do="list")["files"]}}
facts["modules"] = sorted({{name.split(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names))
supervisor.terminate()
facts["supervisor"] = supervisor.wait(20)
print(json.dumps(facts))
"""
    script = image / "opt" / "drive.py"
    script.write_text(program)
    process = start(image, str(script))
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    facts: dict[str, Any] = json.loads(out)
    assert facts["uid"] == USER_ID
    assert {line.split()[1] for line in facts["caps"]} == {"0" * 16}
    assert "written" not in facts
    assert (facts["look"]["states"], facts["look"]["code"]) == (["listening", "live", "stopped"], 0)
    assert facts["supervisor"] == 0
    _check_records(image, facts["files"])


def _check_records(image: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (image / "records" / name).write_bytes(zlib.decompress(base64.b64decode(content)))
    records = read_agents(image / "records", ("alone",))
    assert len(records.sender) > 50
    assert set(records.sender["copies"].tolist()) == {1}
    assert records.reports[0].finished
