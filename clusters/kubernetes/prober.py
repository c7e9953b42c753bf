"""The prober of a Kubernetes cluster: one process with all agents in each prober pod.

Requests reach the pods one after the other, through the API server. So all pods start to listen first, then get the time at
which to send, and at the end the time at which to stop; each answers until all have stopped. Records stay in the pods during
the run. Afterwards they are fetched through the API server or (kind) from the node's disk, never over the path under test.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from clusters.agent_groups import assign_ssids, flows_by_endpoint, plan_agents
from clusters.kubernetes.clock_offsets import AgentRows, align, find_offsets, shift
from clusters.kubernetes.prober_pods import ProberPods
from hitless.clock import wait_until
from hitless.errors import ApiUnavailableError, BugError, WorldError
from hitless.facts import Endpoint, Flow, NodeFacts, NodeState, ProbeSpec
from hitless.records import ProbeRecords, Rows, read_agents
from hitless.words import SECOND, JsonObject
from probes.clocks import read_clock_id
from probes.lifeline import Order, OrderKind, encode_order
from probes.settings import AgentSettings

Rescue = Callable[[JsonObject, Path], None]
"""Brings the records of a Pod object into a folder without the help of its API. Raises WorldError."""

_START_S: Final = 60.0
_STOP_MARGIN_S: Final = 20.0
"""Time beyond `drain_ns` after which hitless gives up an agent."""
_AHEAD_NS: Final = 2 * SECOND
"""Time between an order and the instant that it names, by which all agents must have received it."""
_LOOK_S: Final = 0.3
"""Time between two looks, each of which starts a process in every pod."""
_CLOCK_TRIES: Final = 3
_PIECE_OCTETS: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodClock:
    """The clock of one pod against that of the harness."""

    clock: str
    """Its id."""
    epoch_ns: int
    """Its CLOCK_MONOTONIC reading that is 0 on the run clock."""
    bound_ns: int
    """Bound of its error; 0: it is the harness's own clock."""


