"""The prober of the lab: one reflector process and one sender process for the whole mesh, others for other classes of flows.

All run the same agent that ships into a pod, with sockets opened inside the pods' namespaces. They are processes of their
own, so that a pause of the harness cannot colour the measurement, and they never outlive it: their stdin is a pipe that ends
with us.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import probes
from clusters.agent_groups import AgentGroup, group_flows
from clusters.flow_settings import make_flow_settings
from hitless.agents import read_agents
from hitless.errors import BugError, WorldError
from hitless.facts import Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.records import ProbeRecords
from hitless.waiting import wait_until
from hitless.words import SECOND
from probes.authentication import make_key
from probes.settings import AgentSettings, EndpointSettings
from probes.settings_file import write_settings
from probes.stamp_authenticated import AUTHENTICATED

_START_S: Final = 20.0
"""An agent that has not opened its sockets by then never will; a loaded machine imports numpy in two seconds."""
_STOP_MARGIN_S: Final = 10.0
"""On top of `drain_ns`, before an agent is killed."""
_REFLECTOR_EXTRA_NS: Final = 30 * SECOND
"""The reflector lives longer than the sender by this and `drain_ns`."""
_LISTEN_S: Final = 0.2
_STDERR_OCTETS: Final = 2000


class _AgentProcess:
    """One running agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self.name = settings.agent
        self.states: list[str] = []
        self._is_asked = False
        path = settings.directory / f"{self.name}.settings.json"
        write_settings(path, settings)
        self._stderr_path = settings.directory / f"{self.name}.stderr"
        # Before what the user has there: numpy may come from it.
        paths = (str(Path(probes.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")]))
        # numpy's linear algebra would start a thread a core, for nothing.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self._stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "probes.agent", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                cwd=settings.directory,
                process_group=0,  # Ctrl-C is for the harness; the agents stop when it says so
            )
        assert self.process.stdout is not None  # noqa: S101 - asked for above
        self._stdout = self.process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._rest = b""

    def listen(self, timeout_s: float = 0.0) -> None:
        """Take down the states that the agent has said; wait for the next one at most this long."""
        readable, _, _ = select.select([self._stdout], [], [], timeout_s)
        content = self._stdout.read() if readable else None
        if content:
            *lines, self._rest = (self._rest + content).split(b"\n")
            self.states.extend(json.loads(line)["state"] for line in lines)

    def wait_state(self, state: str, timeout_s: float) -> None:
        """Return when the agent has said this.

        Raises:
            WorldError: it died, or did not say so in time.
        """

        def has_said() -> bool:
            if state not in self.states:
                self.check_alive()
                self.listen(_LISTEN_S)
            return state in self.states

        unmet = f"the {self.name} agent is not {state}"
        wait_until(has_said, timeout_s=timeout_s, poll_s=0, unmet=unmet, describe=self._complaint)

    def check_alive(self) -> None:
        """Raise WorldError if the agent ended without saying that it stopped."""
        code = self.process.poll()
        if code is None:
            return
        self.listen()
        if code != 0 or "stopped" not in self.states:
            message = f"the {self.name} agent died with code {code}: {self._complaint()}"
            raise WorldError(message)

    def ask_to_stop(self) -> None:
        """Let the agent send nothing more and drain; one that has ended is left alone. Asking twice would end it at once."""
        if self.process.poll() is None and not self._is_asked:
            self._is_asked = True
            self.process.terminate()

    def stop(self, timeout_s: float) -> None:
        """End the agent: ask, wait, kill as the last resort. Safe to call twice."""
        self.ask_to_stop()
        if self.process.poll() is None:
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self._stdout.closed:
            self.listen()
            self._stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _complaint(self) -> str:
        """Return the end of what it wrote to stderr."""
        return self._stderr_path.read_bytes()[-_STDERR_OCTETS:].decode(errors="replace").strip() or "it wrote nothing to stderr"


class LabProber:
    """Implements the Prober port; see `hitless.ports.Prober`.

    Args:
        endpoints: the endpoints of the lab.
        namespace_path: endpoint name to the path of its network namespace, or None: the present one.
        nodes: whose addresses a masquerade may put in the place of a source's.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], namespace_path: Callable[[str], str | None], nodes: Sequence[NodeFacts] = ()
    ) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._namespace_path, self._nodes = namespace_path, nodes
        self._directory: Path | None = None
        self._drain_s = 0.0
        self._senders: dict[str, _AgentProcess] = {}
        self._reflectors: dict[str, _AgentProcess] = {}
        self._names: tuple[str, ...] = ()

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Start the reflectors, then the senders, each once the one before listens. Raises WorldError; nothing runs then."""
        if self._senders or self._reflectors:
            message = "the prober is running: stop it before it starts again"
            raise BugError(message)
        self._directory, self._drain_s = directory, spec.drain_ns / 1e9
        directory.mkdir(parents=True, exist_ok=True)
        groups, key = group_flows(flows, spec), make_key() if spec.is_authenticated else None
        self._names = tuple(group.agent for group in groups)
        try:
            for group in groups:
                agent = _AgentProcess(self._settings(group, spec, epoch_ns, key if group.is_signed else None))
                (self._senders if group.is_sender else self._reflectors)[group.agent] = agent
                agent.wait_state("listening", _START_S)
        except BaseException:
            self.stop()
            raise

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row. Raises WorldError if an agent died."""
        for agent in (*self._reflectors.values(), *self._senders.values()):
            agent.listen()
            agent.check_alive()
        return bool(self._senders) and all("live" in agent.states for agent in self._senders.values())

    def stop(self) -> None:
        """Stop the senders, which drain together, then the reflectors. Safe to call twice."""
        for agent in self._senders.values():
            agent.ask_to_stop()
        for agent in self._senders.values():
            agent.stop(self._drain_s + _STOP_MARGIN_S)
        for agent in self._reflectors.values():
            agent.ask_to_stop()
        for agent in self._reflectors.values():
            agent.stop(_STOP_MARGIN_S)
        self._senders, self._reflectors = {}, {}

    def collect(self) -> ProbeRecords:
        """Return the records; an agent that was killed still gives its rows, with `finished` False."""
        if self._directory is None:
            message = "there are no records: the prober was never started"
            raise BugError(message)
        return read_agents(self._directory, self._names)

    def _settings(self, group: AgentGroup, spec: ProbeSpec, epoch_ns: int, key: bytes | None) -> AgentSettings:
        used = {flow.source if group.is_sender else flow.destination for flow in group.flows}
        assert self._directory is not None  # noqa: S101 - `start` set it
        return AgentSettings(
            agent=group.agent,
            directory=self._directory.absolute(),
            epoch_ns=epoch_ns,
            interval_ns=group.interval_ns,
            packet_octets=group.octets if key is None else max(group.octets, AUTHENTICATED.octets),
            key=key,
            live_answers=spec.live_answers,
            drain_ns=spec.drain_ns,
            duration_ns_max=spec.duration_ns_max + (0 if group.is_sender else spec.drain_ns + _REFLECTOR_EXTRA_NS),
            endpoints=tuple(
                EndpointSettings(
                    name=name,
                    address=endpoint.address,
                    namespace=self._namespace_path(name),
                    sends=group.is_sender,
                    reflects=not group.is_sender,
                )
                for name, endpoint in self._endpoints.items()
                if name in used
            ),
            flows=tuple(make_flow_settings(flow, self._endpoints, self._nodes) for flow in group.flows),
        )
