"""The page of figures over releases in a browser: no network, no complaint, nothing wider than a small screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from reports.trend import render_trend_page
from tests.browser.chromium import started
from tests.unit.test_history import rows, trend_of


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_small_screen_and_axe_finds_nothing_serious(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "trend.html"
    path.write_text(render_trend_page([trend_of(rows(0.0, 1.0, 60.0))]), encoding="utf-8")
    with started() as browser:
        context = browser.new_context(
            offline=True,
            viewport={"width": 375, "height": 760},
            color_scheme=scheme,  # type: ignore[arg-type]  # a Literal
        )
        page, complaints = context.new_page(), list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        page.get_by_text("Numbers of gate-hold-after-routes").click()
        assert page.locator(".trend .mean").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
        assert complaints == []
