"""The page of a comparison in a browser: what it shows, without network, in every light, on paper and for the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from analysis.comparison import Comparison
from reports.page import render_page
from reports.summary import summarise
from reports.table import comparison_rows, headline_rows, verdict_sentence
from tests.browser.chromium import started
from tests.unit.comparisons import comparison

SCREEN: Final = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def found() -> Comparison:
    return comparison()


@pytest.fixture(scope="session")
def file(found: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(found, summarise(found)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    page = browser.new_page(viewport=SCREEN)  # type: ignore[arg-type]  # a TypedDict
    page.goto(file.as_uri())
    yield page
    page.close()


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def _rows(page: Page, selector: str) -> list[tuple[str, ...]]:
    return [tuple(row.locator("th,td").all_inner_texts()) for row in page.locator(f"{selector} tbody tr").all()]


def _view(page: Page) -> tuple[float, float]:
    script = "['--from', '--span'].map((name) => Number(document.body.style.getPropertyValue(name)))"
    first, span = page.evaluate(script)
    return first, span


def test_it_opens_without_network_and_without_a_complaint(browser: Browser, file: Path) -> None:
    context = browser.new_context(offline=True)
    page, complaints, asked = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    _open_all(page)
    assert (complaints, [url for url in asked if not url.startswith("data:")]) == ([], [file.as_uri()])
    context.close()


def test_what_the_summary_says_is_what_it_shows(page: Page, found: Comparison) -> None:
    summary = summarise(found)
    assert page.locator(".verdict").inner_text() == summary.verdict
    assert page.locator(".sentence").inner_text() == verdict_sentence(summary)
    assert _rows(page, "#headline") == list(headline_rows(summary))
    _open_all(page)
    assert _rows(page, "#figures .arms") == list(comparison_rows(summary))
    causes = [one.cause for arm in summary.arms.values() for one in arm.causes]
    assert [row[1] for row in _rows(page, "#causes .scroll:nth-of-type(1)")] == causes
    # UNGATED trial 2 is shown: 8 flows with one outage each; GATED has none.
    assert [panel.locator(".bar").count() for panel in page.locator("#timeline .panel").all()] == [8, 0]


def test_the_first_screen_answers_without_scrolling(page: Page) -> None:
    for selector in (
        ".verdict",
        ".sentence",
        "#headline tbody tr:last-child",
        ".identity",
        "#timeline .panel:last-child .axis",
    ):
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SCREEN["height"], selector


def test_all_lanes_zoom_and_pan_together(page: Page) -> None:
    _open_all(page)
    bar = page.locator("#timeline .bar").first
    segment = page.locator("#lanes .segment").nth(1)
    before = [one.bounding_box() for one in (bar, segment)]
    whole = _view(page)
    page.get_by_role("button", name="Zoom in").click()
    assert _view(page)[1] == pytest.approx(whole[1] / 2)
    after = [one.bounding_box() for one in (bar, segment)]
    assert all(a and b and b["width"] == pytest.approx(2 * a["width"], abs=2) for a, b in zip(before, after, strict=True))
    page.get_by_role("button", name="Pan to later").click()
    assert _view(page)[0] > whole[0]
    page.get_by_role("button", name="Reset").click()
    assert _view(page) == pytest.approx(whole)


def test_dragging_pans_and_the_wheel_zooms_about_the_pointer(page: Page) -> None:
    page.get_by_role("button", name="Zoom in").click()
    first, span = _view(page)
    track = page.locator("#timeline .track").first.bounding_box()
    assert track is not None
    page.mouse.move(track["x"] + 400, track["y"] + 5)
    page.mouse.down()
    page.mouse.move(track["x"] + 300, track["y"] + 5)
    page.mouse.up()
    assert _view(page)[0] == pytest.approx(first + span * 100 / track["width"], rel=0.02)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"Number(document.body.style.getPropertyValue('--span')) < {span * 0.9}")


def test_hovering_a_flow_names_its_cause(page: Page) -> None:
    page.locator("#timeline .line", has=page.locator(".bar")).first.locator(".name").hover()
    assert "cause: pool-before-routes" in page.locator("#tip").inner_text()
    page.locator("#timeline .bar").first.hover()
    assert "cause: pool-before-routes" in page.locator("#tip").inner_text()


def test_outages_are_one_stop_of_the_tab_key_and_arrows_walk_between_them(page: Page) -> None:
    bars = page.locator("#timeline .bar")
    page.get_by_role("button", name="Reset").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == bars.nth(0).get_attribute("aria-label")
    assert page.locator("#tip").is_visible()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.ariaLabel") == bars.nth(1).get_attribute("aria-label")
    span = _view(page)[1]
    page.keyboard.press("+")
    assert _view(page)[1] == pytest.approx(span / 2)
    page.keyboard.press("0")
    assert _view(page)[1] == pytest.approx(span)


def test_events_are_searched(page: Page) -> None:
    _open_all(page)
    page.get_by_label("Search").fill("GATED route.created node-b2")
    names = [(row[1][:5], row[2]) for row in _rows(page, "#events")]
    assert set(names) == {("UNGAT", "route.created"), ("GATED", "route.created")}
    page.get_by_label("Search").fill("no such event")
    assert _rows(page, "#events") == []
    assert page.locator("#found").inner_text().startswith("0 of ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, file: Path, scheme: str) -> None:
    page = browser.new_page(viewport=SCREEN, color_scheme=scheme)  # type: ignore[arg-type]  # a Literal
    page.goto(file.as_uri())
    _open_all(page)
    result = Axe().run(page)
    bad = [
        (one["id"], one["nodes"][0]["html"])
        for one in result.response["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    assert bad == []
    page.close()


def test_it_is_dark_where_the_reader_is(browser: Browser, file: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(file.as_uri())
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert colours == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_a_small_screen_scrolls_in_one_direction_only(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 760})
    page.goto(file.as_uri())
    _open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.close()


def test_on_paper_everything_is_unfolded_and_the_whole_time_is_shown(page: Page, tmp_path: Path) -> None:
    whole = _view(page)
    page.get_by_role("button", name="Zoom in").click()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").evaluate_all("(all) => all.map((one) => one.id)") == ["events"]
    assert _view(page) == pytest.approx(whole)
    printed = page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert printed.startswith(b"%PDF-")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#worst[open]").count() == 0
