"""The prober of the lab: one reflector process and one sender process for the whole mesh.

Both run the same agent that ships into a pod, with sockets opened inside the pods' namespaces. They are processes of their
own, so that a pause of the harness cannot colour the measurement, and they never outlive it: their stdin is a pipe that ends
with us.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import probes
from hitless.agents import read_agents
from hitless.errors import BugError, WorldError
from hitless.ports import Endpoint, Flow, ProbeSpec
from hitless.records import ProbeRecords
from hitless.words import SECOND
from probes.settings import AgentSettings, EndpointSettings, FlowSettings

SENDER: Final = "sender"
REFLECTOR: Final = "reflector"
_START_S: Final = 20.0
"""An agent that has not opened its sockets by then never will; a loaded machine imports numpy in two seconds."""
_STOP_MARGIN_S: Final = 10.0
"""On top of `drain_ns`, before an agent is killed."""
_REFLECTOR_EXTRA_NS: Final = 30 * SECOND
"""The reflector lives longer than the sender by this and `drain_ns`."""
_STDERR_OCTETS: Final = 2000


class _AgentProcess:
    """One running agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self.name = settings.agent
        self.states: list[str] = []
        path = settings.directory / f"{self.name}.settings.json"
        path.write_text(json.dumps(settings.as_json(), indent=1) + "\n")
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
        deadline_s = time.monotonic() + timeout_s
        while state not in self.states:
            self.check_alive()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                message = f"the {self.name} agent is not {state} after {timeout_s:g} s{self._complaint()}"
                raise WorldError(message)
            self.listen(min(left_s, 0.2))

    def check_alive(self) -> None:
        """Raise WorldError if the agent ended without saying that it stopped."""
        code = self.process.poll()
        if code is None:
            return
        self.listen()
        if code != 0 or "stopped" not in self.states:
            message = f"the {self.name} agent died with code {code}{self._complaint()}"
            raise WorldError(message)

    def stop(self, timeout_s: float) -> None:
        """End the agent: ask, wait, kill as the last resort. Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
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
        tail = self._stderr_path.read_bytes()[-_STDERR_OCTETS:].decode(errors="replace").strip()
        return f": {tail}" if tail else ""


class LabProber:
    """Implements the Prober port; see `hitless.ports.Prober`.

    Args:
        endpoints: the pods of the lab.
        namespace_path: endpoint name to the path of its network namespace, or None: the present one.
    """

    def __init__(self, endpoints: Sequence[Endpoint], namespace_path: Callable[[str], str | None]) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._namespace_path = namespace_path
        self._directory: Path | None = None
        self._drain_s = 0.0
        self._sender: _AgentProcess | None = None
        self._reflector: _AgentProcess | None = None

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Start the reflector, then the sender, each once the one before listens. Raises WorldError; nothing runs then."""
        if self._sender or self._reflector:
            message = "the prober is running: stop it before it starts again"
            raise BugError(message)
        self._directory, self._drain_s = directory, spec.drain_ns / 1e9
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._reflector = _AgentProcess(self._settings(REFLECTOR, flows, spec, epoch_ns))
            self._reflector.wait_state("listening", _START_S)
            self._sender = _AgentProcess(self._settings(SENDER, flows, spec, epoch_ns))
            self._sender.wait_state("listening", _START_S)
        except BaseException:
            self.stop()
            raise

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row. Raises WorldError if an agent died."""
        if self._sender is None or self._reflector is None:
            return False
        for agent in (self._reflector, self._sender):
            agent.listen()
            agent.check_alive()
        return "live" in self._sender.states

    def stop(self) -> None:
        """Stop the sender, which drains, then the reflector. Safe to call twice."""
        if self._sender:
            self._sender.stop(self._drain_s + _STOP_MARGIN_S)
        if self._reflector:
            self._reflector.stop(_STOP_MARGIN_S)
        self._sender = self._reflector = None

    def collect(self) -> ProbeRecords:
        """Return the records; an agent that was killed still gives its rows, with `finished` False."""
        if self._directory is None:
            message = "there are no records: the prober was never started"
            raise BugError(message)
        return read_agents(self._directory, (SENDER, REFLECTOR))

    def _settings(self, agent: str, flows: Sequence[Flow], spec: ProbeSpec, epoch_ns: int) -> AgentSettings:
        is_sender = agent == SENDER
        used = {flow.source if is_sender else flow.destination for flow in flows}
        assert self._directory is not None  # noqa: S101 - `start` set it
        return AgentSettings(
            agent=agent,
            directory=self._directory.absolute(),
            epoch_ns=epoch_ns,
            interval_ns=spec.interval_ns,
            packet_octets=spec.packet_octets,
            live_answers=spec.live_answers,
            drain_ns=spec.drain_ns,
            duration_ns_max=spec.duration_ns_max + (0 if is_sender else spec.drain_ns + _REFLECTOR_EXTRA_NS),
            endpoints=tuple(
                EndpointSettings(
                    name=name,
                    address=endpoint.address,
                    namespace=self._namespace_path(name),
                    sends=is_sender,
                    reflects=not is_sender,
                )
                for name, endpoint in self._endpoints.items()
                if name in used
            ),
            flows=tuple(
                FlowSettings(
                    id=flow.id,
                    source=flow.source,
                    source_address=self._endpoints[flow.source].address,
                    destination=flow.destination,
                    destination_address=self._endpoints[flow.destination].address,
                )
                for flow in flows
            ),
        )
