"""The lab's calibrator: a blackhole for one flow, in the source's node, that begins and ends within microseconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from clusters.lab.network import LabNetwork
from clusters.lab.sharp_switch import SharpSwitch
from hitless.errors import BugError
from hitless.facts import Flow
from hitless.ports import Clock
from hitless.words import Nanoseconds


class LabCalibrator:
    """Implements the Calibrator port; see `hitless.ports.Calibrator`.

    The node of the source drops packets to the destination. Nothing else on that node may send there; that holds for control
    pods of other nodes.

    Args:
        network: the lab; it is up when a flow is dropped.
        clock: the run clock.
    """

    def __init__(self, network: LabNetwork, clock: Clock) -> None:
        self._network, self._clock = network, clock
        self._stack = ExitStack()
        self._switch: SharpSwitch | None = None

    def drop(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Drop the flow's probes; return the run clock around the change. Raises WorldError."""
        if self._switch is not None:
            raise BugError("a calibration flow is already blocked")
        endpoints = {endpoint.name: endpoint for endpoint in self._network.endpoints}
        switch = SharpSwitch(self._network, [endpoints[flow.destination].address], endpoints[flow.source].node)
        self._switch = self._stack.enter_context(switch)
        return self._around(switch.drop)

    def restore(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:  # noqa: ARG002 - one is dropped at a time
        """Forward them again; return the run clock around the change. Raises WorldError."""
        if self._switch is None:
            return self._around(lambda: None)
        switch, self._switch = self._switch, None
        try:
            return self._around(switch.restore)
        finally:
            self._stack.close()

    def _around(self, act: Callable[[], object]) -> tuple[Nanoseconds, Nanoseconds]:
        before_ns = self._clock.now_ns()
        act()
        return before_ns, self._clock.now_ns()
