"""Where a scenario can run: the one place that knows every cluster there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial

from clusters.kind import cluster as kind
from clusters.kind.config import KindOptions
from clusters.lab import cluster as lab
from hitless.ports import Clock, Cluster
from hitless.words import Profile
from scenarios.plan import Case


@unique
class BackendName(StrEnum):
    """What `--backend` may say."""

    LAB = "lab"
    KIND = "kind"


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


def make_backend(name: BackendName, kind_options: KindOptions | None = None) -> Backend:
    """Return a backend.

    Args:
        name: which one.
        kind_options: what the command line says about a kind cluster; None: all at their defaults.
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


def _make_kind_cluster(options: KindOptions, case: Case, clock: Clock) -> Cluster:
    return kind.make_kind_cluster(case, clock, options)
