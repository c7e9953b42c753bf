"""The timing constants of all doubles: one table with a column per profile.

`gardener` has the constants of the real parts, each with its source; `fast` divides them by about 100, so that a whole
comparison takes seconds, and keeps their order within each part. Times that would become shorter than a few probes are divided
by less: a CreateRoute, a patch, the skew between nodes, BIRD's rewriting. The caps of the back-offs are lower, so that the end
of a hold says when the last route came. `Observed` means the released programs, 2026-11-28; their versions are in
docs/mechanics.md, as are those of the projects whose files a source line names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hitless.words import MILLISECOND, SECOND, Nanoseconds, Profile


def _ms(value: float) -> Nanoseconds:
    return Nanoseconds(round(value * MILLISECOND))


def _s(value: float) -> Nanoseconds:
    return Nanoseconds(round(value * SECOND))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """One column of the table; all ns."""

    extension_backoff_first_ns: Nanoseconds
    """First retry of a failed Network reconcile; doubles. Source: observed, v1.60-dev: looks 0.65, 1.3, 2.6 ... 656 s after the
    first, which is 5 ms * 2^n."""
    extension_backoff_max_ns: Nanoseconds
    """Cap of that back-off. Source: client-go util/workqueue DefaultControllerRateLimiter."""
    extension_reconcile_ns: Nanoseconds
    """From the operator's request to the first Network reconcile. A typical value; 2.4 s were observed."""
    extension_start_ns: Nanoseconds
    """From the start of the extension's process to its first look. Source: observed, 2.9 s."""
    annotation_seen_ns: Nanoseconds
    """From the annotation gardener.cloud/operation to the look that it causes. Source: observed, at most 50 ms."""
    restore_retry_ns: Nanoseconds
    """Between two looks of a restore that is held: there is no back-off. Source: observed, about 14 looks a second."""
    control_plane_reconcile_ns: Nanoseconds
    """From the operator's request to provider-aws's ControlPlane reconcile (admission policy, condition clean-up, controller
    scaled). A typical value; it precedes the network in the shoot flow."""
    resource_manager_start_ns: Nanoseconds
    """From a changed secret, or the end of a requeue, to gardener-resource-manager's first object. Source: observed: ConfigMap
    5.2 s after the gate opened, which has this twice and the requeue once."""
    deletion_requeue_ns: Nanoseconds
    """Time until it comes back after it had to delete an object. Source: observed; gardener managedresource reconciler.go."""
    definitions_ns: Nanoseconds
    """From the ConfigMap to the DaemonSet: CustomResourceDefinitions in between. Source: observed: DaemonSet at 6.0 to 6.4 s;
    with createPodRoutes, where nothing is deleted, the pool at about 0.8 s."""
    apply_gap_ns: Nanoseconds
    """Between two of the other objects. Source: observed: IPPool 19 to 46 ms after the DaemonSet."""
    route_controller_start_ns: Nanoseconds
    """From scaling aws-custom-route-controller up, or its restart, to the start of its process. A typical value."""
    route_controller_first_tick_ns: Nanoseconds
    """From the start of its process to its first tick. Source: observed, 5.05 s."""
    route_controller_health_ns: Nanoseconds
    """Its liveness probe fails, and the process is restarted, this long after a call began to hang. Source: observed, 25 s;
    reconciler.go:212."""
    throttle_pause_first_ns: Nanoseconds
    """Pause before the first of three retries inside one call that is throttled; x11/3. Source: observed, 0.3 to 4 s."""
    route_controller_tick_ns: Nanoseconds
    """tick-period. Source: aws-custom-route-controller main.go:52."""
    route_controller_backoff_max_ns: Nanoseconds
    """max-delay; the first back-off is one tick, then x4/3. Source: reconciler.go:110-121, main.go:44."""
    route_controller_sync_ns: Nanoseconds
    """sync-period: a full update even where nothing changed. Source: aws-custom-route-controller main.go:50."""
    route_create_ns: Nanoseconds
    """One CreateRoute call. A typical value; a scenario may set its own."""
    condition_write_ns: Nanoseconds
    """One patch of nodes/status. A typical value."""
    condition_retry_first_ns: Nanoseconds
    """First wait after a failed patch; x1.5, 10 attempts. Source: aws-custom-route-controller reconciler.go, 200 ms."""
    admission_live_ns: Nanoseconds
    """From applying the admission policy to the API server honouring it. A typical value."""
    pool_seen_ns: Nanoseconds
    """From a changed IPPool until the first node's routes change. A value with which a calico-node that is being replaced may
    miss the pool, as was observed."""
    pool_skew_ns_max: Nanoseconds
    """The last node follows the first within this, where BIRD programs the routes. Source: observed, 48 and 126 ms, 4 nodes."""
    vxlan_skew_ns_max: Nanoseconds
    """The same where Felix does. Source: observed, 277 ms on 4 nodes; routes and blackhole gone within 0.3 s."""
    bird_rewrite_ns: Nanoseconds
    """From the pool no-snat-for-node-cidr, as a node sees it, until BIRD writes all its routes again. Source: observed, 0.4 to
    0.7 s after the first time; the cause is inferred."""
    bird_scan_ns: Nanoseconds
    """Until BIRD misses routes that another program deleted. Source: calico bird.cfg.template, `scan time 2`."""
    containers_stop_ns: Nanoseconds
    """From the deletion of a calico-node pod to the end of its containers: BIRD and Felix act on the pool until then. Source:
    observed, BIRD dead after 0.3 s."""
    cleanup_routes_ns: Nanoseconds
    """From the deletion of a calico-node pod to its successor's cleanup-routes. Source: observed, 1.4 s after BIRD's death."""
    cleanup_route_ns: Nanoseconds
    """Between two routes that cleanup-routes deletes. Source: observed, 8 to 160 ms for four routes."""
    felix_start_ns: Nanoseconds
    """From that deletion to Felix's first apply. Source: +3..8 s."""
    felix_restart_ns_max: Nanoseconds
    """Felix restarts once when VXLAN begins on a node: 2 s sleep, then sync. Source: daemon.go:1405-1429."""
    calico_up_ns: Nanoseconds
    """From that deletion to CalicoIsUp. Source: observed, 4 to 5 s before Ready."""
    ready_ns: Nanoseconds
    """From that deletion to Ready. Source: observed, 15 to 17 s."""
    bird_alone_ns: Nanoseconds
    """BIRD counts as ready this long after its start where sessions to peers are missing. Source: observed, Ready at 35 s in an
    empty mesh; health.go:180-233."""
    bird_graceful_restart_ns: Nanoseconds
    """Peers of a dead BIRD keep its routes this long. Source: BIRD config.Y:63, 120 s."""


