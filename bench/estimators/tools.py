"""The tools: how each samples, when its samples fail, and what it then reports. Read from their sources, named below.

All that is modelled of a tool is in its entry; `estimate.py` treats all alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from bench.estimators.tries import ONCE, Tries, all_the_time, connect, every, send_again
from hitless.words import MILLISECOND, SECOND


@unique
class Unit(StrEnum):
    """In what a tool reports."""

    MILLISECONDS = "ms"
    RESTARTS = "restarts"
    FAILED_CHECKS = "failed checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Failure of a sample: its tries, at best and at worst."""

    surely: Tries
    """Where all of these are dropped, it fails for certain."""
    possibly: Tries
    """Where one of these gets through, it succeeds for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool with one set of options, looking at one flow."""

    name: str
    """How reports name it."""
    does: str
    """How it samples and what it reports, in a few words."""
    unit: Unit
    worth: float
    """What one failed sample adds to what it reports, in its unit."""
    quickest_ns: int
    """Time between two samples of a flow, at least."""
    slowest_ns: int
    """The same at most, where failing checks hold up others; else equal."""
    first: Failure
    """When the first sample of an outage fails."""
    later: Failure | None
    """When the samples after it fail; None: the first failure ends it, until the next outage."""


_DATAGRAM: Final = Failure(surely=ONCE, possibly=ONCE)

_HTTP_PART_NS: Final = 16 * SECOND
"""Patience of OpenShift's client with a dial, and with the headers of an answer: 4/5 of 20 s.
Source: openshift/origin pkg/monitor/backenddisruption/disruption_backend_sampler.go getTimeout, GetHTTPClient."""
_HTTP_INTERVAL_NS: Final = SECOND
"""Source: the same file, RunEndpointMonitoring."""
_SILENCE_NS: Final = 5 * SECOND
"""Source: cilium/test-connection-disruption cmd/client/main.go, flag timeout."""
_SILENCE_LOOK_NS: Final = 100 * MILLISECOND
"""The silence is looked at when a read of this length times out. Source: the same file, reader."""
_MESSAGE_NS: Final = 10 * MILLISECOND
"""Source: cilium/cilium cilium-cli/cli/connectivity.go conn-disrupt-dispatch-interval (0); the client makes 10 ms of 0."""
_CHECK_PERIOD_NS: Final = 5 * SECOND
"""Source: gardener/network-problem-detector pkg/deploy/agent.go, flag default-period;
gardener/gardener-extension-shoot-networking-problemdetector charts/.../values.yaml has the same."""
_CHECK_PATIENCE_NS: Final = 30 * SECOND
"""Source: gardener/network-problem-detector pkg/agent/runners/checktcpport.go checkTCPPortFunc."""


def make_tools(agents: int) -> tuple[Tool, ...]:
    """Return the tools, in the order in which reports show them.

    Args:
        agents: pods of the network-problem-detector, one per node: each checks all of them in turn, itself among them.
    """
    return (
        make_fping(1000),
        make_fping(10),
        _openshift(
            "OpenShift, new connections", "one request per second, each on a new connection", _NEW_CONNECTION, _NEW_CONNECTION
        ),
        _openshift(
            "OpenShift, new connections, refused at once", "the same, if a router answered with ICMP", _DATAGRAM, _DATAGRAM
        ),
        _openshift("OpenShift, reused connections", "one request per second on idle connections", _POOLED_FIRST, _POOLED_LATER),
        _CILIUM,
        _detector(agents, "network-problem-detector", "", _DIALLED, _CHECK_PATIENCE_NS),
        _detector(agents, "network-problem-detector, refused at once", ", if a router answered with ICMP", _DATAGRAM, 0),
    )


def make_fping(period_ms: int) -> Tool:
    """Return fping in count or loop mode: lost packets times the period.

    Source: schweikert/fping src/fping.c, outage_ms in print_per_system_stats; src/options.h DEFAULT_PERHOST_INTERVAL. An answer
    counts until the period is over (timeout = perhost_interval), which is long against a round trip.
    """
    period_ns = period_ms * MILLISECOND
    return Tool(
        name=f"fping -o -p {period_ms}",
        does=f"an echo each {period_ms:,} ms; lost ones times {period_ms:,} ms",
        unit=Unit.MILLISECONDS,
        worth=float(period_ms),
        quickest_ns=period_ns,
        slowest_ns=period_ns,
        first=_DATAGRAM,
        later=_DATAGRAM,
    )


