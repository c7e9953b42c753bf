"""The summary of a comparison as Prometheus text, for the textfile collector of the node exporter or a push gateway. Pure.

Source: Prometheus, "Exposition formats", text format 0.0.4; "Metric and label naming": base units, here seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from hitless.words import Verdict
from reports.summary import ArmSummary, Summary
from reports.table import identity

MS_PER_S: Final = 1000.0

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


def render_prometheus(summary: Summary) -> str:
    """Return gauges of a summary; a number that does not apply or has no bound is left out."""
    lines: list[str] = []
    for name, help_text, samples in _gauges(summary):
        if samples:
            lines += [f"# HELP hitless_{name} {help_text}", f"# TYPE hitless_{name} gauge"]
            lines += [
                f"hitless_{name}{_say_labels({'scenario': summary.scenario, **labels})} {value!r}" for labels, value in samples
            ]
    return "\n".join((*lines, ""))


def _gauges(summary: Summary) -> Iterator[tuple[str, str, Sequence[Sample]]]:
    info = {name.replace(" ", "_"): value for name, value in identity(summary)}
    yield "info", "What was tested; always 1.", [(info, 1.0)]
    verdicts = [({"verdict": verdict}, float(verdict is summary.verdict)) for verdict in Verdict]
    yield "verdict", "1 for the verdict of the comparison, 0 for the others.", verdicts
    trials = [
        ({"arm": arm, "verdict": verdict}, float(sum(trial.verdict is verdict for trial in found.per_trial)))
        for arm, found in summary.arms.items()
        for verdict in Verdict
    ]
    yield "trials", "Trials by verdict.", trials
    downtimes = [
        ({"arm": arm, "bound": bound}, value / MS_PER_S)
        for arm, found in summary.arms.items()
        if found.totals.downtime_ms_max is not None
        for bound, value in asdict(found.totals.downtime_ms_max).items()
        if value is not None
    ]
    yield "downtime_max_seconds", "Downtime of the flow that was down longest, with its bounds.", downtimes
    yield "accuracy_seconds", "Time between two probes of a flow.", [({}, summary.accuracy_ms / MS_PER_S)]
    for name, help_text, read in _PER_ARM:
        per_unit = MS_PER_S if name.endswith("_seconds") else 1.0
        values = {arm: read(found) for arm, found in summary.arms.items()}
        yield name, help_text, [({"arm": arm}, value / per_unit) for arm, value in values.items() if value is not None]


_PER_ARM: Final[tuple[tuple[str, str, Callable[[ArmSummary], float | None]], ...]] = (
    ("probes_offered", "Probes of mesh flows over all trials.", lambda arm: arm.totals.offered),
    ("probes_lost", "Of them lost.", lambda arm: arm.totals.lost),
    ("flows", "Mesh flows, each counted once per trial.", lambda arm: arm.totals.flows),
    ("flows_hit", "Mesh flows that lost a probe.", lambda arm: arm.totals.flows_hit),
    ("blind_max_seconds", "No outage longer than this could have been missed.", lambda arm: arm.totals.blind_ms_max),
    ("gate_hold_max_seconds", "Time from the gate's first look until it opened.", lambda arm: arm.gate_hold_ms_max),
    ("convergence_max_seconds", "Full convergence time.", lambda arm: arm.totals.convergence_ms_max),
    ("probes_unexplained", "Lost probes that no kernel counter accounts for.", lambda arm: arm.lost_unexplained),
)
"""Gauge, help, and how it is read; None: it does not apply. What a summary has in ms is exported in seconds."""


def _say_labels(labels: Labels) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return "{" + ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels.items()) + "}"