TIMINGS: Final[dict[Profile, Timings]] = {
    Profile.FAST: Timings(
        extension_backoff_first_ns=_ms(5),
        extension_backoff_max_ns=_ms(100),
        extension_reconcile_ns=_ms(30),
        extension_start_ns=_ms(29),
        annotation_seen_ns=_ms(0.5),
        restore_retry_ns=_ms(1),
        control_plane_reconcile_ns=_ms(10),
        resource_manager_start_ns=_ms(1),
        deletion_requeue_ns=_ms(50),
        definitions_ns=_ms(8),
        apply_gap_ns=_ms(0.2),
        route_controller_start_ns=_ms(50),
        route_controller_first_tick_ns=_ms(50.5),
        route_controller_health_ns=_ms(250),
        throttle_pause_first_ns=_ms(3),
        route_controller_tick_ns=_ms(50),
        route_controller_backoff_max_ns=_ms(400),
        route_controller_sync_ns=_s(10),
        route_create_ns=_ms(40),
        condition_write_ns=_ms(5),
        condition_retry_first_ns=_ms(10),
        admission_live_ns=_ms(10),
        pool_seen_ns=_ms(18),
        pool_skew_ns_max=_ms(20),
        vxlan_skew_ns_max=_ms(24),
        bird_rewrite_ns=_ms(40),
        bird_scan_ns=_ms(15),
        containers_stop_ns=_ms(25),
        cleanup_routes_ns=_ms(50),
        cleanup_route_ns=_ms(0.5),
        felix_start_ns=_ms(80),
        felix_restart_ns_max=_ms(60),
        calico_up_ns=_ms(150),
        ready_ns=_ms(200),
        bird_alone_ns=_ms(320),
        bird_graceful_restart_ns=_ms(1200),
    ),
    Profile.GARDENER: Timings(
        extension_backoff_first_ns=_ms(5),
        extension_backoff_max_ns=_s(1000),
        extension_reconcile_ns=_s(3),
        extension_start_ns=_s(2.9),
        annotation_seen_ns=_ms(50),
        restore_retry_ns=_ms(70),
        control_plane_reconcile_ns=_s(1),
        resource_manager_start_ns=_ms(100),
        deletion_requeue_ns=_s(5),
        definitions_ns=_ms(800),
        apply_gap_ns=_ms(20),
        route_controller_start_ns=_s(5),
        route_controller_first_tick_ns=_s(5.05),
        route_controller_health_ns=_s(25),
        throttle_pause_first_ns=_ms(300),
        route_controller_tick_ns=_s(5),
        route_controller_backoff_max_ns=_s(300),
        route_controller_sync_ns=_s(3600),
        route_create_ns=_ms(250),
        condition_write_ns=_ms(20),
        condition_retry_first_ns=_ms(200),
        admission_live_ns=_s(1),
        pool_seen_ns=_ms(250),
        pool_skew_ns_max=_ms(126),
        vxlan_skew_ns_max=_ms(277),
        bird_rewrite_ns=_ms(550),
        bird_scan_ns=_s(2),
        containers_stop_ns=_ms(300),
        cleanup_routes_ns=_ms(1700),
        cleanup_route_ns=_ms(20),
        felix_start_ns=_s(5),
        felix_restart_ns_max=_s(5),
        calico_up_ns=_s(11.5),
        ready_ns=_s(16),
        bird_alone_ns=_s(25.5),
        bird_graceful_restart_ns=_s(120),
    ),
}
"""Profile to its column."""
