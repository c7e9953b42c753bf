"""Acts that a scenario can need; each performer states which of them it can perform."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Act(StrEnum):
    """One act; its value completes the sentence that X cannot do it."""

    INJECT_FAULTS = "inject faults at their times"
    IDEALISE_ROUTES = "run an ideal route controller"
    CHOOSE_RELEASE = "act as another release of the extension"
    PREPARE = "prepare nodes and route tables"
    REQUEST_AGAIN = "make several requests"
    RESTART_PARTS = "stop Gardener's parts and start them again"
    DELAY_ROUTES = "let routes become effective later"
    BREAK_GATE = "break the gate"
    SHAPE_CLOUD = "make the cloud behave as the scenario states"
    CONFIGURE_EXTENSION = "configure the extension"
    LEAVE_GATE_OFF = "switch without the gate"
    KEEP_MODE = "see a request that does not change the mode"
    FAIL = "produce a verdict other than PASS"
