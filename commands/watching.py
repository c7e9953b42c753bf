"""What a watch is: its options, what bounds it, and the switch that somebody else performs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from clusters.kubernetes.prober_manifests import NAMESPACE
from hitless.errors import UsageError
from hitless.events import Recorder
from hitless.ports import Clock, Cluster, Participant
from hitless.words import SECOND, Arm, Mode, Nanoseconds
from switches.observer import Observer

AGENT_MARGIN_NS: Final = Nanoseconds(120 * SECOND)
"""Agents end by themselves this long after the watch should have ended, should nobody be able to tell them."""
RECORDS_OCTETS_MAX: Final = 1_500_000_000
"""What a pod may write; its volume holds 2 GiB. A probe takes 62 octets at its sender and 27 at its reflector."""
_PROBE_OCTETS: Final = 62 + 27


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What the operator asks for."""

    image: str
    """The probers' image, as the cluster's nodes can pull it."""
    namespace: str = NAMESPACE
    rate_hz: float = 20.0
    """Probes a second a flow."""
    until_s: float = 3600.0
    """The watch ends after this at the latest."""
    idle_s: float | None = 60.0
    """It ends when a switch was seen and nothing has changed for so long; None: not by itself."""
    arm: Arm = Arm.GATED
    """What the operator says of the gate: it cannot be seen in the cluster."""
    expected: Mode | None = None
    """The mode in which the cluster should end; None: nothing is expected, and hygiene is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """A switch that somebody else performs."""

    observer: Observer

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        recorder: Recorder,
        clock: Clock,
        options: WatchOptions,
        is_asked_to_end: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Return the watch of a cluster that is up. Raises ApiError."""
        idle_ns = None if options.idle_s is None else Nanoseconds(round(options.idle_s * SECOND))
        return cls(
            observer=Observer(
                kube=cluster.kube, recorder=recorder, clock=clock, idle_ns=idle_ns, is_asked_to_end=is_asked_to_end
            )
        )

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who takes part in the loop."""
        return (self.observer,)

    def request(self) -> None:
        """Ask for nothing."""


def check_records(options: WatchOptions, nodes: int) -> None:
    """Raise UsageError where the cluster has too few nodes, or where the probers would write more than their volume holds."""
    if nodes < 2:  # noqa: PLR2004 - a mesh needs two ends
        raise UsageError(where="cluster", found=f"{nodes} nodes", allowed="2 or more")
    octets = round(options.rate_hz * options.until_s * nodes * _PROBE_OCTETS)
    if octets > RECORDS_OCTETS_MAX:
        seconds = RECORDS_OCTETS_MAX / (options.rate_hz * nodes * _PROBE_OCTETS)
        allowed = f"at {options.rate_hz:g} probes a second and {nodes} nodes {seconds:.0f} s, or fewer probes"
        raise UsageError(where="--until-seconds", found=f"{options.until_s:g}", allowed=allowed)
