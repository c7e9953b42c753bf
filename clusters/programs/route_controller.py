"""aws-custom-route-controller as a program: started and ended as provider-aws scales it.

Source: aws-custom-route-controller main.go; gardener-extension-provider-aws charts/.../aws-custom-route-controller.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clusters.programs.api_server import ApiServer
from clusters.programs.ec2 import Ec2Endpoint
from clusters.programs.process import Process, free_port
from clusters.programs.seed_objects import SEED_NAMESPACE
from gardener.gate import has_route_created
from gardener.timings import Timings
from hitless.errors import ApiUnavailableError, WorldError
from hitless.ports import KubeApi, RouteTables
from hitless.words import MILLISECOND, SECOND, Kind, Nanoseconds

NAME: Final = "aws-custom-route-controller"
_POLL_NS: Final = Nanoseconds(10 * MILLISECOND)
_SILENCE_NS: Final = Nanoseconds(60 * SECOND)
"""A program that has not called EC2 for the first time by then is not ready; the count begins once the Shoot's API is there."""


class RouteControllerProgram:
    """Starts and ends the program; a Participant.

    Args:
        kube: the cluster's own API.
        tables: the route tables themselves.
        timings: how long a new pod takes to start the program.
        replicas: how many run when the run begins: 0 or 1.
    """

    name: Final = NAME
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self,
        path: Path,
        server: ApiServer,
        ec2: Ec2Endpoint,
        *,
        kube: KubeApi,
        tables: RouteTables,
        pod_cidr: str,
        timings: Timings,
        replicas: int,
    ) -> None:
        self._path, self._server, self._ec2 = path, server, ec2
        self._kube, self._tables, self._pod_cidr = kube, tables, pod_cidr
        self._pod_start_ns, self._tick_ns = timings.route_controller_start_ns, timings.route_controller_tick_ns
        self._now_ns = Nanoseconds(0)
        self.replicas = replicas
        """How many run: 0 or 1."""
        self._start_ns = Nanoseconds(0)
        self._process: Process | None = None
        self._is_away = False
        self._silent_until: tuple[Nanoseconds, int] | None = None

    def scale(self, replicas: int, at_ns: Nanoseconds) -> None:
        """Start the program, after the time that its pod takes, or end it."""
        self.replicas, self._start_ns = replicas, Nanoseconds(at_ns + self._pod_start_ns)
        if not replicas:
            self.stop()

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Stop the program, or start it again as `scale` does; the number of replicas stays."""
        self._is_away, self._start_ns = is_away, Nanoseconds(at_ns + self._pod_start_ns)
        self.stop()

    def stop(self) -> None:
        """End the program. Safe to call twice."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Start the program when it is due, and check that it runs. Raises WorldError if it does not."""
        self._now_ns = now_ns
        if self.replicas and not self._is_away and self._process is None and now_ns >= self._start_ns:
            self._process = self._start()
            self._silent_until = (Nanoseconds(now_ns + _SILENCE_NS), self._ec2.calls)
        if self._process is not None:
            self._process.check()
            self._refuse_silence(self._process, now_ns)
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether the controller is stopped, or all tables have all nodes' routes and all conditions say so.

        Another writer may have overwritten a condition, which the program does not correct: then two ticks without a call are
        enough.
        """
        if not self.replicas or self._is_away:
            return True
        try:
            nodes = self._kube.list(Kind.NODE)
        except ApiUnavailableError:
            return False
        wanted = {node["spec"]["podCIDR"] for node in nodes if node["spec"].get("podCIDR")}
        is_routed = all(wanted == {route.cidr for route in self._tables.list(zone)} for zone in self._tables.zones())
        is_quiet = self._now_ns >= self._ec2.answered_ns + 2 * self._tick_ns
        return self._process is not None and is_routed and (is_quiet or all(map(has_route_created, nodes)))

    def _refuse_silence(self, process: Process, now_ns: Nanoseconds) -> None:
        if self._silent_until is None:
            return
        until_ns, calls = self._silent_until
        if self._ec2.calls > calls:
            self._silent_until = None
        elif self._server.is_shoot_away:
            self._silent_until = (Nanoseconds(now_ns + _SILENCE_NS), calls)
        elif now_ns >= until_ns:
            raise WorldError(f"{NAME} never became ready: no call to EC2 within {_SILENCE_NS // SECOND} s; {process.quote()}")

    def _start(self) -> Process:
        arguments = [
            str(self._path.resolve()),
            f"--namespace={SEED_NAMESPACE}",
            f"--cluster-name={SEED_NAMESPACE}",
            "--region=eu-central-1",
            f"--pod-network-cidr={self._pod_cidr}",
            f"--control-kubeconfig={self._server.kubeconfig}",
            f"--target-kubeconfig={self._server.shoot_kubeconfig}",
            "--leader-election=false",
            f"--health-probe-port={free_port()}",
            f"--metrics-port={free_port()}",
        ]
        settings = {
            "AWS_ENDPOINT_URL": self._ec2.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        return Process(NAME, arguments, self._server.logs, settings)
