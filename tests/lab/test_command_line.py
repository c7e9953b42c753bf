"""The command line as a user meets it: exit codes, one message for whatever is wrong, and stored runs judged again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.compare import judge_stored
from commands.options import Format
from hitless.errors import RecordDamagedError, UsageError
from hitless.words import Verdict
from tests.lab.test_sandbox import outside_environment, run_as_nobody
from tests.unit.test_report_schema import check_schema

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
OTHER_USER = 65_534
FAST = ("--trials", "1", "--rate", "50")
"""At 50 Hz a machine that is busy with something else misses no tick."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "commands.main", *arguments],
        env=outside_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A comparison of the plain switch, printed as JSON."""
    output = tmp_path_factory.mktemp("plain")
    return output / "latest", run("compare", *FAST, "--format", "json", "--output", str(output))


def test_the_plain_switch_passes_and_prints_what_it_stores(plain: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    directory, done = plain
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout == (directory / "summary.json").read_text()
    summary = json.loads(done.stdout)
    check_schema(summary)
    assert (summary["verdict"], summary["scenario"]) == ("PASS", "plain-switch")
    assert summary["topology"] == {"zones": 2, "nodes": 4, "pods": 8}
    assert (summary["interval_ms"], summary["accuracy_ms"], summary["forwarding_delay_threshold_ms"]) == (20, 20, 2000)
    assert set(summary["arms"]) == {"GATED", "UNGATED"}
    for arm in summary["arms"].values():
        totals = arm["totals"]
        assert (arm["trials"], totals["flows"], len(arm["per_trial"])) == (1, 12, 1)
        total = sum(totals[name] for name in ("unimpaired", "lost", "duplicated", "reordered", "corrupted"))
        assert totals["offered"] == total
    assert {path.name for path in directory.iterdir()} == {
        "verdict.json",
        "summary.json",
        "report.md",
        "chart.svg",
        "report.html",
        "gated-1",
        "ungated-1",
    }


def test_a_covering_mesh_sees_the_switch_and_says_what_it_left_out(tmp_path: Path) -> None:
    done = run("compare", *FAST, "--mesh", "covering:1", "--zones", "3", "--nodes-per-zone", "3", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "27 of 72 ordered pairs of nodes were probed; the report says what this can miss" in done.stdout
    summary = json.loads((tmp_path / "latest" / "summary.json").read_bytes())
    assert summary["mesh"] == {
        "pairs": 72,
        "pairs_probed": 27,
        "routes": 27,
        "routes_probed": 27,
        "sources_min": 1,
        "nodes_two_ways": 9,
    }
    hit = {name: arm["totals"]["flows_hit"] for name, arm in summary["arms"].items()}
    assert (hit["UNGATED"] > 0, hit["GATED"]) == (True, 0)


def test_a_stored_comparison_is_judged_the_same(plain: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    directory, fresh = plain
    copy = shutil.copytree(directory, tmp_path / "copy")
    again = run("judge", str(copy), "--format", "json")
    assert (again.returncode, again.stderr) == (fresh.returncode, "")
    first, second = json.loads(fresh.stdout), json.loads(again.stdout)
    assert first == second
    text = run("judge", str(copy))
    assert (text.returncode, text.stderr) == (0, "")
    assert f"report: {copy / 'report.html'}" in text.stdout


@pytest.mark.parametrize(("arm", "code", "verdict"), [("gated", 0, "PASS"), ("ungated", 1, "FAIL")])
def test_a_single_stored_run_is_judged_the_same(
    plain: tuple[Path, subprocess.CompletedProcess[str]], arm: str, code: int, verdict: str
) -> None:
    run_directory = plain[0] / f"{arm}-1"
    stored = json.loads((run_directory / "verdict.json").read_text())
    done = run("judge", str(run_directory), "--format", "json")
    assert (done.returncode, done.stderr, stored["verdict"]) == (code, "", verdict)
    assert json.loads(done.stdout) == stored
    text = run("judge", str(run_directory))
    assert text.stdout.startswith(f"plain-switch {arm.upper()} trial 1: {verdict}\n")


@pytest.mark.parametrize(
    ("scenario", "code", "verdict"), [("admission-unavailable", 1, "FAIL"), ("nothing-happens", 20, "INCONCLUSIVE")]
)
def test_exit_codes_of_what_is_no_success(scenario: str, code: int, verdict: str, tmp_path: Path) -> None:
    done = run("compare", "--scenario", scenario, *FAST, "--output", str(tmp_path))
    assert done.returncode == code, done.stdout
    assert f"\n{verdict} " in done.stdout
    assert json.loads((tmp_path / "latest" / "summary.json").read_text())["verdict"] == verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trials", "0"), "Error: Invalid value for '--trials'"),
        (("--rate", "fast"), "hitless: --rate: found 'fast'; expected a number, or auto"),
        (("--rate", "nan"), "hitless: --rate: found nan; expected 1 to 10000 probes per second per flow"),
        (("--overlay", "geneve"), "Error: Invalid value for '--overlay'"),
        (("--sleep",), "Error: No such option: --sleep"),
        (("--zones", "1", "--nodes-per-zone", "1"), "hitless: --zones and --nodes-per-zone: found 1 * 1 nodes; expected 2 to"),
        (("--scenario", "nope"), "hitless: --scenario: no scenario nope; give a YAML file, or a name from `hitless scenarios`"),
        (("--scenario", "no.yaml"), "hitless: no.yaml: No such file or directory; give the path of a readable file"),
        (("--scenario", "BROKEN"), "scenario.yaml: line 2, column 1: found "),
        (("--scenario", "UNKNOWN_FAULT"), "unknown-fault.yaml: faults.0.name: found 'meteor'; expected "),
    ],
)
def test_wrong_input_is_one_message_and_nothing_is_made(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text("name: [\n")
    catalogue = ROOT / "scenarios" / "catalogue"
    text = (catalogue / "nothing-happens.yaml").read_text().replace("name: nothing-happens", "name: unknown-fault")
    text = text.replace("../shoots", str(catalogue.parent / "shoots")) + "faults: [{name: meteor, at_ms: 0}]\n"
    (tmp_path / "unknown-fault.yaml").write_text(text)
    files = {"BROKEN": str(tmp_path / "scenario.yaml"), "UNKNOWN_FAULT": str(tmp_path / "unknown-fault.yaml")}
    output = tmp_path / "output"
    done = run("compare", *(files.get(option, option) for option in options), "--output", str(output))
    assert (done.returncode, done.stdout) == (2, "")
    said = [line for line in done.stderr.splitlines() if line.startswith(("Error: ", "hitless: "))]
    assert len(said) == 1, done.stderr
    assert message in said[0]
    assert not output.exists()


@pytest.mark.parametrize("output", ["/dev/null/runs", "/proc/runs", __file__])
def test_an_output_that_cannot_be_written_to_is_one_message(output: str) -> None:
    done = run("compare", *FAST, "--output", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"hitless: cannot write records to {output} (")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    """Inside the tests' sandbox a mount is private."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(  # noqa: S603 - fixed words and our own folder
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"missing: mounts in the sandbox: {mounted.stderr}")
    done = run("compare", *FAST, "--output", str(disk))
    assert done.returncode == 20, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_ordinary_user_gets_the_same() -> None:
    """With a user namespace instead of privilege, in a folder of that user's own."""
    # Not below pytest's own folder, which only its owner may enter.
    output = Path(tempfile.mkdtemp(prefix="hitless-"))
    try:
        try:
            os.chown(output, OTHER_USER, OTHER_USER)
        except OSError as error:
            pytest.skip(f"missing: a second user: {error}")
        done = run_as_nobody(["-m", "commands.main", "compare", *FAST, "--output", str(output)])
        assert (done.returncode, "\nPASS GATED lost nothing in 1 trial" in done.stdout) == (0, True), done.stdout + done.stderr
        assert {path.stat().st_uid for path in output.rglob("*")} == {OTHER_USER}
    finally:
        shutil.rmtree(output)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff\x00 no such thing")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, scramble, empty, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "cluster.json",
        "events.jsonl",
        "sender.parquet",
        "reflector.parquet",
        "skipped.parquet",
        "clocks.parquet",
        "agents.json",
        "final.json",
    ],
)
def test_a_damaged_record_is_one_message_or_inconclusive(
    plain: tuple[Path, subprocess.CompletedProcess[str]], damage: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(plain[0] / "gated-1", tmp_path / "gated-1")
    damage(copy / name)
    # What a killed run lacks (its end, its probe records) or has by halves (the last event) is judged, and never as a success.
    try:
        verdict = judge_stored(copy, Format.TEXT)
    except (RecordDamagedError, UsageError) as error:
        assert str(copy) in str(error)  # noqa: PT017 - one of two good outcomes
        assert "\n" not in str(error)  # noqa: PT017 - likewise
    else:
        assert verdict is Verdict.INCONCLUSIVE


def test_a_damaged_record_is_named_in_the_report_and_the_comparison_is_inconclusive(
    plain: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    copy = shutil.copytree(plain[0], tmp_path / "copy")
    truncate(copy / "gated-1" / "sender.parquet")
    done = run("judge", str(copy))
    assert (done.returncode, done.stderr) == (20, "")
    assert f"a run cannot be read and is excluded: {copy}/gated-1/sender.parquet: " in done.stdout


@pytest.mark.parametrize("folder", ["missing", "empty", "file"])
def test_a_folder_that_is_no_run_is_a_usage_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    done = run("judge", str(tmp_path / folder))
    assert (done.returncode, done.stdout) == (2, "")
    what = "does not exist" if folder == "missing" else "no stored run here"
    expected = f"hitless: {tmp_path / folder}: {what}; give the folder of a stored comparison or of one stored run\n"
    assert done.stderr == expected


@pytest.mark.parametrize("command", ["scenarios", "--help"])
def test_a_closed_output_does_not_look_like_fail(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(  # noqa: S603 - one of the two above
            [sys.executable, "-m", "commands.main", command], cwd=ROOT, stdout=writer, check=False, timeout=PATIENCE_S
        )
    finally:
        os.close(writer)
    assert done.returncode == 141


@pytest.mark.parametrize(("program", "code"), [("true", 0), ("false", 1)])
def test_the_exit_code_of_a_program_in_a_lab_is_ours(program: str, code: int) -> None:
    name = f"exit-{program}"
    assert run("lab", "up", "--zones", "1", "--nodes-per-zone", "1", "--name", name).returncode == 0
    try:
        assert run("lab", "exec", "--name", name, "vpc", "--", program).returncode == code
    finally:
        assert run("lab", "down", "--name", name).returncode == 0
