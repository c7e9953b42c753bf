"""Terminal output of the commands: tables, and views of running runs. Only this module imports rich."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from analysis.evidence import JudgedRun
from hitless.plural import plural
from hitless.words import SECOND, FlowRole, Verdict
from reports.live import Look
from reports.summary import Summary
from reports.table import comparison_rows, family_rows, verdict_sentence

_COLOURS: Final = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def print_comparison(summary: Summary, report: Path) -> None:
    """Print the verdict, the table and where the rest is."""
    console = Console(highlight=False)
    topology, arms = summary.topology, ("", "UNGATED", "GATED")
    print_table(f"{summary.scenario}: UNGATED against GATED", arms, comparison_rows(summary))
    if families := family_rows(summary):
        print_table("Probes lost, by class of flows", arms, families)
    console.print(
        f"{plural(topology.nodes, 'node')} in {plural(topology.zones, 'zone')}, carrier {summary.carrier}, "
        f"profile {summary.profile}, a probe every {summary.interval_ms:g} ms per flow: "
        f"every duration is ±{summary.accuracy_ms:g} ms",
        soft_wrap=True,
    )
    if summary.mesh is not None and not summary.mesh.is_full:
        console.print(f"{summary.mesh.text}; the report says what this can miss", soft_wrap=True)
    if summary.families_not_probed:
        console.print(f"{' and '.join(summary.families_not_probed)} is not probed; the result does not cover it")
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


def draw_looks(looks: Sequence[Look], width: int) -> list[str]:
    """Return the lines, `width` characters at the most, that show looks at runs one below the other."""
    console = Console(width=width, highlight=False, force_terminal=True, file=io.StringIO())
    with console.capture() as capture:
        for look in looks:
            console.print(_draw_look(look))
    return capture.get().splitlines()


def _draw_look(look: Look) -> Group:
    facts = Table.grid(padding=(0, 2))
    for left, right in zip_longest(look.facts[::2], look.facts[1::2], fillvalue=("", "")):
        facts.add_row(f"[dim]{left[0]}[/]", left[1], f"[dim]{right[0]}[/]", right[1])
    worst = Table.grid(padding=(0, 2))
    for flow, lost, line in look.worst:
        worst.add_row(escape(flow), plural(lost, "probe"), f"|{line}|")
    title = f"[bold]{escape(look.title)}[/]"
    if not look.worst:
        return Group(title, facts)
    return Group(title, facts, "[dim]flows that lose most, over the time of the run[/]", worst)


def print_run(judged: JudgedRun) -> None:
    """Print the outcome of a run on standard error."""
    header = judged.history.header
    mesh = [judged.measures[flow.id] for flow in judged.history.flows if flow.role is FlowRole.MESH]
    lost, hit = sum(flow.lost for flow in mesh), sum(flow.is_hit for flow in mesh)
    took_s = judged.history.events[-1].t_ns / SECOND
    print_progress(
        f"{header.arm:<8} trial {header.trial}: {judged.verdict:<12} lost {lost} of "
        f"{plural(sum(flow.offered for flow in mesh), 'probe')}, {hit} of {plural(len(mesh), 'flow')} hit, {took_s:.1f} s"
    )
