"""Composition root of the pytest suites: options, fixtures, hooks. Nothing imports it.

`pytest suites/ --backend lab` runs every scenario of the catalogue. What needs namespaces runs inside namespaces of this
process's own, entered once, before the first such test.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import allure
import pytest

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from clusters.lab.cluster import check_faults
from clusters.linux.sandbox import enter_sandbox
from commands.arms import ArmCase, ArmOutcome, Execute, execute_trial
from commands.backends import Backend, BackendName, KubeconfigOptions, make_backend
from commands.reporting import write_arm
from commands.settings import RUNS, make_run_directory
from hitless.errors import HitlessError, MissingCapabilityError, UsageError
from hitless.words import Overlay, Profile, Verdict
from scenarios.model import Scenario, catalogue, find_scenario, load_scenario
from scenarios.plan import Options, expectation_gap, make_case

ROOT = Path(__file__).parent
_executed = pytest.StashKey[int]()
_reached = pytest.StashKey[int]()
_refusal = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options; pytest-kind owns --cluster-name, --keep-cluster, --kubeconfig and --kind-*."""
    group = parser.getgroup("hitless")
    group.addoption("--backend", choices=list(BackendName), default=BackendName.LAB, help="where (default: lab)")
    group.addoption("--scenario", action="append", default=[], help="only this scenario, by name or file; may be repeated")
    group.addoption(
        "--profile", choices=list(Profile), default=None, help="timing constants (default: lab fast, kind gardener)"
    )
    group.addoption("--overlay", choices=list(Overlay), default=None, help="encapsulation (default: each scenario's own)")
    group.addoption("--zones", type=int, default=None, help="number of zones (default: each scenario's own)")
    group.addoption("--nodes-per-zone", type=int, default=None, help="nodes a zone (default: each scenario's own)")
    group.addoption("--rate", type=float, default=None, help="probes a second a flow (default: each scenario's own)")
    group.addoption("--trials", type=int, default=1, help="runs of each arm (default: 1)")
    group.addoption("--prober-image", default=None, help="with --backend kubeconfig: the probers' image, as nodes can pull it")
    group.addoption("--keep", action="store_true", help="keep the records of arms that came out as expected, too")


