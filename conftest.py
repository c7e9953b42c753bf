"""Composition root of the pytest suites: options, fixtures, hooks. Nothing imports it.

`pytest suites/ --backend lab` runs every scenario of the catalogue. What needs namespaces runs inside namespaces of this
process's own, entered once, before the first such test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import allure
import pytest

from clusters.kind.config import KindOptions
from clusters.linux.interrupts import is_interrupt
from clusters.linux.sandbox import enter_own_network, enter_sandbox, is_inside
from commands import options as declared
from commands.arms import ArmCase, ArmOutcome, Execute, execute_trial
from commands.backends import Backend, fit_backend, make_backend
from commands.options import (
    DOUBLE,
    RUNS_HELP,
    TRIALS_MAX,
    BackendName,
    default_runs,
    make_fresh_directory,
    make_run_directory,
    read_mesh,
)
from commands.performers import Performer, SwitchName, find_impossible, make_performer, read_programs
from commands.session_report import SessionLive, SessionReport, finish_arm, report_arm
from hitless.errors import HitlessError, MissingCapabilityError, UsageError
from hitless.words import IpipCarrier, Overlay, Profile, Verdict
from reports.gate.rules import Trait
from scenarios.loading import catalogue, find_scenario, load_scenario
from scenarios.mesh import FULL_MESH
from scenarios.model import Scenario
from scenarios.plan import Options, expectation_gap, make_case

SHARED = {
    "profile": (declared.ProfileName, None),
    "overlay": (declared.OverlayName, None),
    "carrier": (declared.Carrier, None),
    "calico-version": (declared.CalicoVersion, None),
    "extension": (declared.Extension, DOUBLE),
    "resource-manager": (declared.ResourceManager, DOUBLE),
    "route-controller": (declared.RouteController, DOUBLE),
    "zones": (declared.Zones, None),
    "nodes-per-zone": (declared.NodesPerZone, None),
    "mesh": (declared.MeshName, None),
}
"""Options that `hitless compare` has as well: how they are declared there, and their defaults."""
ROOT = Path(__file__).parent
SUITES = ROOT / "suites"
LAB_TESTS = ROOT / "tests" / "lab"
WORKER_INPUT = "hitless_input"
_refusal = pytest.StashKey[str]()
_records = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suites' options; pytest-kind owns --cluster-name, --keep-cluster, --kubeconfig and --kind-*."""
    group = parser.getgroup("hitless")
    group.addoption("--backend", choices=list(BackendName), default=BackendName.LAB, help="cluster to run on (default: lab)")
    group.addoption(
        "--switch",
        choices=list(SwitchName),
        default=None,
        help="what performs the switch (default: doubles; with kubeconfig observer)",
    )
    group.addoption("--scenario", action="append", default=[], help="only this scenario, by name or file; may be repeated")
    for name, (alias, default) in SHARED.items():
        hint, option = get_args(alias)
        kind = next(iter(get_args(hint)), hint)
        values: dict[str, Any] = {"choices": list(kind)} if issubclass(kind, Enum) else {"type": kind}
        group.addoption(f"--{name}", default=default, help=option.help, **values)
    group.addoption("--rate", type=float, default=None, help="probes per second per flow (default: each scenario's own)")
    group.addoption("--trials", type=int, default=1, help="runs of each arm (default: 1)")
    group.addoption(
        "--prober-image",
        default=None,
        help="with --backend kubeconfig: the image of the probers, by the name under which the nodes pull it",
    )
    group.addoption("--output", type=_read_path, help=f"folder for the records (default: {RUNS_HELP})")
    group.addoption("--baseline", type=_read_path, help="summaries of the last release: end with the release gate's decision")
    group.addoption("--history", type=_read_path, help="add the session's summaries to this history (hitless history)")
    group.addoption("--release", default=None, help="with --history: version under test (default: the extension's)")
    group.addoption("--rules", type=_read_path, help="with --baseline: rules file of the gate (default: the built-in rules)")
    group.addoption("--decisions", type=_read_path, help="with --baseline: the extension's decision table (hitless conform)")
    group.addoption(
        "--allow-different",
        action="append",
        choices=list(Trait),
        default=[],
        help="with --baseline: trait in which the sides may differ; may be repeated",
    )
    group.addoption("--keep", action="store_true", help="also keep the records of arms with the expected verdict")


def _read_path(text: str) -> Path:
    return Path(text).expanduser()


def pytest_configure(config: pytest.Config) -> None:
    """Register what ends a session of suites: its report, the release gate, the history. Bad input ends it with 2 at once."""
    if _is_worker(config):
        return

    def find_records() -> Path | None:
        return config.stash.get(_records, None)

    config.pluginmanager.register(SessionReport(find_records), "hitless-report")
    if config.get_verbosity() >= 0:
        config.pluginmanager.register(SessionLive(config, find_records), "hitless-live")
    try:
        _register_gate(config, find_records)
        _register_history(config, find_records)
    except UsageError as error:
        pytest.exit(f"hitless: {error}", returncode=error.exit_code)