class KindProber:
    """Implements the Prober port; see `hitless.ports.Prober`.

    Args:
        rescue: how records are fetched if the API fails; None: they are not.
    """

    def __init__(self, pods: ProberPods, rescue: Rescue | None = None) -> None:
        self._pods, self._rescue = pods, rescue
        self._clock_id = read_clock_id()
        self._spec: ProbeSpec | None = None
        self._directory: Path | None = None
        self._epoch_ns = 0
        self._clocks: dict[str, _PodClock] = {}
        """By endpoint, of those that take part."""
        self._agents: dict[str, tuple[AgentSettings, ...]] = {}
        """Endpoint to the agents of its pod."""
        self._looked_s = 0.0
        self._is_running = False
        self._is_live = False

    def deploy(self, nodes: Sequence[NodeFacts]) -> tuple[Endpoint, ...]:
        """Place the pods on all nodes, in the place of those of an earlier run. Raises WorldError."""
        return self._pods.deploy(nodes, replaces=True)

    def remove(self) -> None:
        """Remove the pods. Safe to call twice."""
        self._pods.remove()

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Make all agents listen, then send them the start time. Raises WorldError; nothing runs then."""
        if self._is_running:
            raise BugError("the prober is running: stop it before it starts again")
        directory.mkdir(parents=True, exist_ok=True)
        self._spec, self._directory, self._epoch_ns = spec, directory, epoch_ns
        used = {flow.source for flow in flows} | {flow.destination for flow in flows}
        self._agents = {}
        self._is_running, self._is_live = True, False
        try:
            names = (endpoint.name for endpoint in self._pods.endpoints if endpoint.name in used)
            self._clocks = self._pods.each(names, self._compare_clocks)
            self._agents = self._plan(flows, spec)
            self._clocks = {name: self._clocks[name] for name in self._agents}
            self._pods.each(self._clocks, self._start_agents)
            self._wait_states({"listening"}, _START_S)
            self._order(Order(kind=OrderKind.SEND, at_ns=self._now_ns() + _AHEAD_NS))
        except BaseException:
            self._abandon()
            raise

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row. Raises WorldError if an agent died."""
        if not self._is_running or time.monotonic() - self._looked_s < _LOOK_S:
            return self._is_running and self._is_live
        self._looked_s = time.monotonic()
        try:
            self._is_live = self._have_said(
                {"live"}, [name for name, agents in self._agents.items() if any(agent.endpoints[0].sends for agent in agents)]
            )
        except ApiUnavailableError:
            return self._is_live  # the last answer stands
        return self._is_live

    def stop(self) -> None:
        """Let all agents stop together; end them when all have drained. Safe to call twice. Raises WorldError."""
        if not self._is_running or self._spec is None:
            return
        self._is_running = False
        self._order(Order(kind=OrderKind.STOP, at_ns=self._now_ns()))
        try:
            self._wait_states({"drained", "stopped"}, self._spec.drain_ns / SECOND + _STOP_MARGIN_S)
        finally:
            self._order(Order(kind=OrderKind.END))
        self._wait_states({"stopped"}, _STOP_MARGIN_S)

    def collect(self) -> ProbeRecords:
        """Return the records of all agents, on one clock.

        An agent whose records cannot be read counts as one that did not live to report.

        Raises:
            RecordDamagedError: a record that was fetched cannot be read.
            WorldError: no agent left a record.
        """
        if self._directory is None:
            raise BugError("there are no records: the prober was never started")
        failures = [error for error in self._pods.each(self._clocks, self._try_fetch).values() if error is not None]
        if failures and len(failures) == len(self._clocks):
            raise WorldError(f"cannot read the records of any agent; the first error: {failures[0]}")
        if not self._agents:
            raise WorldError("no records: no prober reported that it is running")
        clocks = {agent.agent: self._clocks[name] for name, agents in self._agents.items() for agent in agents}
        return merge_records(self._directory, clocks, self._clock_id)

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node that has a host prober, in order of the endpoints. Raises WorldError."""
        return tuple(
            NodeState(node=node, routes=tuple(state["routes"]), devices=tuple(state["devices"]))
            for node, state in self._pods.inspect().items()
        )

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._epoch_ns

    def _compare_clocks(self, name: str) -> _PodClock:
        """Find the run clock's epoch on a pod's clock: the narrowest of a few exchanges counts."""
        best: _PodClock | None = None
        for _ in range(_CLOCK_TRIES):
            before_ns = time.monotonic_ns()
            answer = self._pods.ask_patiently(name, {"do": "clock"})
            after_ns = time.monotonic_ns()
            if answer["clock"] == self._clock_id:
                return _PodClock(clock=self._clock_id, epoch_ns=self._epoch_ns, bound_ns=0)
            epoch_ns = self._epoch_ns + answer["monotonic_ns"] - (before_ns + after_ns) // 2
            bound_ns = (after_ns - before_ns) // 2 + 1
            if best is None or bound_ns < best.bound_ns:
                best = _PodClock(clock=answer["clock"], epoch_ns=epoch_ns, bound_ns=bound_ns)
        assert best is not None  # noqa: S101 - _CLOCK_TRIES is not 0
        return best

    def _plan(self, flows: Sequence[Flow], spec: ProbeSpec) -> dict[str, tuple[AgentSettings, ...]]:
        """Return the agents of each endpoint that has any: the kernel answers ICMP."""
        endpoints = {endpoint.name: endpoint for endpoint in self._pods.endpoints}
        ssids, flows_of = assign_ssids(flows, str), flows_by_endpoint(flows)
        planned = {
            name: plan_agents(
                endpoints, name, flows_of[name], spec, epoch_ns=clock.epoch_ns, ssids=ssids, nodes=self._pods.nodes
            )
            for name, clock in self._clocks.items()
        }
        return {name: agents for name, agents in planned.items() if agents}

    def _start_agents(self, endpoint: str) -> None:
        """Start the agents of one pod. A request whose stream broke is not repeated, because it may have been carried out."""
        settings = [agent.as_json() for agent in self._agents[endpoint]]
        self._pods.ask(endpoint, {"do": "start", "settings": settings})

    def _order(self, order: Order) -> None:
        """Give an order to all agents; their run clocks agree with the harness's within the bound of their epochs."""
        request = {"do": "order", "order": encode_order(order)}
        self._pods.each(self._clocks, lambda name: self._pods.ask_patiently(name, request))

    def _wait_states(self, states: set[str], timeout_s: float) -> None:
        """Return when every pod has reported one of these states. Raises WorldError: agents died, or did not report in time."""
        unmet = f"not every prober is {' or '.join(sorted(states))}"
        wait_until(lambda: self._have_said(states, self._clocks), timeout_s=timeout_s, poll_s=_LOOK_S, unmet=unmet)

    def _have_said(self, states: set[str], endpoints: Collection[str]) -> bool:
        """Return whether the agents of these endpoints have reported one of the states. Raises WorldError if any agent died."""
        answers = self._pods.each(self._clocks, lambda name: self._pods.ask_patiently(name, {"do": "look"}))
        said: dict[str, set[str]] = {}
        for name, answer in answers.items():
            look = answer["process"]
            if look is None:
                raise WorldError(f"the agents of {name} have ended, and their records are lost")
            if look["code"] is not None and (look["code"] != 0 or "stopped" not in look["states"]):
                complaint = f": {look['complaint']}" if look["complaint"] else ""
                raise WorldError(f"the agents of {name} died with code {look['code']}{complaint}")
            said[name] = set(look["states"])
        return all(states & said[name] for name in endpoints)

    def _abandon(self) -> None:
        """End the agents that can be reached; the others end on their own."""
        self._is_running = False
        for name in self._clocks:
            try:
                self._pods.ask(name, {"do": "order", "order": encode_order(Order(kind=OrderKind.END))})
            except WorldError:
                continue

    def _try_fetch(self, name: str) -> WorldError | None:
        """Fetch an agent's files through the API, or else by the rescue; return why that failed."""
        assert self._directory is not None  # noqa: S101 - `collect` checked
        try:
            fetch(lambda request: self._pods.ask_patiently(name, request), self._directory)
        except WorldError as error:
            if self._rescue is None:
                return error
            try:
                self._rescue(self._pods.pod_of(name), self._directory)
            except WorldError as second:
                second.add_note(f"by the API before: {error}")
                return second
        return None


