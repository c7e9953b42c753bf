"""`hitless watch`: probe the cluster of a kubeconfig while someone else switches it, and judge what the observer saw."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from clusters.kubernetes.watched import check_records, count_families, make_watched_cluster, read_overlay, read_zones
from commands.arms import ArmOutcome, execute_plan
from commands.backends import WATCHED_RATE_HZ
from commands.compare import tell_single
from commands.options import Format, make_run_directory
from commands.reporting import write_arm, write_prometheus
from commands.terminal import print_progress
from hitless.clock import RunClock
from hitless.events import Event
from hitless.facts import ProbeSpec
from hitless.history import RunHeader
from hitless.plan import RunPlan
from hitless.plural import plural
from hitless.ports import Clock, KubeApi
from hitless.words import SECOND, Arm, JsonObject, Mode, Nanoseconds, Profile, Verdict
from scenarios.flows import make_flows
from scenarios.mesh import COVERING_TIMES, FULL_MESH, FULL_NODES_MAX, Mesh
from scenarios.plan import FORWARDING_DELAY_THRESHOLD_NS, VALIDATION_NS
from switches.observer import AGENT_MARGIN_NS, PARTS, ObserverOptions, look, observe_switch, other_mode

SCENARIO: Final = "watch"
"""What reports call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """The operator's options."""

    observer: ObserverOptions = field(default_factory=ObserverOptions)
    """When the watch is over."""
    rate_hz: float = WATCHED_RATE_HZ
    """Probes per second per flow."""
    mesh: Mesh | None = None
    """Which pairs of nodes are probed; None: all, in a large cluster a covering mesh (`choose_mesh`)."""
    arm: Arm = Arm.GATED
    """What the operator says of the gate: it cannot be seen in the cluster."""
    expected: Mode | None = None
    """The mode in which the cluster should end; None: nothing is expected, and hygiene is not judged."""


def make_watch_plan(kube: KubeApi, options: WatchOptions, clock: Clock) -> RunPlan:
    """Return the plan of a watch: the cluster is read, nothing is written.

    Raises:
        UsageError: the probers would write more than their volume holds, or the cluster has too few nodes.
        ApiError: the cluster cannot be read.
    """
    zones = read_zones(kube)
    mesh = options.mesh or choose_mesh(zones)
    check_records(zones, mesh, rate_hz=options.rate_hz, until_s=options.observer.until_s, families=count_families(kube))
    seen = look(kube)
    interval_ns = Nanoseconds(round(SECOND / options.rate_hz))
    validation_ns = VALIDATION_NS[Profile.GARDENER]
    judged = ("continuity",) if options.expected is None else ("continuity", "hygiene")
    checks: dict[str, JsonObject] = {name: {} for name in judged}
    wanted = options.expected or other_mode(seen.mode)
    return RunPlan(
        header=RunHeader(
            scenario=SCENARIO,
            arm=options.arm,
            trial=1,
            profile=Profile.GARDENER,
            overlay=read_overlay(seen),
            start_mode=seen.mode,
            wanted_mode=wanted,
            end_mode=wanted,
            interval_ns=interval_ns,
            forwarding_delay_threshold_ns=FORWARDING_DELAY_THRESHOLD_NS,
            validation_ns=validation_ns,
            checks=checks,
            mutant=None,
            parts=PARTS,
        ),
        probing=ProbeSpec(
            interval_ns=interval_ns,
            drain_ns=FORWARDING_DELAY_THRESHOLD_NS,
            duration_ns_max=Nanoseconds(options.observer.until_ns + validation_ns + AGENT_MARGIN_NS),
        ),
        make_flows=partial(make_flows, mesh=mesh),
        make_switch=partial(observe_switch, clock, options.observer),
        faults=(),
        baseline_ns=Nanoseconds(0),
        duration_ns_max=options.observer.until_ns,
        is_until_settled=True,
        requests_ns=(),
    )


def choose_mesh(zones: Sequence[str]) -> Mesh:
    """Return the mesh of a watch whose user left it open, given the zone of each node; say so where it is not the full one."""
    if len(zones) <= FULL_NODES_MAX:
        return FULL_MESH
    mesh, pairs = Mesh(times=COVERING_TIMES), FULL_MESH.count(zones)
    sources = plural(COVERING_TIMES, "node")
    print_progress(
        f"{len(zones):,} nodes: each is probed from {sources} of each zone, {mesh.count(zones):,} of {pairs:,} pairs; "
        "--mesh full probes all"
    )
    return mesh


def watch_cluster(
    kubeconfig: Path,
    context: str | None,
    options: WatchOptions,
    *,
    image: str,
    namespace: str,
    output: Path,
    output_format: Format,
    prometheus: Path | None = None,
) -> Verdict:
    """Watch a cluster until it is over; print and return the verdict.

    The image is that of the probers, by the name under which the nodes pull it; they go into the namespace.

    Raises:
        UsageError: an option or the kubeconfig is wrong; nothing was written to the cluster.
        ApiError: the cluster cannot be read.
    """
    clock = RunClock()
    with _ending_by_interrupt() as is_asked_to_end:
        cluster = make_watched_cluster(kubeconfig, context, image=image, namespace=namespace)
        try:
            observer = replace(options.observer, is_asked_to_end=is_asked_to_end)
            plan = make_watch_plan(cluster.kube, replace(options, observer=observer), clock)
            directory = make_run_directory(output, SCENARIO)
            listener = _say if output_format is Format.TEXT else None
            judged = execute_plan(plan, cluster, clock, directory / "1", listener)
        finally:
            cluster.kube.stop()
    written = write_arm(ArmOutcome(runs=(judged,), directory=directory))
    write_prometheus(prometheus, written.summary)
    tell_single(judged, output_format)
    if output_format is Format.TEXT:
        sys.stdout.write(f"report: {written.page_path or directory}\n")
    return judged.verdict


@contextmanager
def _ending_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the watch as if it were over, so that it is judged; the second one interrupts as ever."""
    asked: list[bool] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        asked.append(True)
        signal.signal(signal.SIGINT, previous)
        sys.stderr.write("hitless: ending the watch; press Ctrl-C again to abort\n")

    previous = signal.signal(signal.SIGINT, end)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)


def _say(event: Event) -> None:
    """Print an event as it happens: the operator wants to see that something is seen."""
    facts = " ".join(f"{key}={value}" for key, value in event.facts.items() if value is not None)
    print_progress(f"{event.t_ns / SECOND:9.3f} s  {event.name}  {facts}".rstrip())