def _register_gate(config: pytest.Config, find_records: Callable[[], Path | None]) -> None:
    option = config.getoption
    if option("--baseline") is None:
        if option("--rules") or option("--allow-different") or option("--decisions"):
            raise UsageError("--rules, --allow-different and --decisions have no effect without --baseline; leave them out")
        return
    from commands.gate import GateOptions, read_question, read_side  # noqa: PLC0415 - scipy takes a second to import
    from commands.session_gate import SessionGate  # noqa: PLC0415 - as above

    files = [path for name in option("--scenario") if (path := find_scenario(name)) not in catalogue()]
    options = GateOptions(
        rules_file=option("--rules"),
        scenario_files=tuple(files),
        allow_different=tuple(Trait(name) for name in option("--allow-different")),
        decisions=option("--decisions"),
    )
    baseline = read_side("BASELINE", option("--baseline"))
    gate = SessionGate(baseline=baseline, question=read_question(options, baseline), find_records=find_records)
    config.pluginmanager.register(gate, "hitless-gate")


def _register_history(config: pytest.Config, find_records: Callable[[], Path | None]) -> None:
    history, release = config.getoption("--history"), config.getoption("--release")
    if history is None:
        if release is not None:
            raise UsageError("--release has no effect without --history; leave it out")
        return
    from commands.session_gate import SessionHistory  # noqa: PLC0415 - scipy takes a second to import

    config.pluginmanager.register(
        SessionHistory(history=history, release=release, find_records=find_records), "hitless-history"
    )


def _backend(config: pytest.Config) -> Backend:
    """Return where the scenarios run; the options of a kind cluster are pytest-kind's. Raises UsageError."""
    option = config.getoption
    paths = {name: _read_path(option(name)) for name in ("kind_bin", "kind_kubectl_bin", "kubeconfig") if option(name)}
    kind_options = KindOptions(
        # By default the one of `hitless kind down`, not pytest-kind's: pyproject.toml gives it.
        cluster_name=option("cluster_name"),
        kind_bin=paths.get("kind_bin"),
        kubectl_bin=paths.get("kind_kubectl_bin"),
        image=option("kind_image"),
        keep=option("keep_cluster"),
    )
    name, image = BackendName(option("--backend")), option("--prober-image")
    return make_backend(name, kind_options, kubeconfig=paths.get("kubeconfig"), image=image)


