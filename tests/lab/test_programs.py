"""Programs in place of doubles: reference programs with the API of the released ones, and programs that fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from analysis.evidence import JudgedRun
from clusters.programs.api_server import find_assets
from clusters.programs.cluster import Programs
from commands.arms import execute_trial
from commands.backends import fit_backend, make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from gardener.releases import CALICO_VERSION
from hitless.errors import MissingCapabilityError, WorldError
from hitless.facts import GARDENER_PARTS, Part
from hitless.words import Arm, Kind, Mode, Verdict
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Options, make_case
from tests.event_contract import is_in_the_contract
from tests.programs.reference_api import VERSION

ROOT = Path(__file__).parents[2]
RATE_HZ = 20


@pytest.fixture(scope="session", autouse=True)
def assets() -> None:
    try:
        find_assets()
    except MissingCapabilityError as error:
        pytest.skip(f"missing: {error}")


def write_program(path: Path, text: str) -> Path:
    """Write a Python program that a run can start."""
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def reference(folder: Path, name: str) -> Path:
    return write_program(folder / name, f"from tests.programs.reference_{name} import main\nmain()")


def run_arm(folder: Path, arm: Arm, programs: Programs) -> JudgedRun:
    performer = make_performer(SwitchName.DOUBLES, programs=programs)
    backend = fit_backend(make_backend(BackendName.LAB), performer)
    options = Options(profile=backend.choose_profile(None), nodes_per_zone=1, rate_hz=RATE_HZ)
    case = make_case(load_scenario(find_scenario("plain-switch")), options)
    return execute_trial(backend, performer, case, arm, 1, folder / "run")


def all_references(folder: Path) -> Programs:
    names = {
        Part.EXTENSION: "extension",
        Part.RESOURCE_MANAGER: "resource_manager",
        Part.ROUTE_CONTROLLER: "route_controller",
    }
    return {part: reference(folder, name) for part, name in names.items()}


@pytest.fixture(scope="module", params=list(Arm))
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> JudgedRun:
    """One run of each arm with a program in place of every double."""
    folder = tmp_path_factory.mktemp("programs")
    return run_arm(folder, request.param, all_references(folder))


def test_the_plain_switch_with_programs_comes_out_as_with_doubles(judged: JudgedRun) -> None:
    history = judged.history
    arm = history.header.arm
    assert history.errors == ()
    assert [event for event in history.events if not is_in_the_contract(event)] == []
    assert judged.verdict is {Arm.GATED: Verdict.PASS, Arm.UNGATED: Verdict.FAIL}[arm]
    decided = [event.name for event in history.events if event.name in {"gate.opened", "gate.not_applicable"}]
    assert decided == [{Arm.GATED: "gate.opened", Arm.UNGATED: "gate.not_applicable"}[arm]]
    assert history.first_event("run.settled") is not None


def test_the_gate_is_seen_to_hold_and_what_it_missed_is_not_known(judged: JudgedRun) -> None:
    held = [event.facts for event in judged.history.events_named("gate.held")]
    assert bool(held) is (judged.history.header.arm is Arm.GATED)
    assert {facts["missing"] for facts in held} <= {None}
    assert all("waiting for routes" in facts["error"] for facts in held)


def test_calicos_objects_are_carried_once_in_the_order_of_their_apply(judged: JudgedRun) -> None:
    applied = [(event.facts["kind"], event.facts["mode"]) for event in judged.history.events_named("manifest.applied")]
    calico = [one for one in applied if one[0] in {Kind.DAEMON_SET, Kind.IP_POOL}]
    assert calico[0] == (Kind.DAEMON_SET, Mode.NATIVE)
    assert calico.count((Kind.DAEMON_SET, Mode.NATIVE)) == 1
    assert [one for one in calico if one[0] == Kind.IP_POOL] == calico[1:]
    deleted = [event.facts["name"] for event in judged.history.events_named("object.deleted")]
    assert deleted == ["calico-kube-controllers"]


def test_every_part_has_an_identity(judged: JudgedRun) -> None:
    parts = {part.name: part for part in judged.history.parts}
    assert {name for name, part in parts.items() if not part.is_double} >= set(GARDENER_PARTS)
    extension = parts[Part.EXTENSION]
    assert extension.version == VERSION
    assert extension.calico_version == CALICO_VERSION
    assert extension.path is not None
    assert Path(extension.path).name == "extension"
    assert extension.digest is not None
    assert extension.digest.startswith("sha256:")


def test_the_whole_logs_are_in_the_runs_folder(judged: JudgedRun) -> None:
    path = judged.history.parts[0].path
    assert path is not None
    logs = Path(path).parent / "run" / "programs"
    names = ("aws-custom-route-controller", "etcd", "gardener-extension-networking-calico", "gardener-resource-manager")
    assert {f"{name}.log" for name in (*names, "kube-apiserver")} == {one.name for one in logs.iterdir()}
    assert "applied" in (logs / "gardener-resource-manager.log").read_text()


def test_a_program_that_ends_at_once_ends_the_run_with_its_last_lines(tmp_path: Path) -> None:
    broken = write_program(tmp_path / "extension", "sys.stderr.write('no such flag: --config-file\\n')\nsys.exit(3)")
    programs = {Part.EXTENSION: broken, Part.RESOURCE_MANAGER: reference(tmp_path, "resource_manager")}
    with pytest.raises(WorldError) as caught:
        run_arm(tmp_path, Arm.GATED, programs)
    assert "gardener-extension-networking-calico ended with exit code 3" in str(caught.value)
    assert "no such flag: --config-file" in str(caught.value)
    assert str(tmp_path / "run" / "programs" / "gardener-extension-networking-calico.log") in str(caught.value)


def run_with_extension(tmp_path: Path, text: str) -> JudgedRun:
    """Run the gated arm with a program of this text as the extension."""
    extension = write_program(tmp_path / "extension", text)
    programs = {Part.EXTENSION: extension, Part.RESOURCE_MANAGER: reference(tmp_path, "resource_manager")}
    return run_arm(tmp_path, Arm.GATED, programs)


def test_a_program_that_panics_during_the_run_makes_it_inconclusive(tmp_path: Path) -> None:
    text = (
        "from tests.programs import reference_extension\n"
        "def panic(*_): raise SystemExit('panic: runtime error: invalid memory address')\n"
        "reference_extension.hold = panic\n"
        "reference_extension.main()"
    )
    judged = run_with_extension(tmp_path, text)
    assert judged.verdict is Verdict.INCONCLUSIVE
    (error,) = judged.history.errors
    assert "gardener-extension-networking-calico ended with exit code 1" in error
    assert "panic: runtime error" in error


def test_a_program_that_never_becomes_ready_ends_the_run_with_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusters.programs.cluster._READY_S", 5.0)
    idle = write_program(tmp_path / "extension", "import signal\nsys.stderr.write('waiting for caches\\n')\nsignal.pause()")
    programs = {Part.EXTENSION: idle, Part.RESOURCE_MANAGER: reference(tmp_path, "resource_manager")}
    with pytest.raises(WorldError) as caught:
        run_arm(tmp_path, Arm.GATED, programs)
    assert "the Network was not reconciled and applied after 5 s: Network: no status" in str(caught.value)
    assert "waiting for caches" in str(caught.value)


def test_a_control_plane_that_is_lost_makes_the_run_inconclusive(tmp_path: Path) -> None:
    text = (
        "import contextlib, os, signal\n"
        "from pathlib import Path\n"
        "from tests.programs import reference_extension\n"
        "from tests.programs.reference_api import read_flags\n"
        "data = Path(read_flags('kubeconfig').kubeconfig).parent\n"
        "def kill(*_):\n"
        "    for one in Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        with contextlib.suppress(OSError):  # other processes end meanwhile\n"
        "            if f'--cert-dir={data}/'.encode() in one.read_bytes():\n"
        "                os.kill(int(one.parent.name), signal.SIGKILL)\n"
        "reference_extension.hold = kill\n"
        "reference_extension.main()"
    )
    judged = run_with_extension(tmp_path, text)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert any("kube-apiserver was killed by signal 9" in error for error in judged.history.errors)
