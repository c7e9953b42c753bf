"""The prober of the lab: one process with the agents of all pods, or, if that is too much for one, one process per agent.

It runs the same agents that ship into a pod, with sockets opened inside the pods' namespaces. A process of its own is not
paused with the harness, and never outlives it: it stops when its stdin ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from clusters.agent_groups import AgentGroup, assign_ssids, group_flows, make_flow_settings, share_processes
from clusters.lab.stated_process import StatedProcess
from hitless.errors import BugError
from hitless.facts import Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.records import ProbeRecords, read_agents
from hitless.words import SECOND, FlowId
from probes.settings import AgentSettings, EndpointSettings, write_document

_START_S: Final = 20.0
"""Time for an agent to open its sockets. A loaded machine imports numpy in two seconds."""
_STOP_MARGIN_S: Final = 10.0
"""Added to `drain_ns` before an agent is killed."""
_REFLECTOR_EXTRA_NS: Final = 30 * SECOND
"""The reflector lives longer than the sender by this and `drain_ns`."""


class LabProber:
    """Implements the Prober port; see `hitless.ports.Prober`. A namespace path of None is the present namespace.

    A masquerade may replace a source's address by one of the nodes'.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], namespace_path: Callable[[str], str | None], nodes: Sequence[NodeFacts] = ()
    ) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._namespace_path, self._nodes = namespace_path, nodes
        self._directory: Path | None = None
        self._drain_s = 0.0
        self._senders: dict[str, StatedProcess] = {}
        """Processes that send; they may reflect as well."""
        self._reflectors: dict[str, StatedProcess] = {}
        """Processes that only reflect."""
        self._names: tuple[str, ...] = ()

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Start the processes, reflectors first, each once the one before listens. Raises WorldError; nothing runs then."""
        if self._senders or self._reflectors:
            raise BugError("the prober is running: stop it before it starts again")
        self._directory, self._drain_s = directory, spec.drain_ns / 1e9
        directory.mkdir(parents=True, exist_ok=True)
        groups, ssids = group_flows(flows, spec), assign_ssids(flows, lambda _: "")
        self._names = tuple(group.agent for group in groups)
        try:
            for name, some in share_processes(groups).items():
                process = _start_process(name, [self._settings(group, ssids, spec, epoch_ns) for group in some])
                (self._senders if any(group.is_sender for group in some) else self._reflectors)[name] = process
                process.wait_state("listening", _START_S)
        except BaseException:
            self.stop()
            raise

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row. Raises WorldError if an agent died."""
        for agent in (*self._reflectors.values(), *self._senders.values()):
            agent.listen()
            agent.check_alive()
        return bool(self._senders) and all("live" in agent.facts for agent in self._senders.values())

    def stop(self) -> None:
        """Stop the senders, which drain together, then the reflectors. Safe to call twice."""
        for agents, timeout_s in ((self._senders, self._drain_s + _STOP_MARGIN_S), (self._reflectors, _STOP_MARGIN_S)):
            for agent in agents.values():
                agent.end_stdin()
            for agent in agents.values():
                agent.stop(timeout_s)
        self._senders, self._reflectors = {}, {}

    def collect(self) -> ProbeRecords:
        """Return the records; an agent that was killed still gives its rows, with `finished` False."""
        if self._directory is None:
            raise BugError("there are no records: the prober was never started")
        return read_agents(self._directory, self._names)

    def _settings(self, group: AgentGroup, ssids: Mapping[FlowId, int], spec: ProbeSpec, epoch_ns: int) -> AgentSettings:
        used = {flow.source if group.is_sender else flow.destination for flow in group.flows}
        assert self._directory is not None  # noqa: S101 - `start` set it
        return AgentSettings(
            agent=group.agent,
            directory=self._directory.absolute(),
            epoch_ns=epoch_ns,
            interval_ns=group.interval_ns,
            packet_octets=group.octets,
            live_answers=spec.live_answers,
            drain_ns=spec.drain_ns,
            duration_ns_max=spec.duration_ns_max + (0 if group.is_sender else spec.drain_ns + _REFLECTOR_EXTRA_NS),
            endpoints=tuple(
                EndpointSettings(
                    name=name,
                    address=endpoint.address_of(group.ip_family),
                    namespace=self._namespace_path(name),
                    sends=group.is_sender,
                    reflects=not group.is_sender,
                )
                for name, endpoint in self._endpoints.items()
                if name in used
            ),
            flows=tuple(make_flow_settings(flow, ssids[flow.id], self._endpoints, self._nodes) for flow in group.flows),
        )


def _start_process(name: str, agents: Sequence[AgentSettings]) -> StatedProcess:
    """Start a process with the agents that these settings describe. Raises WorldError."""
    paths = [settings.directory / f"{settings.agent}.settings.json" for settings in agents]
    for path, settings in zip(paths, agents, strict=True):
        write_document(path, settings.as_json())
    return StatedProcess(name, ("-m", "probes.agent", *map(str, paths)), paths[0].parent)
