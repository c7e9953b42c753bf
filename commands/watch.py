"""`hitless watch`: probe a cluster that is not ours while somebody else switches it, and judge what was seen."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from analysis.judged import JudgedRun
from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.pod_host import KubePodHost
from clusters.kubernetes.prober import KindProber
from clusters.kubernetes.prober_manifests import ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from clusters.kubernetes.watched import WatchedCluster, read_overlay
from commands.arms import ArmOutcome, judge_history, write_verdict
from commands.compare import tell_single
from commands.reporting import write_arm
from commands.settings import Format, make_run_directory
from commands.terminal import print_progress
from commands.watching import AGENT_MARGIN_NS, Watching, WatchOptions, check_records
from hitless.clock import RunClock
from hitless.events import Event, Recorder
from hitless.facts import GARDENER_PARTS, ClusterFacts, PartIdentity, ProbeSpec
from hitless.history import RunHeader
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster, KubeApi
from hitless.run import run
from hitless.store import Listener, RunStore
from hitless.words import SECOND, JsonObject, Nanoseconds, Profile, Verdict
from scenarios.flows import make_flows
from scenarios.plan import FORWARDING_DELAY_THRESHOLD_NS, VALIDATION_NS
from switches.observer import KINDS, look, other_mode

SCENARIO: Final = "watch"
"""What reports call it."""


def watch_cluster(kubeconfig: Path, context: str | None, options: WatchOptions, output: Path, output_format: Format) -> Verdict:
    """Watch a cluster until it is over; print and return the verdict.

    Raises:
        UsageError: an option or the kubeconfig is wrong; nothing was written to the cluster.
        ApiError: the cluster cannot be read.
    """
    calls = connect(kubeconfig, context)
    kube = KindKube(calls)
    pods = ProberPods(KubePodHost(calls, kubeconfig, context), ProberSpec(image=options.image, namespace=options.namespace))
    cluster = WatchedCluster(kube=kube, pods=pods, prober=KindProber(pods))
    clock = RunClock()
    with _ending_by_interrupt() as is_asked_to_end:
        kube.start(KINDS)
        try:
            plan = make_watch_plan(kube, options, clock, is_asked_to_end)
            directory = make_run_directory(output, SCENARIO)
            judged = execute_watch(plan, cluster, clock, directory / "1", _say if output_format is Format.TEXT else None)
        finally:
            kube.stop()
    written = write_arm(ArmOutcome(runs=(judged,), directory=directory))
    _tell(judged, written.report_path or directory, output_format)
    return judged.verdict


def make_watch_plan(kube: KubeApi, options: WatchOptions, clock: Clock, is_asked_to_end: Callable[[], bool]) -> RunPlan:
    """Return the plan of a watch: the cluster is read, nothing is written.

    Raises:
        UsageError: the probers would write more than their volume holds, or the cluster has too few nodes.
        ApiError: the cluster cannot be read.
    """
    seen = look(kube)
    check_records(options, len(seen.nodes))
    interval_ns = Nanoseconds(round(SECOND / options.rate_hz))
    duration_ns = Nanoseconds(round(options.until_s * SECOND))
    validation_ns = VALIDATION_NS[Profile.GARDENER]
    checks: dict[str, JsonObject] = {"continuity": {}}
    if options.expected is not None:
        checks["hygiene"] = {}
    wanted = options.expected or other_mode(seen.mode)

    def make_switch(cluster: Cluster, _: ClusterFacts, recorder: Recorder) -> Watching:
        return Watching.of(cluster, recorder, clock, options, is_asked_to_end)

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
            parts=tuple(PartIdentity(name=name, is_double=False, version="") for name in GARDENER_PARTS),
        ),
        probing=ProbeSpec(
            interval_ns=interval_ns,
            drain_ns=FORWARDING_DELAY_THRESHOLD_NS,
            duration_ns_max=Nanoseconds(duration_ns + validation_ns + AGENT_MARGIN_NS),
        ),
        make_flows=make_flows,
        make_switch=make_switch,
        faults=(),
        baseline_ns=Nanoseconds(0),
        duration_ns_max=duration_ns,
        is_until_settled=True,
        has_request=False,
    )


def execute_watch(plan: RunPlan, cluster: Cluster, clock: RunClock, directory: Path, listener: Listener | None) -> JudgedRun:
    """Execute the plan, judge what was seen, store the verdict."""
    judged = judge_history(run(plan, cluster, clock, RunStore(directory, clock, listener)))
    write_verdict(directory, judged)
    return judged


@contextmanager
def _ending_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the watch as if it were over, so that it is judged; the second one interrupts as ever."""
    asked: list[bool] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        asked.append(True)
        signal.signal(signal.SIGINT, previous)
        sys.stderr.write("hitless: ending the watch; once more to interrupt\n")

    previous = signal.signal(signal.SIGINT, end)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)


def _say(event: Event) -> None:
    """Print an event as it happens: the operator wants to see that something is seen."""
    facts = " ".join(f"{key}={value}" for key, value in event.facts.items() if value is not None)
    print_progress(f"{event.t_ns / SECOND:9.3f} s  {event.name}  {facts}".rstrip())


def _tell(judged: JudgedRun, report: Path, output_format: Format) -> None:
    tell_single(judged, output_format)
    if output_format is Format.TEXT:
        sys.stdout.write(f"report: {report}\n")
