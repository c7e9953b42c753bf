"""A cluster with programs of Gardener's parts around it, for runs with real parts.

It brings the cluster up, then an API server that is seed and Shoot in one, the programs, and the mirror between that API and
the cluster's own. Everything else of the Cluster port is the cluster's. A program that ends or never becomes ready raises
WorldError with the last lines of its log; the run is then INCONCLUSIVE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from clusters.kubernetes.api_calls import ApiCalls, connect
from clusters.kubernetes.installer import NAMESPACE, RESOURCES, Installer
from clusters.programs.api_server import ApiServer, find_assets
from clusters.programs.ec2 import Ec2Endpoint
from clusters.programs.extension import ExtensionProgram, start_extension
from clusters.programs.identity import identify
from clusters.programs.mirror import Mirror, node_as_created
from clusters.programs.process import Guard, Process
from clusters.programs.resource_manager import GarbageCollector, start_resource_manager
from clusters.programs.route_controller import RouteControllerProgram
from clusters.programs.seed_objects import SEED_NAMESPACE, definitions, namespace, secret
from gardener.doubles.cloud import Cloud
from gardener.feature_gates import FeatureGates
from gardener.releases import LATEST, ExtensionRelease, find_release
from hitless.clock import wait_until
from hitless.errors import BugError
from hitless.events import Event, Recorder
from hitless.facts import ClusterFacts, Part, PartIdentity
from hitless.faults import KUBE_API_DOWN, Fault, FaultTable
from hitless.load import Load
from hitless.objects import name_of
from hitless.plan import RunPlan
from hitless.ports import Calibrator, Clock, Cluster, KubeApi, Participant, Prober, RouteTables
from hitless.words import Arm, JsonObject, Kind, Mode, Nanoseconds
from scenarios.plan import Case, make_switch_spec
from switches.doubles import Switch, make_switch

LOGS: Final = "programs"
"""Folder of the programs' logs in a run's folder."""
_READY_S: Final = 120.0
_POLL_S: Final = 0.1

Programs = Mapping[Part, Path]
"""The programs that replace doubles, by part."""


class DeferredRecorder:
    """A Recorder that gets its target when the run begins; earlier events are not part of the run."""

    def __init__(self) -> None:
        self.target: Recorder | None = None

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        """Record an event, or drop it; see Recorder."""
        if self.target is None:
            return Event(t_ns=t_ns or Nanoseconds(0), name=name, facts=facts)
        return self.target.record(name, t_ns=t_ns, **facts)


class ProgramCluster:
    """Implements the Cluster port; see `hitless.ports.Cluster`.

    What does not concern the programs is the cluster's own, from `up` on.

    Raises:
        MissingCapabilityError: a program of the control plane is missing.
    """

    kube: KubeApi
    routes: RouteTables
    prober: Prober
    calibrator: Calibrator | None
    load: Load | None

    def __init__(
        self, inner: Cluster, programs: Programs, case: Case, *, feature_gates: FeatureGates, directory: Path, clock: Clock
    ) -> None:
        self._inner, self._programs, self._case, self._clock = inner, programs, case, clock
        self.capabilities, self.counters, self.inspect = inner.capabilities, inner.counters, inner.inspect
        self._feature_gates = feature_gates
        self._server = ApiServer(find_assets(), directory / LOGS)
        self._stack = contextlib.ExitStack()
        self._processes: list[Process] = []
        self._mirror: Mirror | None = None
        self.extension: ExtensionProgram | None = None
        """Adapter of extension and resource manager; None: they are doubles, or the cluster is not up."""
        self.route_controller: RouteControllerProgram | None = None
        """None: it is a double, or the cluster is not up."""
        self._players: list[Participant] = []
        self._recorder = DeferredRecorder()

    @property
    def faults(self) -> FaultTable:
        """The cluster's; while its API is down, the programs cannot reach the Shoot's API either."""
        faults, set_away = self._inner.faults.faults, self._server.set_shoot_away
        api = faults[KUBE_API_DOWN]

        def inject(options: JsonObject) -> None:
            api.inject(options)
            set_away(True)

        def cure(options: JsonObject) -> None:
            set_away(False)
            api.cure(options)

        return FaultTable({**faults, KUBE_API_DOWN: Fault(inject=inject, cure=cure)})

    def up(self) -> ClusterFacts:
        """Bring up the cluster, then the API and the programs, in the start mode. Raises WorldError."""
        try:
            facts = self._inner.up()
            self.kube, self.routes, self.prober = self._inner.kube, self._inner.routes, self._inner.prober
            self.calibrator, self.load = self._inner.calibrator, self._inner.load
            self._begin()
        except BaseException:
            self.down()
            raise
        return replace(facts, parts=(*facts.parts, *self._identify()))

    def down(self) -> None:
        """End the programs, then the API, then the cluster. Safe to call twice."""
        with contextlib.ExitStack() as last:
            last.callback(self._inner.down)
            last.callback(self._server.down)
            last.callback(self._stack.close)

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return the participants that simulate the world around the programs, and the cluster's own.

        They are asked in this order whether they have settled. One that needs calls for its answer comes last, so that no call
        delays what the mirror still has to copy.
        """
        self._recorder.target = recorder
        if self._mirror is not None:
            self._mirror.begin()
        controller = () if self.route_controller is None else (self.route_controller,)
        guard = Guard(self._check, [one for one in (self.extension, self._mirror) if one is not None])
        return (*self._players, *self._inner.participants(recorder), *controller, guard)

    def _begin(self) -> None:
        programs, server = self._programs, self._server
        server.up()
        calls = connect(server.kubeconfig)
        self._stack.callback(calls.close)
        self._install(calls)
        mirror = Mirror(calls, self.kube, self._case.feature_gates.release.calico_version, self._recorder)
        self._add(mirror, mirror.start, mirror.stop)
        self._players.append(mirror.outward)
        self._mirror = mirror
        if Part.EXTENSION in programs:
            self._begin_extension(calls, programs[Part.EXTENSION], programs[Part.RESOURCE_MANAGER])
        if Part.ROUTE_CONTROLLER in programs:
            self._begin_route_controller(programs[Part.ROUTE_CONTROLLER])

    def _install(self, calls: ApiCalls) -> None:
        """Write the objects that the programs expect: definitions, secrets, and the Nodes as they are now."""
        installer = Installer(calls)
        installer.install((*definitions(), namespace(SEED_NAMESPACE), namespace(NAMESPACE)))
        kubeconfig = secret("gardener", {"kubeconfig": self._server.shoot_kubeconfig.read_bytes()})
        credentials = secret("cloudprovider", {"accessKeyID": b"hitless", "secretAccessKey": b"hitless"})
        nodes = self.kube.list(Kind.NODE)
        installer.install_when_served((kubeconfig, credentials, *map(node_as_created, nodes)), timeout_s=_READY_S)
        for node in nodes:
            path = RESOURCES[Kind.NODE].path(name_of(node), subresource="status")
            calls.patch(path, {"status": node.get("status") or {}}, about=f"Node {name_of(node)} status")

    def _begin_extension(self, calls: ApiCalls, extension: Path, resource_manager: Path) -> None:
        gates = self._feature_gates
        adapter = ExtensionProgram(
            calls,
            self.kube,
            gates,
            recorder=self._recorder,
            reconcile_ns=self._case.timings.extension_reconcile_ns,
            start_process=partial(start_extension, extension, gates, self._server),
        )
        collector = GarbageCollector(calls)
        self._add(collector, collector.start, collector.stop)
        adapter.start(self._case.shoot)
        self._stack.callback(adapter.stop)
        self.extension = adapter
        manager = start_resource_manager(resource_manager, self._server)
        self._stack.callback(manager.end)
        self._processes.append(manager)

        def is_applied() -> bool:
            self._check()
            collector.reconcile(self._clock.now_ns())
            return adapter.is_applied()

        wait_until(
            is_applied,
            timeout_s=_READY_S,
            poll_s=_POLL_S,
            unmet="the Network was not reconciled and applied",
            describe=lambda: f"{adapter.describe()}\n{adapter.quote()}\n{manager.quote()}",
            clock=self._clock,
        )

    def _begin_route_controller(self, path: Path) -> None:
        case, kube = self._case, self.kube
        routes = self._inner.routes
        cloud = routes if isinstance(routes, Cloud) else Cloud(routes, case.behaviour, self._clock)
        own_ns = cloud.behaviour.create_ns
        create_ns = case.timings.route_create_ns if own_ns is None else own_ns

        def read_instances() -> dict[str, str]:
            return {node["spec"]["providerID"].rpartition("/")[2]: node["metadata"]["name"] for node in kube.list(Kind.NODE)}

        ec2 = Ec2Endpoint(cloud, read_instances, create_ns, self._recorder)
        self._add(ec2, ec2.start, ec2.stop)
        controller = RouteControllerProgram(
            path,
            self._server,
            ec2,
            kube=kube,
            tables=cloud.tables,
            pod_cidr=case.shoot.pod_cidr,
            timings=case.timings,
            replicas=1 if case.shoot.mode is Mode.NATIVE else 0,
        )
        self._stack.callback(controller.stop)
        self.route_controller = controller

    def _add(self, player: Participant, start: Callable[[], None], stop: Callable[[], None]) -> None:
        start()
        self._stack.callback(stop)
        self._players.append(player)

    def _check(self) -> None:
        self._server.check()
        for process in self._processes:
            process.check()
        if self.extension is not None:
            self.extension.check()

    def _identify(self) -> tuple[PartIdentity, ...]:
        identities = [identify(part, path) for part, path in self._programs.items()]
        rendered = self._mirror.find_calico_version() if self._mirror is not None else None
        return tuple(replace(one, calico_version=rendered) if one.name is Part.EXTENSION else one for one in identities)


