"""The instant from which every report counts its times."""

from __future__ import annotations

from hitless.history import History


def origin_ns(history: History) -> int:
    """Return the run clock at the operator's request (the Convergence Event Instant), else at the run's start."""
    requested = history.first_event("switch.requested")
    return 0 if requested is None else requested.t_ns
