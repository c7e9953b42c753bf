"""Where a scenario can run: the one place that knows every cluster there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from functools import partial
from pathlib import Path

from clusters.kind import cluster as kind
from clusters.kind.config import KindOptions
from clusters.lab import cluster as lab
from commands.watched_scenarios import WatchedScenarios, confirm_switched, find_act
from commands.watching import WatchOptions
from hitless.errors import UsageError
from hitless.history import History
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster
from hitless.words import Arm, Profile
from scenarios.plan import Case, make_plan


@unique
class BackendName(StrEnum):
    """What `--backend` may say."""

    LAB = "lab"
    KIND = "kind"
    KUBECONFIG = "kubeconfig"
    """Somebody else's cluster: only watched."""


def _find_no_act(_case: Case, _arm: Arm) -> None:
    """What a scenario does may be done in a cluster of ours."""


def _confirm(_case: Case, _history: History) -> None:
    """A cluster of ours does what the scenario says, or the run has errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeconfigOptions:
    """What the command line says about a cluster that is only watched."""

    kubeconfig: Path | None = None
    image: str | None = None
    """The probers', as the cluster's nodes can pull it."""
    rate_hz: float | None = None
    """Probes a second and flow; None: few, since the cluster is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of cluster."""

    name: BackendName
    make_cluster: Callable[[Case, Clock], Cluster]
    """Returns the cluster that a scenario asks for, not up yet."""
    find_missing: Callable[[Case], tuple[str, ...]]
    """Returns what a scenario needs and this backend does not offer here."""
    profile: Profile
    """Default: real parts take their real time."""
    needs_sandbox: bool
    """Whether it lives in namespaces of this process's own."""
    rate_hz: float | None = None
    """Probes a second and flow by default; None: each scenario's own."""
    make_plan: Callable[[Case, Arm, int, Clock], RunPlan] = make_plan
    """Returns what a trial of an arm does there."""
    find_act: Callable[[Case, Arm], str | None] = _find_no_act
    """Returns what would have to be done for an arm that may not be done there; None: nothing."""
    confirm: Callable[[Case, History], None] = _confirm
    """Raises WorldError where a run, whatever came of it, was not what its scenario says."""


def make_backend(
    name: BackendName, kind_options: KindOptions | None = None, kubeconfig_options: KubeconfigOptions | None = None
) -> Backend:
    """Return a backend.

    Args:
        name: which one.
        kind_options: what the command line says about a kind cluster; None: all at their defaults.
        kubeconfig_options: what it says about a cluster that is only watched.

    Raises:
        UsageError: what a backend cannot do without is not said.
    """
    match name:
        case BackendName.LAB:
            return Backend(
                name=name,
                make_cluster=lab.make_lab_cluster,
                find_missing=lab.capabilities_missing,
                profile=Profile.FAST,
                needs_sandbox=True,
            )
        case BackendName.KIND:
            return Backend(
                name=name,
                make_cluster=partial(_make_kind_cluster, kind_options or KindOptions()),
                find_missing=kind.capabilities_missing,
                profile=Profile.GARDENER,
                needs_sandbox=False,
            )
        case BackendName.KUBECONFIG:
            return _make_kubeconfig_backend(kubeconfig_options or KubeconfigOptions())


def _make_kubeconfig_backend(options: KubeconfigOptions) -> Backend:
    for option, value in (("--kubeconfig", options.kubeconfig), ("--prober-image", options.image)):
        if value is None:
            raise UsageError(where=option, found="nothing", allowed="its value: --backend kubeconfig cannot do without")
    assert options.kubeconfig is not None  # noqa: S101 - checked above
    assert options.image is not None  # noqa: S101 - checked above
    watch = WatchOptions(image=options.image)
    watch = watch if options.rate_hz is None else replace(watch, rate_hz=options.rate_hz)
    scenarios = WatchedScenarios(kubeconfig=options.kubeconfig, options=watch)
    return Backend(
        name=BackendName.KUBECONFIG,
        make_cluster=scenarios.make_cluster,
        find_missing=scenarios.find_missing,
        profile=Profile.GARDENER,
        needs_sandbox=False,
        rate_hz=watch.rate_hz,
        make_plan=scenarios.make_plan,
        find_act=find_act,
        confirm=confirm_switched,
    )


def _make_kind_cluster(options: KindOptions, case: Case, clock: Clock) -> Cluster:
    return kind.make_kind_cluster(case, clock, options)
