"""The index of a session of the suites: its arms, as a page and as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from hitless.plural import plural
from reports.templating import markdown_table, render


@unique
class State(StrEnum):
    """The result of an arm's test."""

    EXPECTED = "as expected"
    UNEXPECTED = "not as expected"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEntry:
    """One arm of one scenario, as one test of the session executed it."""

    name: str
    """Of the test, such as `plain-switch-gated`."""
    scenario: str
    state: State
    expected: str
    """Verdict that the scenario expects."""
    verdicts: str
    """Of each trial; empty if none was judged."""
    figures: str
    """What it lost, in a few words."""
    reason: str
    """Why it was skipped or failed; else empty."""
    page: str | None
    """Address of its page, relative to the index; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIndex:
    """A session."""

    title: str
    arms: tuple[ArmEntry, ...]
    """In the order of the tests."""
    comparisons: tuple[str, ...]
    """Scenarios with a page `SCENARIO.html` beside the index: both arms ran."""

    @property
    def sentence(self) -> str:
        """How many arms came to what."""
        counts = {state: sum(arm.state is state for arm in self.arms) for state in State}
        parts = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return f"{plural(len(self.arms), 'arm')}: {parts or 'none was run'}."


def render_index(session: SessionIndex) -> str:
    """Return the page."""
    return render("session.html.j2", session=session, unexpected=State.UNEXPECTED)


def render_step_summary(session: SessionIndex) -> str:
    """Return Markdown for the summary of a job: unexpected verdicts, then the others folded."""
    loud = [arm for arm in session.arms if arm.state is State.UNEXPECTED]
    quiet = [arm for arm in session.arms if arm.state is not State.UNEXPECTED]
    lines = [f"# hitless suites: {'not as expected' if loud else 'as expected'}", "", session.sentence, ""]
    if loud:
        lines += [*_table(loud), ""]
    if quiet:
        lines += ["<details><summary>As expected, or skipped</summary>", "", *_table(quiet), "", "</details>", ""]
    return "\n".join(lines)


def _table(arms: Sequence[ArmEntry]) -> list[str]:
    rows = [(arm.name, arm.state, arm.expected, arm.verdicts, arm.figures, arm.reason.partition("\n")[0]) for arm in arms]
    return markdown_table(("arm", "", "expected", "verdict", "lost", "why"), rows)