_NEW_CONNECTION: Final = Failure(surely=connect(_HTTP_PART_NS), possibly=connect(_HTTP_PART_NS))
"""Nothing but the dial is in danger: the request follows within a round trip."""
_POOLED_FIRST: Final = Failure(surely=send_again(_HTTP_PART_NS), possibly=send_again(_HTTP_PART_NS))
"""The first request of an outage goes out on the idle connection, and TCP sends it again."""
_POOLED_LATER: Final = Failure(surely=all_the_time(_HTTP_PART_NS), possibly=every(_HTTP_INTERVAL_NS, _HTTP_PART_NS))
"""The next ones find it busy and dial; whichever connection works first serves all that wait.
Source: golang/go net/http/transport.go queueForIdleConn, tryPutIdleConn."""


def _openshift(name: str, does: str, first: Failure, later: Failure) -> Tool:
    """Return OpenShift's disruption sampler: from the start of the first failed request to that of the next that succeeded.

    Each interval counts as a second at least, and the sum is rounded to seconds: with a sample a second that is a second for
    each that failed. Source: openshift/origin pkg/monitor/backenddisruption/disruption_backend_sampler.go consumeSamples;
    pkg/monitor/monitorapi BackendDisruptionSeconds and Intervals.Duration. Pods to pods, both kinds:
    pkg/cmd/openshift-tests/disruption/watch-endpointslice/endpointslice_controller.go.
    """
    return Tool(
        name=name,
        does=f"{does}; failed ones times 1 s",
        unit=Unit.MILLISECONDS,
        worth=_HTTP_INTERVAL_NS / MILLISECOND,
        quickest_ns=_HTTP_INTERVAL_NS,
        slowest_ns=_HTTP_INTERVAL_NS,
        first=first,
        later=later,
    )


_CILIUM: Final = Tool(
    name="Cilium, no-interrupted-connections",
    does="a message every 10 ms on one connection; the client ends after 5 s without a reply, and restarts are counted",
    unit=Unit.RESTARTS,
    worth=1.0,
    quickest_ns=_MESSAGE_NS,
    slowest_ns=_MESSAGE_NS,
    # TCP's retransmission depends on its congestion window, so only silence on the path itself is certain.
    first=Failure(surely=all_the_time(_SILENCE_NS + _SILENCE_LOOK_NS), possibly=send_again(_SILENCE_NS)),
    later=None,
)
"""Source: cilium/cilium cilium-cli/connectivity/tests/upgrade.go (restart counters before and after);
cilium/test-connection-disruption cmd/client/main.go (the client)."""

_DIALLED: Final = Failure(surely=connect(_CHECK_PATIENCE_NS), possibly=connect(_CHECK_PATIENCE_NS))


def _detector(agents: int, name: str, condition: str, failure: Failure, patience_ns: int) -> Tool:
    """Return Gardener's network-problem-detector, job tcp-p2p: an agent dials all agents in turn, one a period.

    A check that hangs for `patience_ns` holds up the agent's others, so a flow's turn comes no earlier than after `agents`
    periods and no later than after as many checks that all hang. Source: gardener/network-problem-detector
    pkg/deploy/agent.go BuildAgentConfig, pkg/agent/runners/robinround.go Run, pkg/agent/runners/internaljob.go Tick.
    """
    return Tool(
        name=name,
        does=f"a dial each {_CHECK_PERIOD_NS * agents // SECOND} s, in turn with others{condition}; failed ones are counted",
        unit=Unit.FAILED_CHECKS,
        worth=1.0,
        quickest_ns=_CHECK_PERIOD_NS * agents,
        slowest_ns=max(_CHECK_PERIOD_NS, patience_ns) * agents,
        first=failure,
        later=failure,
    )