def _backend(config: pytest.Config) -> Backend:
    """Return where the scenarios run; the options of a kind cluster are pytest-kind's. Raises UsageError."""
    option = config.getoption
    paths = {name: Path(option(name)).expanduser() for name in ("kind_bin", "kind_kubectl_bin") if option(name)}
    kind_options = KindOptions(
        cluster_name=option("cluster_name") or DEFAULT_CLUSTER_NAME,
        kind_bin=paths.get("kind_bin"),
        kubectl_bin=paths.get("kind_kubectl_bin"),
        image=option("kind_image"),
        keep=option("keep_cluster"),
    )
    kubeconfig_options = KubeconfigOptions(
        kubeconfig=Path(option("kubeconfig")).expanduser() if option("kubeconfig") else None,
        image=option("--prober-image"),
        rate_hz=option("--rate"),
    )
    return make_backend(BackendName(option("--backend")), kind_options, kubeconfig_options)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every arm of every scenario."""
    if "arm_case" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    try:
        backend = _backend(metafunc.config)
        options = Options(
            profile=Profile(option("--profile") or backend.profile),
            overlay=Overlay(option("--overlay")) if option("--overlay") else None,
            zones=option("--zones"),
            nodes_per_zone=option("--nodes-per-zone"),
            rate_hz=option("--rate") or backend.rate_hz,
        )
        if option("--trials") < 1:
            raise UsageError(where="--trials", found=str(option("--trials")), allowed="1 or more")  # noqa: TRY301 - one place
        paths = dict.fromkeys(find_scenario(name) for name in option("--scenario")) or catalogue()
        cases = [case for path in paths for case in _make_arm_cases(load_scenario(path), options, option("--trials"))]
    except UsageError as error:
        # A UsageError of pytest's own would come with the traceback of its plugins.
        raise pytest.Collector.CollectError(str(error)) from error
    metafunc.parametrize("arm_case", cases, ids=[case.id for case in cases])


def _make_arm_cases(scenario: Scenario, options: Options, trials: int) -> Iterator[ArmCase]:
    """Return a scenario's arms; where its expectations do not hold, as it is and with the gap that makes the test skip."""
    gap = expectation_gap(scenario, options)
    case = make_case(scenario, options if gap is None else Options(profile=options.profile))
    check_faults(case)
    for arm in scenario.arm_plans:
        yield ArmCase(case=case, arm=arm, trials=trials, gap=gap)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Enter namespaces of our own before the first test that needs them; the process that started only waits then."""
    folders = {item.path.relative_to(ROOT).parts[:2] for item in session.items if item.path.is_relative_to(ROOT)}
    has_lab = ("tests", "lab") in folders
    has_suites = any(parts[0] == "suites" for parts in folders) and _backend(session.config).needs_sandbox
    if not session.config.option.collectonly and (has_lab or has_suites):
        try:
            enter_sandbox()
        except MissingCapabilityError as error:
            session.config.stash[_refusal] = str(error)


@pytest.fixture(scope="session")
def runs_directory() -> Path:
    """A new folder for the records of this session."""
    return make_run_directory(RUNS, "suites")


@pytest.fixture
def execute(
    request: pytest.FixtureRequest, runs_directory: Path, record_property: Callable[[str, object], None]
) -> Iterator[Execute]:
    """How a test executes its arm: skip where the machine lacks something, run the trials, write and attach the report."""
    stash, backend = request.config.stash, _backend(request.config)
    kept: list[ArmOutcome] = []

    def run_arm(arm_case: ArmCase) -> ArmOutcome:
        stash[_reached] = stash.get(_reached, 0) + 1
        if _refusal in stash:
            pytest.skip(f"missing capability: namespaces: {stash[_refusal]}")
        directory = runs_directory / arm_case.id
        try:
            reason = _find_skip(backend, arm_case)
            if reason is not None:
                pytest.skip(reason)
            stash[_executed] = stash.get(_executed, 0) + 1
            runs = tuple(
                execute_trial(backend, arm_case.case, arm_case.arm, trial, directory / str(trial))
                for trial in range(1, arm_case.trials + 1)
            )
        except HitlessError as error:
            pytest.fail(f"{Verdict.INCONCLUSIVE}: {error}", pytrace=False)
        outcome = ArmOutcome(runs=runs, directory=directory)
        report = write_arm(outcome)
        allure.attach.file(str(report), name="report", extension="md")  # type: ignore[no-untyped-call]  # allure has no types
        record_property("verdict", ",".join(outcome.verdicts))
        kept.append(outcome)
        return outcome

    yield run_arm
    is_expected = not getattr(request.node, "has_failed", False)
    if is_expected and not request.config.getoption("--keep"):
        for outcome in kept:
            for directory in outcome.directory.iterdir():
                if directory.is_dir():
                    shutil.rmtree(directory)


def _find_skip(backend: Backend, arm_case: ArmCase) -> str | None:
    """Return why an arm cannot be executed, or says nothing, on a backend; None: it can, and does."""
    if arm_case.gap is not None:
        return f"not expected: {arm_case.gap}"
    act = backend.find_act(arm_case.case, arm_case.arm)
    if act is not None:
        return f"this cluster is only watched; hitless would have to {act}"
    missing = backend.find_missing(arm_case.case)
    return f"missing capability: {', '.join(missing)}" if missing else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether a test failed, so that its records are kept."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]  # pluggy sends the report
        item.has_failed = True  # type: ignore[attr-defined]  # a mark for the fixture above
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a session whose scenarios were all skipped: nothing was shown."""
    stash = session.config.stash
    if exitstatus == pytest.ExitCode.OK and stash.get(_reached, 0) and not stash.get(_executed, 0):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say that nothing was shown where every scenario was skipped."""
    if config.stash.get(_reached, 0) and not config.stash.get(_executed, 0):
        terminalreporter.write_line("hitless: no scenario was run: every one was skipped; that is a failure", red=True)
