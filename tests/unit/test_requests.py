"""The request that counts, of none, one and several."""

import pytest

from hitless.words import MILLISECOND, Mode
from tests.unit.histories import event, history


@pytest.mark.parametrize(
    ("modes", "counted"),
    [
        ([], None),
        ([Mode.NATIVE], 0),
        ([Mode.NATIVE, Mode.OVERLAY, Mode.NATIVE], 2),
        ([Mode.NATIVE, Mode.NATIVE, Mode.OVERLAY], 1),
        ([Mode.OVERLAY, Mode.OVERLAY], 0),
    ],
)
def test_the_last_request_for_the_end_mode_counts_or_else_the_first(modes: list[Mode], counted: int | None) -> None:
    events = [event(100 + 10 * number, "switch.requested", mode=mode.value) for number, mode in enumerate(modes)]
    run = history(events=(event(50, "run.live"), *events))
    assert run.header.end_mode is Mode.NATIVE
    assert run.requests == tuple(events)
    assert run.request == (None if counted is None else events[counted])
    assert run.origin_ns == (0 if counted is None else (100 + 10 * counted) * MILLISECOND)
