"""The store of one run: a directory, written in phases so that a crash loses nothing.

| file | phase | what |
|---|---|---|
| `run.json` | before anything happens | the header |
| `events.jsonl` | while it happens, line by line | the events |
| `cluster.json` | once the cluster is up | facts, flows, counters before |
| `{sender,reflector,skipped,clocks,connections,overflows}.parquet`, `agents.json` | after the probing | probe records |
| `load.parquet`, `load.json` | after the load, if there was one | its requests; its settings and reports |
| `final.json` | at the end | counters after, nodes, objects, errors |
| `verdict.json` | last | what the checks said |

While the run lasts the agents' own files are in `agents/`; they go when their rows are in Parquet (`hitless.parquet`). So do
those of the load in `load/`:

| file | by | what |
|---|---|---|
| `spec.json` | the harness, before anything runs | the LoadSpec |
| `NAME.requests` | each worker | a record file of REQUEST_ROWs, one `write` a request |
| `NAME.json` | each process at its end | its AgentReport: a process without one was killed |

A request is written when it ends. If a worker was killed, its unfinished requests are missing, at most one per user.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hitless.errors import RecordDamagedError, attempting
from hitless.events import Event
from hitless.facts import CloudRoute, ClusterFacts, Flow, NodeState
from hitless.history import History, RunHeader
from hitless.load import LoadRecords, LoadSpec
from hitless.parquet import read_clocks, read_rows, write_clocks, write_rows
from hitless.ports import Clock
from hitless.records import (
    CONNECTION_ROW,
    OVERFLOW_ROW,
    REFLECTOR_ROW,
    REQUEST_ROW,
    SENDER_ROW,
    SKIPPED_ROW,
    AgentReport,
    ProbeRecords,
    Rows,
    find_agents,
    read_agents,
    read_record,
    read_report,
)
from hitless.words import JsonObject, Nanoseconds

SCHEMA: Final = "hitless.run/2"
_SCHEMA_1: Final = "hitless.run/1"
"""Still read. Its flows are 16 bits, its addresses IPv4 numbers, its parts unknown; the columns below had other names."""
_NAMES_1: Final = {"before": "send_began_ns", "after": "send_ended_ns"}
_SPEC_FILE: Final = "spec.json"
_SUFFIXES: Final = (".requests", ".settings.json")
NO_RECORDS: Final = "no probe records were stored"
Listener = Callable[[Event], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    facts: ClusterFacts
    flows: tuple[Flow, ...]
    counters_before: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Final:
    counters_after: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    nodes: tuple[NodeState, ...] = ()
    objects: tuple[JsonObject, ...] = ()
    errors: tuple[str, ...] = ()
    cloud_routes: tuple[CloudRoute, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    spec: LoadSpec
    reports: tuple[AgentReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    schema: str
    header: RunHeader
    epoch_ns: int


class EventLog:
    """Writes events to a new file, line by line, and calls the listener with each; it must not raise."""

    def __init__(self, path: Path, clock: Clock, listener: Listener | None = None) -> None:
        self._path = path
        with attempting(f"write {path}"):
            self._file = path.open("x", buffering=1, encoding="utf-8")
        self._clock = clock
        self._listener = listener

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        """Record an event at `t_ns` (default: now) and return it."""
        event = Event(t_ns=self._clock.now_ns() if t_ns is None else t_ns, name=name, facts=facts)
        with attempting(f"write {self._path}"):
            self._file.write(json.dumps(event.as_json()) + "\n")
        if self._listener is not None:
            self._listener(event)
        return event

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with attempting(f"write {self._path}"):
            self._file.close()


class RunStore:
    """Writes the new directory of one run; the listener is told every event. The agents share the clock's epoch."""

    def __init__(self, directory: Path, clock: Clock, listener: Listener | None = None) -> None:
        self.directory = directory
        self.epoch_ns = clock.epoch_ns
        self.agents_directory = directory / "agents"
        self.load_directory = directory / "load"
        with attempting(f"write {directory}"):
            self.agents_directory.mkdir(parents=True)
        self.events = EventLog(directory / "events.jsonl", clock, listener)

    def write_header(self, header: RunHeader) -> None:
        """Write the request, before anything happens."""
        _write(self.directory / "run.json", _Run, _Run(schema=SCHEMA, header=header, epoch_ns=self.epoch_ns))

    def write_cluster(
        self, facts: ClusterFacts, flows: tuple[Flow, ...], counters_before: Mapping[str, Mapping[str, int]]
    ) -> None:
        """Write what the cluster is."""
        _write(self.directory / "cluster.json", _Cluster, _Cluster(facts=facts, flows=flows, counters_before=counters_before))

    def write_records(self, records: ProbeRecords) -> None:
        """Write the probe records as Parquet, then remove the agents' own files."""
        with attempting(f"write {self.directory}"):
            for name in ("sender", "reflector", "skipped", "connections", "overflows"):
                write_rows(self.directory / f"{name}.parquet", getattr(records, name))
            write_clocks(self.directory / "clocks.parquet", records.clocks)
        _write(self.directory / "agents.json", tuple[AgentReport, ...], records.reports)
        with attempting(f"write {self.agents_directory}"):
            shutil.rmtree(self.agents_directory)

    def write_load(self, records: LoadRecords) -> None:
        """Write the requests of the load as Parquet, then remove its processes' own files."""
        with attempting(f"write {self.directory}"):
            write_rows(self.directory / "load.parquet", records.rows)
        _write(self.directory / "load.json", _Load, _Load(spec=records.spec, reports=records.reports))
        with attempting(f"write {self.load_directory}"):
            shutil.rmtree(self.load_directory)

    def write_final(
        self,
        counters_after: Mapping[str, Mapping[str, int]],
        nodes: tuple[NodeState, ...],
        objects: tuple[JsonObject, ...],
        errors: tuple[str, ...],
        cloud_routes: tuple[CloudRoute, ...] | None = None,
    ) -> None:
        """Write the state at the end."""
        final = _Final(counters_after=counters_after, nodes=nodes, objects=objects, errors=errors, cloud_routes=cloud_routes)
        _write(self.directory / "final.json", _Final, final)

    def close(self) -> None:
        """Close the event file; safe to call twice."""
        self.events.close()


