"""The lab's calibrator: a blackhole for one flow, in the source's node, with the times of the netlink calls around it."""

from __future__ import annotations

from collections.abc import Callable

from clusters.lab.drop_switch import DropSwitch
from clusters.lab.network import LabNetwork
from hitless.ports import Clock, Flow
from hitless.words import Nanoseconds


class LabCalibrator:
    """Implements the Calibrator port; see `hitless.ports.Calibrator`.

    The node of the source drops what goes to the destination. Nobody else on that node may send there, which holds for control
    pods of other nodes.

    Args:
        network: the lab; it is up when a flow is dropped.
        clock: the run clock.
    """

    def __init__(self, network: LabNetwork, clock: Clock) -> None:
        self._network, self._clock = network, clock

    def drop(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Drop the flow's probes; return the run clock around the change. Raises WorldError."""
        return self._around(self._switch(flow).drop)

    def restore(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Let them pass again; return the run clock around the change. Raises WorldError."""
        return self._around(self._switch(flow).restore)

    def _switch(self, flow: Flow) -> DropSwitch:
        endpoints = {endpoint.name: endpoint for endpoint in self._network.endpoints}
        return self._network.drop_switch([endpoints[flow.destination].address], endpoints[flow.source].node)

    def _around(self, act: Callable[[], object]) -> tuple[Nanoseconds, Nanoseconds]:
        before_ns = self._clock.now_ns()
        act()
        return before_ns, self._clock.now_ns()