def plan_programs(plan: RunPlan, programs: Programs, case: Case, arm: Arm, clock: Clock) -> RunPlan:
    """Return a plan whose switch has the programs in it; the cluster states their identities."""
    parts = tuple(part for part in plan.header.parts if part.name not in programs)
    return replace(plan, header=replace(plan.header, parts=parts), make_switch=partial(_make_switch, case, arm, clock))


def find_program_release(programs: Programs) -> ExtensionRelease:
    """Return the release of the extension, as the program states it; the latest where it is a double, or cannot be asked."""
    path = programs.get(Part.EXTENSION)
    return LATEST if path is None or not path.is_file() else find_release(identify(Part.EXTENSION, path).version)


def surround(cluster: Cluster, programs: Programs, case: Case, arm: Arm, directory: Path, clock: Clock) -> ProgramCluster:
    """Return a cluster with the programs around it, not up yet. Raises MissingCapabilityError."""
    gates = make_switch_spec(case, arm).feature_gates
    if Part.EXTENSION in programs:
        gates = replace(gates, release=find_program_release(programs))
    return ProgramCluster(cluster, programs, case, feature_gates=gates, directory=directory, clock=clock)


def _make_switch(case: Case, arm: Arm, clock: Clock, cluster: Cluster, facts: ClusterFacts, recorder: Recorder) -> Switch:
    if not isinstance(cluster, ProgramCluster):
        raise BugError("programs were planned for a cluster without programs")
    switch = make_switch(
        make_switch_spec(case, arm),
        kube=cluster.kube,
        routes=cluster.routes,
        recorder=recorder,
        clock=clock,
        extension=cluster.extension,
        route_controller=cluster.route_controller,
    )
    if cluster.extension is not None:
        if case.scenario.initial.manifest == "unreadable":
            cluster.extension.compress_manifest()
        cluster.extension.begin()
    case.scenario.initial.prepare(cluster.kube, switch.cloud.tables, facts, recorder)
    return switch
