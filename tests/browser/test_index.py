"""The index of a session of the suites in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from reports.session import ArmEntry, SessionIndex, State, render_index
from tests.browser.chromium import started


def _entry(name: str, state: State, page: str | None) -> ArmEntry:
    return ArmEntry(
        name=name,
        scenario="plain-switch",
        state=state,
        expected="PASS",
        verdicts="PASS",
        figures="",
        reason="",
        page=page,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_leads_to_its_pages_and_axe_finds_nothing_serious(tmp_path: Path, scheme: str) -> None:
    arms = (
        _entry("plain-switch-gated", State.UNEXPECTED, "plain-switch-gated/report.html"),
        _entry("lossy-links-gated", State.SKIPPED, None),
    )
    session = SessionIndex(title="hitless suites", arms=arms, comparisons=("plain-switch",))
    (tmp_path / "index.html").write_text(render_index(session), encoding="utf-8")
    (tmp_path / "plain-switch.html").write_text("<title>both arms</title>")
    with started() as browser:
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]  # a Literal
        page.goto((tmp_path / "index.html").as_uri())
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
        page.get_by_role("link", name="plain-switch: UNGATED against GATED").click()
        assert page.title() == "both arms"