def read_history(directory: Path, *, must_be_whole: bool = True) -> History:
    """Read a stored run.

    A run that was killed has no `final.json`: its history says so in `errors`, and so do missing probe records. If it need not
    be whole, a run whose files were cut is read as far as it goes: what cannot be read is left out and named in `errors`, which
    make the run INCONCLUSIVE. Its header and its cluster must be there.

    Raises RecordDamagedError: a file is missing that every run has, or one cannot be read.
    """
    run = _read(directory / "run.json", _Run)
    if run.schema not in {SCHEMA, _SCHEMA_1}:
        raise RecordDamagedError(
            f"{directory / 'run.json'}: the run is {run.schema}; this version of hitless reads {SCHEMA} and {_SCHEMA_1}"
        )
    if not (directory / "cluster.json").exists():
        raise RecordDamagedError(f"{directory}: the run ended before its cluster was up, so it has nothing to judge")
    cluster = _read(directory / "cluster.json", _Cluster)
    reader = _Reader(directory, _NAMES_1 if run.schema == _SCHEMA_1 else {}, must_be_whole=must_be_whole)
    final, events = _Final(errors=("the run ended before its end was stored",)), reader.read_events()
    if (directory / "final.json").exists():
        final = reader.attempt(lambda: _read(directory / "final.json", _Final), _Final())
        if all(event.name != "run.probing_stopped" for event in events):
            reader.lost.insert(0, "events are missing: the stored ones end before the probing stopped")
    return History(
        header=run.header,
        facts=cluster.facts,
        flows=cluster.flows,
        events=events,
        records=reader.read_records(),
        counters_before=cluster.counters_before,
        counters_after=final.counters_after,
        final_nodes=final.nodes,
        final_objects=final.objects,
        final_cloud_routes=final.cloud_routes,
        load=reader.attempt(lambda: _read_load(directory), None),
        errors=(*final.errors, *reader.lost),
    )


def read_header(directory: Path) -> RunHeader:
    """Return the request of a run, also of a running one. Raises RecordDamagedError: it cannot be read."""
    return _read(directory / "run.json", _Run).header


def read_cluster(directory: Path) -> tuple[ClusterFacts, tuple[Flow, ...]]:
    """Return the cluster of a run and its flows, also of one that lasts. Raises RecordDamagedError: they cannot be read."""
    cluster = _read(directory / "cluster.json", _Cluster)
    return cluster.facts, cluster.flows