def fetch(ask: Callable[[JsonObject], JsonObject], directory: Path) -> None:
    """Fetch the files of one supervisor piece by piece. If a stream breaks, only its piece is requested again.

    Raises:
        WorldError: the supervisor cannot be reached, or a file does not have the size that it reported.
    """
    for name, octets in ask({"do": "list"})["files"].items():
        with (directory / Path(name).name).open("wb") as file:
            while (offset := file.tell()) < octets:
                answer = ask({"do": "read", "name": name, "offset": offset, "octets": min(_PIECE_OCTETS, octets - offset)})
                piece = zlib.decompress(base64.b64decode(answer["content"]))
                if not piece:
                    raise WorldError(f"{name} is truncated: {offset} of {octets} octets")
                file.write(piece)


def merge_records(directory: Path, clocks: Mapping[str, _PodClock], clock_id: str) -> ProbeRecords:
    """Read the agents' records and convert them to one clock: the harness's if an agent has it, else the best known one.

    Raises:
        RecordDamagedError: a file is there and cannot be read.
    """
    alone = {name: read_agents(directory, (name,)) for name in clocks}
    agents = tuple(
        AgentRows(clock=clock.clock, epoch_bound_ns=clock.bound_ns, sender=alone[name].sender, reflector=alone[name].reflector)
        for name, clock in clocks.items()
    )
    reference = min(clocks.values(), key=lambda clock: (clock.clock != clock_id, clock.bound_ns))
    offsets = find_offsets(agents, reference.clock)
    moved = align(agents, offsets)
    sender, reflector = (np.concatenate([getattr(one, table) for one in moved]) for table in ("sender", "reflector"))
    own = {name: offsets[clock.clock] for name, clock in clocks.items()}

    def gather(table: str, *columns: str) -> Rows:
        return np.concatenate([shift(getattr(alone[name], table), own[name], *columns) for name in clocks])

    skipped, connections = gather("skipped", "due", "woke"), gather("connections", "began", "at")
    return ProbeRecords(
        sender=sender[np.lexsort((sender["seq"], sender["flow"]))],
        reflector=reflector[np.lexsort((reflector["received"], reflector["flow"]))],
        skipped=skipped[np.argsort(skipped["due"], kind="stable")],
        clocks={
            name: shift(rows, own[name], "monotonic") for name, records in alone.items() for rows in records.clocks.values()
        },
        reports=tuple(
            replace(
                records.reports[0],
                clock=clocks[name].clock,
                offset_ns=own[name].middle_ns,
                offset_bound_ns=own[name].bound_ns,
                run_clock_bound_ns=reference.bound_ns,
            )
            for name, records in alone.items()
        ),
        connections=connections[np.lexsort((connections["at"], connections["flow"]))],
        overflows=gather("overflows", "since", "until"),
    )
