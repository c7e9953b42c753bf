"""The registry of clusters that a scenario can run on. For the performers of the switch see `commands.performers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from clusters.kind import cluster as kind
from clusters.kind.config import KindOptions
from clusters.kind.machine import capabilities_missing
from clusters.kubernetes.prober_manifests import NAMESPACE
from clusters.kubernetes.watched import check_records, count_families, find_mismatches, make_watched_cluster, read_zones
from clusters.lab import cluster as lab
from commands.options import BackendName
from commands.performers import Act, Performer, SwitchName
from hitless.errors import UsageError
from hitless.ports import Clock, Cluster
from hitless.words import Profile
from scenarios.plan import Case
from switches.observer import ObserverOptions

KIND_RATE_HZ: Final = 20.0
"""Probes per second per flow with the control plane on the same machine: 2 cores sustain 20 on 4 nodes, not 50. Measured."""
WATCHED_RATE_HZ: Final = 20.0
"""Probes per second per flow in a cluster that hitless only watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of cluster."""

    name: BackendName
    make_cluster: Callable[[Case, Clock], Cluster]
    """Returns the cluster that a scenario asks for, not up yet."""
    find_missing: Callable[[Case], tuple[str, ...]]
    """Returns the capabilities that a scenario needs and this backend lacks here."""
    profiles: tuple[Profile, ...]
    """Timing constants that work there, the default first: real parts take their real time."""
    switches: tuple[SwitchName, ...]
    """Possible performers of the switch, the default first."""
    needs_sandbox: bool = False
    """Whether it runs in namespaces of this process."""
    rate_hz: float | None = None
    """Probes per second per flow by default; None: each scenario's own."""
    rate_watched_s: float = 0.5
    """How long `--rate auto` watches each rate, s."""

    def choose_profile(self, profile: Profile | None) -> Profile:
        """Return the timing constants to use. Raises UsageError: this backend does not work with these."""
        if profile is None:
            return self.profiles[0]
        if profile not in self.profiles:
            raise UsageError(
                f"--profile {profile} does not work with --backend {self.name}, because its runs end before real parts act; "
                f"use --profile {self.profiles[0]}"
            )
        return profile

    def choose_switch(self, switch: SwitchName | None) -> SwitchName:
        """Return the performer of the switch. Raises UsageError: not possible on this backend."""
        if switch is None:
            return self.switches[0]
        if switch not in self.switches:
            reason = {
                SwitchName.DOUBLES: "hitless only watches that cluster",
                SwitchName.OBSERVER: "the lab's API exists only in this process",
            }[switch]
            raise UsageError(
                f"--switch {switch} does not work with --backend {self.name}: {reason}; use --switch {self.switches[0]}"
            )
        return switch


def fit_backend(backend: Backend, performer: Performer, calico_version: str | None = None) -> Backend:
    """Return a backend with the limits of a performer: programs need the real time.

    Raises:
        UsageError: the performer's programs cannot be used there, or it makes no difference there which Calico was asked for.
    """
    if not performer.is_real_time:
        return backend
    if SwitchName.DOUBLES not in backend.switches:
        raise UsageError(
            f"{performer.label} does not work with --backend {backend.name}, because hitless only watches that cluster; "
            f"use --backend {BackendName.LAB} or {BackendName.KIND}"
        )
    if calico_version is not None and backend.name is BackendName.LAB and Act.CHOOSE_RELEASE not in performer.acts:
        raise UsageError(
            "--calico-version has no effect with --extension in the lab, because the program renders its own; leave it out"
        )
    return replace(backend, profiles=(Profile.GARDENER,))


def make_backend(
    name: BackendName, kind_options: KindOptions | None = None, *, kubeconfig: Path | None = None, image: str | None = None
) -> Backend:
    """Return a backend. Only a cluster that is watched has a kubeconfig and an image of the probers.

    Raises:
        UsageError: an option that the backend needs is missing.
    """
    match name:
        case BackendName.LAB:
            return Backend(
                name=name,
                make_cluster=lab.LabCluster,
                find_missing=lab.capabilities_missing,
                profiles=(Profile.FAST, Profile.GARDENER),
                switches=(SwitchName.DOUBLES,),
                needs_sandbox=True,
            )
        case BackendName.KIND:
            return Backend(
                name=name,
                make_cluster=partial(kind.make_kind_cluster, options=kind_options or KindOptions()),
                find_missing=capabilities_missing,
                profiles=(Profile.GARDENER,),
                switches=(SwitchName.DOUBLES, SwitchName.OBSERVER),
                rate_hz=KIND_RATE_HZ,
                # A control plane works in bursts, and a second at a low rate holds few ticks.
                rate_watched_s=15.0,
            )
        case BackendName.KUBECONFIG:
            return _make_kubeconfig_backend(kubeconfig, image)


def _make_kubeconfig_backend(kubeconfig: Path | None, image: str | None) -> Backend:
    if kubeconfig is None:
        raise UsageError("--kubeconfig is required with --backend kubeconfig")
    if image is None:
        raise UsageError("--prober-image is required with --backend kubeconfig")
    connect = partial(make_watched_cluster, kubeconfig, None, image=image, namespace=NAMESPACE)

    def find_missing(case: Case) -> tuple[str, ...]:
        cluster = connect()
        try:
            missing = find_mismatches(cluster.kube, case)
            zones = read_zones(cluster.kube)
            check_records(
                zones,
                case.mesh,
                rate_hz=case.scenario.rate_hz,
                until_s=ObserverOptions().until_s,
                families=count_families(cluster.kube),
            )
        finally:
            cluster.kube.stop()
        return missing

    return Backend(
        name=BackendName.KUBECONFIG,
        make_cluster=lambda _case, _clock: connect(),
        find_missing=find_missing,
        profiles=(Profile.GARDENER,),
        switches=(SwitchName.OBSERVER,),
        rate_hz=WATCHED_RATE_HZ,
    )