def _performer(config: pytest.Config, backend: Backend) -> Performer:
    """Return the performer of the switch. Raises UsageError."""
    switch = config.getoption("--switch")
    options = ("--extension", "--resource-manager", "--route-controller")
    programs = read_programs(*(config.getoption(option) for option in options))
    return make_performer(backend.choose_switch(None if switch is None else SwitchName(switch)), programs=programs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every arm of every scenario."""
    if "arm_case" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    try:
        backend = _backend(metafunc.config)
        backend = fit_backend(backend, _performer(metafunc.config, backend), option("--calico-version"))
        options = Options(
            profile=backend.choose_profile(Profile(option("--profile")) if option("--profile") else None),
            overlay=Overlay(option("--overlay")) if option("--overlay") else None,
            zones=option("--zones"),
            nodes_per_zone=option("--nodes-per-zone"),
            rate_hz=backend.rate_hz if option("--rate") is None else option("--rate"),
            carrier=IpipCarrier(option("--carrier")) if option("--carrier") else None,
            calico_version=option("--calico-version"),
            mesh=read_mesh(option("--mesh")) or FULL_MESH,
        )
        if options.carrier is not None and backend.name is not BackendName.LAB:
            raise UsageError("--carrier needs --backend lab; leave it out")  # noqa: TRY301 - one place
        if not 1 <= option("--trials") <= TRIALS_MAX:
            raise UsageError(f"--trials must be from 1 to {TRIALS_MAX}")  # noqa: TRY301 - one place
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
    for arm in scenario.arm_plans:
        yield ArmCase(case=case, arm=arm, trials=trials, gap=gap)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Enter the sandbox before a plugin starts a thread; the process that was started only waits then.

    Workers of pytest-xdist are started inside it, and end with it.

    Raises:
        UsageError: pytest's; the option forks a process that has threads.
    """
    if config.getoption("forked", default=False):
        raise pytest.UsageError("--forked is not supported: the lab's threads do not survive a fork; use -n 2 (pytest-xdist)")
    if _is_worker(config):
        _read_worker_input(config)
    elif not config.option.collectonly and _has_sandboxed_tests(config):
        try:
            enter_sandbox()
        except MissingCapabilityError as error:
            config.stash[_refusal] = str(error)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Separate the labs of the workers of pytest-xdist: after their plugins have connected to the process that started them."""
    if _is_worker(session.config) and is_inside() and _has_sandboxed_tests(session.config):
        enter_own_network()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _has_sandboxed_tests(config: pytest.Config) -> bool:
    """Return whether tests that need namespaces of their own may be among those asked for."""
    return _is_asked_for(config, LAB_TESTS) or (
        config.getoption("--backend") == BackendName.LAB and _is_asked_for(config, SUITES)
    )


def _is_asked_for(config: pytest.Config, folder: Path) -> bool:
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path.is_relative_to(folder) or folder.is_relative_to(path) for path in paths)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - WorkerController of pytest-xdist, which is optional
    """Tell a worker why there is no sandbox, and the folder of this session's records."""
    stash = node.config.stash
    if _records not in stash and _is_asked_for(node.config, SUITES):
        stash[_records] = _make_runs_directory(node.config)
    node.workerinput[WORKER_INPUT] = {
        "refusal": stash.get(_refusal, None),
        "records": str(stash[_records]) if _records in stash else None,
    }


def _read_worker_input(config: pytest.Config) -> None:
    told = config.workerinput[WORKER_INPUT]  # type: ignore[attr-defined]  # pytest-xdist adds it
    if told["refusal"] is not None:
        config.stash[_refusal] = told["refusal"]
    if told["records"] is not None:
        config.stash[_records] = Path(told["records"])


@pytest.fixture(scope="session")
def sandbox_refusal(pytestconfig: pytest.Config) -> str | None:
    """Why this machine gives the tests no namespaces; None: it does."""
    return pytestconfig.stash.get(_refusal, None)


@pytest.fixture(scope="session")
def runs_directory(pytestconfig: pytest.Config) -> Path:
    """A new folder for the records of this session; the workers of pytest-xdist share one."""
    if _records not in pytestconfig.stash:
        pytestconfig.stash[_records] = _make_runs_directory(pytestconfig)
    return pytestconfig.stash[_records]


def _make_runs_directory(config: pytest.Config) -> Path:
    try:
        return make_run_directory(config.getoption("--output") or default_runs(), "suites")
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def execute(
    request: pytest.FixtureRequest, runs_directory: Path, record_property: Callable[[str, object], None]
) -> Iterator[Execute]:
    """How a test executes its arm: skip where the machine lacks something, run the trials, write and attach the report."""
    config, backend = request.config, _backend(request.config)
    performer = _performer(config, backend)
    request.node.has_failed = False  # a test that is repeated has a result of its own each time
    kept: list[ArmOutcome] = []

    def run_arm(arm_case: ArmCase) -> ArmOutcome:
        for name, value in (
            ("scenario", arm_case.case.scenario.name),
            ("arm", arm_case.arm.value),
            ("expected", arm_case.plan.expect.value),
        ):
            record_property(name, value)
            allure.dynamic.parameter(name, value)
        allure.dynamic.title(arm_case.id)  # type: ignore[no-untyped-call]  # allure has no types
        allure.dynamic.parameter("arm_case", arm_case.id)  # in place of its whole plan
        if _refusal in config.stash:
            pytest.skip(f"missing capability: namespaces: {config.stash[_refusal]}")
        try:
            reason = _find_skip(backend, performer, arm_case)
            if reason is not None:
                pytest.skip(reason)
            performer.check()
            # Plugins that repeat a test execute its arm again: each execution has a folder of its own.
            directory = make_fresh_directory(runs_directory, arm_case.id)
            runs = []
            for trial in range(1, arm_case.trials + 1):
                with allure.step(f"trial {trial}"):
                    case, arm = arm_case.case, arm_case.arm
                    runs.append(execute_trial(backend, performer, case, arm, trial, directory / str(trial)))
        except HitlessError as error:
            pytest.fail(f"{Verdict.INCONCLUSIVE}: {error}", pytrace=False)
        outcome = ArmOutcome(runs=tuple(runs), directory=directory)
        kept.append(outcome)
        for path in report_arm(outcome, record_property):
            kind = allure.attachment_type.HTML if path.suffix == ".html" else allure.attachment_type.SVG
            allure.attach.file(str(path), name=path.name, attachment_type=kind)  # type: ignore[no-untyped-call]  # as above
        return outcome

    yield run_arm
    for outcome in kept:
        finish_arm(outcome, runs_directory, is_expected=not request.node.has_failed, must_keep=config.getoption("--keep"))


def _find_skip(backend: Backend, performer: Performer, arm_case: ArmCase) -> str | None:
    """Return why an arm cannot be executed, or says nothing, there and by that performer; None: it can, and does."""
    if arm_case.gap is not None:
        return f"not expected: {arm_case.gap}"
    act = find_impossible(performer, arm_case.case, arm_case.arm)
    if act is not None:
        return f"{performer.label} cannot {act}"
    missing = backend.find_missing(arm_case.case)
    return f"missing capability: {', '.join(missing)}" if missing else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember whether a test failed, so that its records are kept; an interrupt that became another error ends the session."""
    report = yield
    if call.excinfo is not None and is_interrupt(call.excinfo.value):
        raise KeyboardInterrupt from call.excinfo.value
    if report.failed:  # type: ignore[attr-defined]  # pluggy sends the report
        item.has_failed = True  # type: ignore[attr-defined]  # a mark for the fixture above
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leave out frames that the signal met between two lines: they have no line number, which pytest's own report needs."""
    excinfo.traceback = excinfo.traceback.filter(lambda entry: entry._rawentry.tb_lineno is not None)  # noqa: SLF001 - no other way
