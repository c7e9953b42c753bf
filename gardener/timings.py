"""The timing constants of all doubles: one table with a column per profile.

`gardener` has the constants of the real parts, each with its source; `fast` divides them by about 100, so that a whole
comparison takes seconds, and keeps their order within each part. Times that would become shorter than a few probes are divided
by less: a CreateRoute, a patch, the skew between nodes, BIRD's rewriting. The caps of the back-offs are lower, so that a hold
ends soon after the last route. `Observed` means the released programs, 2026-11-28; their versions are in docs/mechanics.md, as
are those of the projects whose files a source line names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, get_type_hints

from hitless.words import MILLISECOND, Nanoseconds, Profile


def _ms(*, fast: float, gardener: float) -> dict[Profile, Nanoseconds]:
    """Return a constant in each profile."""
    values = {Profile.FAST: fast, Profile.GARDENER: gardener}
    return {profile: Nanoseconds(round(value * MILLISECOND)) for profile, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """One column of the table; all ns. Each field has its constants in both profiles, ms."""

    extension_backoff_first_ns: Annotated[Nanoseconds, _ms(fast=5, gardener=5)]
    """First retry of a failed Network reconcile; doubles. Source: observed, v1.60-dev: looks 0.65, 1.3, 2.6 ... 656 s after the
    first, which is 5 ms * 2^n."""
    extension_backoff_max_ns: Annotated[Nanoseconds, _ms(fast=100, gardener=1_000_000)]
    """Cap of that back-off. Source: client-go util/workqueue DefaultControllerRateLimiter."""
    extension_reconcile_ns: Annotated[Nanoseconds, _ms(fast=30, gardener=3000)]
    """Time from the operator's request to the first Network reconcile. A typical value; 2.4 s were observed."""
    extension_start_ns: Annotated[Nanoseconds, _ms(fast=29, gardener=2900)]
    """From the start of the extension's process to its first look. Source: observed, 2.9 s."""
    annotation_seen_ns: Annotated[Nanoseconds, _ms(fast=0.5, gardener=50)]
    """From the annotation gardener.cloud/operation to the look that it causes. Source: observed, at most 50 ms."""
    restore_retry_ns: Annotated[Nanoseconds, _ms(fast=1, gardener=70)]
    """Between two looks of a restore that is held: there is no back-off. Source: observed, about 14 looks a second."""
    control_plane_reconcile_ns: Annotated[Nanoseconds, _ms(fast=10, gardener=1000)]
    """From the operator's request to provider-aws's ControlPlane reconcile (admission policy, condition clean-up, controller
    scaled). A typical value; it precedes the network in the shoot flow."""
    resource_manager_start_ns: Annotated[Nanoseconds, _ms(fast=1, gardener=100)]
    """From a changed secret, or the end of a requeue, to gardener-resource-manager's first object. Source: observed: ConfigMap
    5.2 s after the gate opened, which has this twice and the requeue once."""
    deletion_requeue_ns: Annotated[Nanoseconds, _ms(fast=50, gardener=5000)]
    """Time until it requeues after it had to delete an object. Source: observed; gardener managedresource reconciler.go."""
    definitions_ns: Annotated[Nanoseconds, _ms(fast=8, gardener=800)]
    """From the ConfigMap to the DaemonSet: CustomResourceDefinitions in between. Source: observed: DaemonSet at 6.0 to 6.4 s;
    with createPodRoutes, where nothing is deleted, the pool at about 0.8 s."""
    apply_gap_ns: Annotated[Nanoseconds, _ms(fast=0.2, gardener=20)]
    """Between two of the other objects. Source: observed: IPPool 19 to 46 ms after the DaemonSet."""
    route_controller_start_ns: Annotated[Nanoseconds, _ms(fast=50, gardener=5000)]
    """From scaling aws-custom-route-controller up, or its restart, to the start of its process. A typical value."""
    route_controller_first_tick_ns: Annotated[Nanoseconds, _ms(fast=50.5, gardener=5050)]
    """From the start of its process to its first tick. Source: observed, 5.05 s."""
    route_controller_health_ns: Annotated[Nanoseconds, _ms(fast=250, gardener=25_000)]
    """Its liveness probe fails, and the process is restarted, this long after a call began to hang. Source: observed, 25 s;
    reconciler.go:212."""
    throttle_pause_first_ns: Annotated[Nanoseconds, _ms(fast=3, gardener=300)]
    """Pause before the first of three retries inside one call that is throttled; x11/3. Source: observed, 0.3 to 4 s."""
    route_controller_tick_ns: Annotated[Nanoseconds, _ms(fast=50, gardener=5000)]
    """tick-period. Source: aws-custom-route-controller main.go:52."""
    route_controller_backoff_max_ns: Annotated[Nanoseconds, _ms(fast=400, gardener=300_000)]
    """max-delay; the first back-off is one tick, then x4/3. Source: reconciler.go:110-121, main.go:44."""
    route_controller_sync_ns: Annotated[Nanoseconds, _ms(fast=10_000, gardener=3_600_000)]
    """sync-period: a full update even if nothing changed. Source: aws-custom-route-controller main.go:50."""
    route_create_ns: Annotated[Nanoseconds, _ms(fast=40, gardener=250)]
    """One CreateRoute call. A typical value; a scenario may set its own."""
    condition_write_ns: Annotated[Nanoseconds, _ms(fast=5, gardener=20)]
    """One patch of nodes/status. A typical value."""
    condition_retry_first_ns: Annotated[Nanoseconds, _ms(fast=10, gardener=200)]
    """First wait after a failed patch; x1.5, 10 attempts. Source: aws-custom-route-controller reconciler.go, 200 ms."""
    admission_live_ns: Annotated[Nanoseconds, _ms(fast=10, gardener=1000)]
    """From applying the admission policy to the API server honouring it. A typical value."""
    pool_seen_ns: Annotated[Nanoseconds, _ms(fast=18, gardener=250)]
    """From a changed IPPool until the first node's routes change. A value with which a calico-node that is being replaced may
    miss the pool, as was observed."""
    pool_skew_ns_max: Annotated[Nanoseconds, _ms(fast=20, gardener=126)]
    """Longest time between the first and the last node if BIRD programs the routes. Source: observed, 48 and 126 ms, 4
    nodes."""
    vxlan_skew_ns_max: Annotated[Nanoseconds, _ms(fast=24, gardener=277)]
    """The same if Felix programs the routes. Source: observed, 277 ms on 4 nodes; routes and blackhole gone within 0.3 s."""
    bird_rewrite_ns: Annotated[Nanoseconds, _ms(fast=40, gardener=550)]
    """From the pool no-snat-for-node-cidr, as a node sees it, until BIRD writes all its routes again. Source: observed, 0.4 to
    0.7 s after the first time; the cause is inferred."""
    bird_scan_ns: Annotated[Nanoseconds, _ms(fast=15, gardener=2000)]
    """Until BIRD misses routes that another program deleted. Source: calico bird.cfg.template, `scan time 2`."""
    containers_stop_ns: Annotated[Nanoseconds, _ms(fast=25, gardener=300)]
    """From the deletion of a calico-node pod to the end of its containers: BIRD and Felix act on the pool until then. Source:
    observed, BIRD dead after 0.3 s."""
    cleanup_routes_ns: Annotated[Nanoseconds, _ms(fast=50, gardener=1700)]
    """From the deletion of a calico-node pod to its successor's cleanup-routes. Source: observed, 1.4 s after BIRD's death."""
    cleanup_route_ns: Annotated[Nanoseconds, _ms(fast=0.5, gardener=20)]
    """Between two routes that cleanup-routes deletes. Source: observed, 8 to 160 ms for four routes."""
    felix_start_ns: Annotated[Nanoseconds, _ms(fast=80, gardener=5000)]
    """From that deletion to Felix's first apply. Source: +3..8 s."""
    felix_restart_ns_max: Annotated[Nanoseconds, _ms(fast=60, gardener=5000)]
    """Felix restarts once when VXLAN begins on a node: 2 s sleep, then sync. Source: daemon.go:1405-1429."""
    calico_up_ns: Annotated[Nanoseconds, _ms(fast=150, gardener=11_500)]
    """From that deletion to CalicoIsUp. Source: observed, 4 to 5 s before Ready."""
    ready_ns: Annotated[Nanoseconds, _ms(fast=200, gardener=16_000)]
    """From that deletion to Ready. Source: observed, 15 to 17 s."""
    bird_alone_ns: Annotated[Nanoseconds, _ms(fast=320, gardener=25_500)]
    """BIRD counts as ready this long after its start if sessions to peers are missing. Source: observed, Ready at 35 s in an
    empty mesh; health.go:180-233."""
    bird_graceful_restart_ns: Annotated[Nanoseconds, _ms(fast=1200, gardener=120_000)]
    """Peers of a dead BIRD keep its routes this long. Source: BIRD config.Y:63, 120 s."""


_HINTS: Final = get_type_hints(Timings, include_extras=True)
TIMINGS: Final[dict[Profile, Timings]] = {
    profile: Timings(**{name: hint.__metadata__[0][profile] for name, hint in _HINTS.items()}) for profile in Profile
}
"""Profile to its column."""
