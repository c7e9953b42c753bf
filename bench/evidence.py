"""`python -m bench.evidence`: results by cluster, from stored summaries: rows in docs/evidence.json, table in docs/evidence.md.

A row is one arm of a scenario on one kind of cluster with one set of real parts. A newer run of the same replaces it, so that
the document has the latest results; it contains only stored summaries.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.tables import fill_in
from commands.options import Outcome
from hitless.errors import HitlessError, UsageError
from hitless.facts import GARDENER_PARTS
from hitless.words import JsonObject

DOCUMENT: Final = Path("docs/evidence.md")
ROWS: Final = Path("docs/evidence.json")
COLUMNS: Final = (
    "scenario",
    "arm",
    "where",
    "real parts of the cluster",
    "Gardener's parts",
    "nodes",
    "verdicts",
    "probes lost",
    "date",
)
_SCHEMA: Final = "hitless.summary/"
_DATE: Final = re.compile(r"(20\d\d)(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ")
"""In the names of folders of runs."""
_SHOWN: Final = ("calico", "kubernetes", "kernel")
"""Parts of a cluster whose versions are shown; the tunnel stands in its own column."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Seen:
    """One arm of a scenario, as a summary has it."""

    scenario: str
    arm: str
    cluster: str
    """lab, kind, or a kubeconfig's."""
    carrier: str
    """What carried the overlay."""
    real: str
    """Real parts of the cluster with their versions; empty: none."""
    gardener: str
    """Gardener's parts: the programs with their versions, then the doubles."""
    nodes: int
    verdicts: str
    """How many trials came to what."""
    lost: str
    """Probes of the mesh lost, of those offered, over all trials."""
    date: str
    """Of the folder: day and time, UTC."""

    @property
    def key(self) -> tuple[str, ...]:
        """What a newer row of replaces this one."""
        return (self.scenario, self.arm, self.cluster, self.carrier, self.real, self.gardener)


def find_summaries(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return every summary.json below the folders, in order of their paths. Raises UsageError: there is none."""
    found = {path.resolve() for folder in folders for path in folder.rglob("summary.json")}
    if not found:
        raise UsageError("the folders hold no summary.json; pytest suites --keep and hitless compare write them")
    return tuple(sorted(found))


def read_rows(path: Path) -> tuple[Seen, ...]:
    """Return a row for each arm of a stored summary. Raises UsageError: it is none, or its folder has no date."""
    dates = _DATE.findall(str(path))
    if not dates:
        raise UsageError(
            where=str(path), found="no time in the path", expected="a folder of runs, such as 20261128T223655Z-suites"
        )
    try:
        summary: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        if not str(summary["schema"]).startswith(_SCHEMA):
            raise UsageError(where=str(path), place="schema", found=str(summary["schema"]), expected=f"{_SCHEMA}...")
        year, month, day, hour, minute = dates[-1]
        return tuple(_make_row(summary, arm, f"{year}-{month}-{day} {hour}:{minute}") for arm in summary["arms"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(where=str(path), found=f"no summary of hitless: {error!r}", expected="a summary.json") from error


def _make_row(summary: JsonObject, arm: str, date: str) -> Seen:
    shown = [part for part in summary["parts"] if part["version"] and not part["is_double"] and part["name"] in _SHOWN]
    verdicts = Counter(str(trial["verdict"]) for trial in summary["arms"][arm]["per_trial"])
    totals = summary["arms"][arm]["totals"]
    return Seen(
        scenario=summary["scenario"],
        arm=arm,
        cluster=summary["cluster"],
        carrier=summary["carrier"],
        # A kernel's name behind the first dash is its builder's.
        real=", ".join(sorted(f"{one['name']} {_shorten(one)}" for one in shown)),
        gardener=_describe_gardener([part for part in summary["parts"] if part["name"] in GARDENER_PARTS]),
        nodes=summary["topology"]["nodes"],
        verdicts=", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())),
        lost=f"{totals['lost']:,} of {totals['offered']:,}",
        date=date,
    )


def _describe_gardener(parts: Sequence[JsonObject]) -> str:
    programs = ", ".join(sorted(f"{part['name']} {part['version']}" for part in parts if not part["is_double"]))
    doubles = ", ".join(sorted(part["name"] for part in parts if part["is_double"]))
    if not programs:
        return "doubles"
    return f"{programs}; double: {doubles}" if doubles else programs


def _shorten(part: JsonObject) -> str:
    return str(part["version"]).partition("-")[0] if part["name"] == "kernel" else str(part["version"])


def merge(rows: Iterable[Seen], newer: Iterable[Seen]) -> tuple[Seen, ...]:
    """Return all rows in order, the newer in place of those that say the same of an earlier time."""
    kept: dict[tuple[str, ...], Seen] = {}
    for row in (*rows, *newer):
        if row.key not in kept or row.date >= kept[row.key].date:
            kept[row.key] = row
    return tuple(sorted(kept.values()))


def to_table(rows: Sequence[Seen]) -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows:
        cells = (row.scenario, row.arm, f"{row.cluster}, {row.carrier}", row.real or "none", row.gardener, str(row.nodes))
        lines.append(f"| {' | '.join((*cells, row.verdicts, row.lost, row.date))} |")
    return "\n".join(lines) + "\n"


def load_rows(text: str) -> tuple[Seen, ...]:
    """Return the rows of evidence.json."""
    documents: list[Mapping[str, object]] = json.loads(text)
    return tuple(Seen(**document) for document in documents)  # type: ignore[arg-type]  # written below


def dump_rows(rows: Iterable[Seen]) -> str:
    """Return evidence.json: one row per line."""
    return "[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]\n"


def main(folders: Sequence[str]) -> None:
    """Add the summaries below the folders, and write both files; without a folder only the table is written again."""
    rows = load_rows(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else ()
    paths = find_summaries(map(Path, folders)) if folders else ()
    rows = merge(rows, [row for path in paths for row in read_rows(path)])
    text = fill_in(DOCUMENT.read_text(encoding="utf-8"), {"evidence": to_table(rows)}, str(DOCUMENT))
    ROWS.write_text(dump_rows(rows), encoding="utf-8")
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (HitlessError, Outcome) as error:
        sys.exit(f"evidence: {error}")
