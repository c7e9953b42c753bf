"""What the commands look like in a terminal: tables, and the live progress of a comparison. Only this module imports rich."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from analysis.judged import JudgedRun
from hitless.events import Event
from hitless.plural import plural
from hitless.store import Listener
from hitless.words import SECOND, Arm, FlowRole, Verdict
from reports.live import Look, say_line
from reports.sentence import verdict_sentence
from reports.summary import Summary
from reports.table import comparison_rows, family_rows

_COLOURS: Final = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def print_comparison(summary: Summary, report: Path) -> None:
    """Print the verdict, the table and where the rest is."""
    console = Console(highlight=False)
    topology = summary.topology
    table = Table(title=f"{summary.scenario}: UNGATED against GATED", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("UNGATED", justify="right")
    table.add_column("GATED", justify="right")
    for row in comparison_rows(summary):
        table.add_row(row.label, row.ungated, row.gated)
    console.print(table)
    if families := family_rows(summary):
        print_table(
            "Probes lost, by class of flows",
            ("", "UNGATED", "GATED"),
            [(row.label, row.ungated, row.gated) for row in families],
        )
    console.print(
        f"{plural(topology.nodes, 'node')} in {plural(topology.zones, 'zone')}, carrier {summary.carrier}, "
        f"profile {summary.profile}, a probe every {summary.interval_ms:g} ms a flow: "
        f"every duration is +- {summary.accuracy_ms:g} ms",
        soft_wrap=True,
    )
    if summary.families_not_probed:
        console.print(f"{' and '.join(summary.families_not_probed)} is not probed: this result says nothing about it")
    for finding in summary.findings:
        is_decisive = finding.check == "comparison" or finding.verdict is Verdict.INCONCLUSIVE
        if is_decisive and finding.verdict is not Verdict.PASS:
            console.print(
                f"[{_COLOURS[finding.verdict]}]{finding.verdict}[/] {finding.code}: {escape(finding.text)}", soft_wrap=True
            )
    console.print(f"[bold {_COLOURS[summary.verdict]}]{summary.verdict}[/] {escape(verdict_sentence(summary))}", soft_wrap=True)
    console.print(f"report: {report}", markup=False, soft_wrap=True)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    note: str = "",
    *,
    has_numbers: bool = True,
    width_min: int = 0,
) -> None:
    """Print a table; where it has numbers they stand right, behind a first column of text.

    What is no terminal has no width: there a table may take `width_min` characters a line.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, width_min)
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index and has_numbers else "left", no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if note:
        console.print(note, soft_wrap=True)


def print_progress(text: str) -> None:
    """Say on standard error what is being done."""
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


_SAID: Final = {
    "run.started": "bringing the lab up",
    "run.live": "every flow is answered",
    "switch.requested": "the operator asks for {mode}",
    "gate.held": "the gate holds",
    "gate.opened": "the gate opens",
    "gate.not_applicable": "the gate does not apply: {reason}",
    "manifest.applied": "applying {kind} {name}",
    "route.created": "route to {cidr} in zone {zone}",
    "route.failed": "route to {cidr} in zone {zone} failed",
    "pod.deleted": "rolling {node}",
    "pod.ready": "{node} is ready",
    "roll.finished": "the roll is over",
    "fault.injected": "fault {fault}",
    "fault.cured": "fault {fault} cured",
    "run.settled": "all has settled; validating",
    "run.timed_out": "the time is over; validating",
    "run.probing_stopped": "draining and collecting",
}


class LiveTable:
    """Shows looks at a run: on a terminal one table in place, elsewhere a line each; a context manager."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def show(self, look: Look) -> None:
        """Show how it looks now."""
        if self._console.is_terminal:
            self._live.update(_draw_look(look), refresh=True)
        else:
            self._console.print(say_line(look), markup=False, soft_wrap=True)

    def finish(self, look: Look) -> None:
        """Show how it looked at its end; that stays."""
        if self._console.is_terminal:
            self._live.update("", refresh=True)
            self._console.print(_draw_look(look))
        else:
            self.show(look)


def _draw_look(look: Look) -> Group:
    facts = Table(title=look.title, title_justify="left", show_header=False)
    for name, value in look.facts:
        facts.add_row(name, value)
    worst = Table(title="Flows that lose most, over the time of the run", title_justify="left", show_header=False)
    for flow, lost, line in look.worst:
        worst.add_row(flow, plural(lost, "probe"), line)
    return Group(facts, worst) if look.worst else Group(facts)


class Progress:
    """Shows the runs of a comparison as they go; a context manager.

    Args:
        runs: how many runs there will be.
        is_shown: False: stay silent.
    """

    def __init__(self, runs: int, *, is_shown: bool) -> None:
        console = Console(stderr=True, quiet=not is_shown)
        self._console = console
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=runs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, arm: Arm, trial: int) -> Listener:
        """Begin to show a run; return what must be told its events."""
        name = f"{arm} trial {trial}"
        self._bar.update(self._task, description=f"{name}: starting")

        def listen(event: Event) -> None:
            said = _SAID.get(event.name)
            if said is not None:
                self._bar.update(self._task, description=f"{name}: {said.format_map(event.facts)}")

        return listen

    def finish(self, judged: JudgedRun) -> None:
        """Write the run's line."""
        header = judged.history.header
        mesh = [judged.measures[flow.id] for flow in judged.history.flows if flow.role is FlowRole.MESH]
        lost, hit = sum(flow.lost for flow in mesh), sum(flow.is_hit for flow in mesh)
        took_s = judged.history.events[-1].t_ns / SECOND
        self._console.print(
            f"{header.arm:<8} trial {header.trial}: {judged.verdict:<12} lost {lost} of "
            f"{plural(sum(flow.offered for flow in mesh), 'probe')}, {hit} of {plural(len(mesh), 'flow')} hit, {took_s:.1f} s",
            highlight=False,
            soft_wrap=True,
        )
        self._bar.advance(self._task)
