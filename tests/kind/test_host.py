"""Missing requirements are named before anything is built or started, and limits are restored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hitless.clock import RunClock, wait_until
from tests.kind import host, real_cluster
from tests.kind.host import LIMITS, missing_for_build, raised_limits
from tests.kind.images.__main__ import ALL

KILLED = """
import os, sys
from pathlib import Path
from tests.kind.host import raised_limits
with raised_limits(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    for name in LIMITS:
        (tmp_path / name).write_text("128", encoding="ascii")
    return tmp_path


def read(folder: Path) -> dict[str, int]:
    return {name: int((folder / name).read_text(encoding="ascii") or 0) for name in LIMITS}


def test_limits_are_raised_and_put_back_also_after_an_error(limits: Path) -> None:
    with pytest.raises(RuntimeError), raised_limits(limits):  # noqa: PT012 - what is true meanwhile is asked
        assert read(limits) == LIMITS
        raise RuntimeError
    assert read(limits) == dict.fromkeys(LIMITS, 128)


def test_limits_that_are_high_enough_stay_as_they_are(limits: Path) -> None:
    (limits / "max_user_instances").write_text("9999", encoding="ascii")
    with raised_limits(limits):
        assert read(limits)["max_user_instances"] == 9999
    assert read(limits)["max_user_instances"] == 9999


def test_limits_are_put_back_when_their_owner_is_killed(limits: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(limits)], check=False)  # noqa: S603 - the text above
    lowered = dict.fromkeys(LIMITS, 128)
    wait_until(lambda: read(limits) == lowered, timeout_s=30, poll_s=0.05, unmet="the limits stay raised", clock=RunClock())
    assert read(limits) == lowered


def test_a_stale_image_without_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing_for_build(()) == ()
    assert missing_for_build(ALL[:1]) == ("Go 1.26 or later, to build debian",)


def test_a_machine_that_lacks_something_is_a_skip_that_says_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "_read_mask", lambda _: 0)
    monkeypatch.setattr(sys, "argv", ["real_cluster", "--ci"])
    assert real_cluster.main() == real_cluster.SKIPPED
    told = capsys.readouterr().err
    assert "SKIPPED" in told
    assert all(name in told for name in host.CAPABILITIES), told
