"""What a scenario may need done to a cluster; each performer says which of it can be done."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Act(StrEnum):
    """One act; its value completes the sentence that X cannot do it."""

    INJECT_FAULTS = "inject faults at their times"
    IDEALISE_ROUTES = "make RouteCreated mean what it says"
    CHOOSE_RELEASE = "be another release of the extension"
    PREPARE = "prepare nodes and route tables"
    REQUEST_AGAIN = "make several requests"
    RESTART_PARTS = "end Gardener's parts and start them anew"
    DELAY_ROUTES = "let routes become effective later"
    BREAK_GATE = "break the gate"
    SHAPE_CLOUD = "make the cloud behave as the scenario says"
    CONFIGURE_EXTENSION = "configure the extension"
    LEAVE_GATE_OFF = "switch without the gate"
    KEEP_MODE = "see a request that leaves the mode alone"
    FAIL = "bring about a verdict other than PASS"
