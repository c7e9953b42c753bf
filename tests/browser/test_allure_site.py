"""The Allure site of a session of the suites: built by the npm package `allure`, and looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.browser.chromium import started
from tests.lab.test_sandbox import outside_environment
from tests.lab.test_suite_options import ROOT, arm, write_scenario

PATIENCE_S = 120


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - fixed words and paths of the test's own
        command, cwd=cwd, env=outside_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing (Debian: apt-get install npm)")
    path = write_scenario(tmp_path, "quiet", arms={"GATED": arm("PASS")})
    results = f"--alluredir={tmp_path / 'results'}"
    options = ("-p", "no:cacheprovider", "--scenario", str(path), "--rate", "10", f"--output={tmp_path / 'runs'}", results)
    done = _run(sys.executable, "-m", "pytest", str(ROOT / "suites"), *options, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    try:
        installed = _run(npm, "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "allure@3", cwd=tmp_path)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install allure within {PATIENCE_S} s")
    if installed.returncode:
        pytest.skip(f"npm cannot install allure: {installed.stderr[-300:]}")
    program = str(tmp_path / "node_modules" / ".bin" / "allure")
    built = _run(program, "generate", str(tmp_path / "results"), "-o", str(tmp_path / "site"), cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    return tmp_path / "site"


def test_it_shows_the_arm_with_its_trial_and_its_page(site: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    with started() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.get_by_text("suites", exact=True).click()
        page.get_by_text("test_switch.py", exact=True).click()
        page.get_by_text("quiet-gated", exact=True).first.click()
        page.get_by_text("trial 1").first.wait_for()
        page.get_by_text("report.html").first.wait_for()
        page.get_by_text("chart.svg").first.wait_for()
    server.shutdown()
    server.server_close()
