"""The one sentence that a reader takes away. Pure."""

from __future__ import annotations

from hitless.plural import plural
from hitless.words import Verdict
from reports.summary import Summary


def verdict_sentence(summary: Summary) -> str:
    """Return why the verdict is what it is."""
    own = [finding.text for finding in summary.findings if finding.check == "comparison"]
    if own:
        more = f" (and {plural(len(own) - 1, 'more finding')})" if len(own) > 1 else ""
        return f"{own[0]}{more}."
    trials = [trial for arm in summary.arms.values() for trial in arm.per_trial]
    parts = [f"{sum(trial.verdict is verdict for trial in trials)} {verdict}" for verdict in Verdict]
    return f"of {plural(len(trials), 'trial')}: {', '.join(parts)}."