def write_json(path: Path, document: object) -> None:
    """Write a JSON document whole or not at all. Raises WorldError."""
    part = path.with_name(path.name + ".part")
    with attempting(f"write {path}"):
        part.write_text(json.dumps(document, indent=1, sort_keys=False) + "\n", encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 - the same call with a clearer name


class _Reader:
    """Reads the files of one run that may have been cut; `names` has today's names of columns that had others."""

    def __init__(self, directory: Path, names: Mapping[str, str], *, must_be_whole: bool) -> None:
        self._directory = directory
        self._names = names
        self._must_be_whole = must_be_whole
        self.lost: list[str] = []
        """What is missing or could not be read, each with the reason."""

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Return the result, or its replacement if it cannot be read. Raises RecordDamagedError: it must be whole."""
        try:
            return read()
        except RecordDamagedError as error:
            if self._must_be_whole:
                raise
            self.lost.append(f"a file is left out, because it cannot be read: {error}")
            return instead

    def read_events(self) -> tuple[Event, ...]:
        """Read events in order of time; a last line that was cut off (the run was killed) is left out."""
        path, events = self._directory / "events.jsonl", list[Event]()
        lines = self.attempt(lambda: _read_bytes(path).splitlines(), list[bytes]())
        for number, line in enumerate(lines, 1):
            event = self.attempt(partial(_read_event, path, number, line, is_last=number == len(lines)), None)
            if event is None:
                break
            events.append(event)
        return tuple(sorted(events, key=lambda event: event.t_ns))

    def read_records(self) -> ProbeRecords:
        """Read the probe records, table by table; as the agents left them if they were not collected."""
        if not (self._directory / "agents.json").exists():
            agents = self._directory / "agents"
            left = find_agents(agents)
            text = "the probe records were not collected; they are read as the agents left them"
            self.lost.append(text if left else NO_RECORDS)
            return self.attempt(lambda: read_agents(agents, left), read_agents(agents, ()))
        return ProbeRecords(
            sender=self._read_rows("sender", SENDER_ROW, self._names),
            reflector=self._read_rows("reflector", REFLECTOR_ROW),
            skipped=self._read_rows("skipped", SKIPPED_ROW),
            clocks=self.attempt(lambda: read_clocks(self._directory / "clocks.parquet"), {}),
            reports=self.attempt(lambda: _read(self._directory / "agents.json", tuple[AgentReport, ...]), ()),
            connections=self._read_rows("connections", CONNECTION_ROW),
            overflows=self._read_rows("overflows", OVERFLOW_ROW),
        )

    def _read_rows(self, table: str, dtype: np.dtype[Any], names: Mapping[str, str] | None = None) -> Rows:
        return self.attempt(lambda: read_rows(self._directory / f"{table}.parquet", dtype, names), np.zeros(0, dtype))


def _read_event(path: Path, number: int, line: bytes, *, is_last: bool) -> Event | None:
    """Return the event of a line; None: it is the last, and was cut."""
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError) as error:
        if is_last:
            return None
        raise RecordDamagedError(f"{path}: line {number}: {error}") from error


def write_spec(directory: Path, spec: LoadSpec) -> None:
    """Write the settings of the load. Raises WorldError."""
    _write(directory / _SPEC_FILE, LoadSpec, spec)


def read_load(directory: Path) -> LoadRecords:
    """Read what the processes of a load wrote below a directory, also killed ones.

    Raises RecordDamagedError: a file is there and cannot be read, or the settings of the load were not stored.
    """
    spec = _read(directory / _SPEC_FILE, LoadSpec)
    tables = [read_record(path)[1] for path in sorted(directory.glob("*.requests"))]
    rows = np.concatenate([np.zeros(0, REQUEST_ROW), *tables])
    names = {path.name.removesuffix(suffix) for suffix in _SUFFIXES for path in directory.glob(f"*{suffix}")}
    return LoadRecords(
        spec=spec,
        rows=rows[np.argsort(rows["began"], kind="stable")],
        reports=tuple(read_report(directory, name) for name in sorted(names)),
    )


def _read_load(directory: Path) -> LoadRecords | None:
    """Return the load's records, as its processes left them where they were not collected; None: there was no load."""
    if (directory / "load.json").exists():
        load = _read(directory / "load.json", _Load)
        return LoadRecords(spec=load.spec, rows=read_rows(directory / "load.parquet", REQUEST_ROW), reports=load.reports)
    return read_load(directory / "load") if (directory / "load" / _SPEC_FILE).exists() else None


def _write(path: Path, kind: Any, value: object) -> None:  # noqa: ANN401 - a type form
    write_json(path, TypeAdapter(kind).dump_python(value, mode="json"))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordDamagedError(f"{path}: {error.strerror or error}") from error


def _read(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(_read_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RecordDamagedError(f"{path}: {f'{place}: ' if place else ''}{first['msg']}") from error
