"""The page in a browser: charts that are drawn, a table of wins and losses that is worked by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import chromium, colourful
from made import made, run, texts

from codekin.evaluate.page import html_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHARTS = {"pareto": 5, "sizes": 3, "precision": 4, "differences": 4}
"""The charts by the least number of marks that they have."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    found = {name: texts(60) for name in ("CoSQA", "MBPP", "mine")}
    hostile = "</script><script>document.title = 'taken'</script> \udcff <img src=x onerror=alert(1)>"
    found["CoSQA"].queries["q3"] = found["CoSQA"].documents["d0"] = hostile  # type: ignore[index]
    path.write_text(html_page(run(), found), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(5000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert said == [] and asked and all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_charts_are_drawn(opened: Page, scheme: str, width: int) -> None:
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 900})
    opened.wait_for_function("width => document.querySelector('#sizes svg').clientWidth <= width", arg=width)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name, least in CHARTS.items():
        marks = opened.locator(f"#{name} svg :is(circle, rect, path.line)")
        boxes = [mark.bounding_box() for mark in marks.all()]
        frame = opened.locator(f"#{name} svg").bounding_box()
        assert frame is not None and len(boxes) >= least
        for box in boxes:
            assert box is not None and box["width"] > 1 and box["height"] > 1
            assert frame["x"] - 1 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
        assert colourful(opened, opened.locator(f"#{name}").screenshot()) > 120, name


def test_figures_stand_in_the_table(opened: Page) -> None:
    rows = [row.inner_text().split() for row in opened.locator("#table tbody tr").all()]
    assert [row[0] for row in rows] == ["CoSQA", "MBPP", "mine", "average"]
    assert rows[0][-6:] == ["39.25", "35.10", "29.99", "37.75", "34.11", "51.94"]
    assert "average of 2 of 25 sets" in opened.locator("#table").inner_text()
    before = opened.locator("#table td.own .gap").first.inner_text()
    opened.locator("#reference").select_option(label="gemini-embedding-001")
    assert opened.locator("#table td.own .gap").first.inner_text() != before
    tints = opened.eval_on_selector_all(
        "#table td.own", "cells => cells.map(cell => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(tints)) > 2


def test_wins_and_losses_by_keyboard(opened: Page) -> None:
    opened.locator("#benchmark").select_option(label="CoSQA")
    rows = opened.locator("#wins tbody tr:not(.detail)")
    opened.locator("#outcome input[value=all]").focus()
    opened.keyboard.press("ArrowRight")
    gaps = [row.locator("td").last.inner_text() for row in rows.all()]
    assert gaps and all(gap.startswith("+") for gap in gaps)
    opened.keyboard.press("ArrowRight")
    assert all(row.locator("td").last.inner_text().startswith("−") for row in rows.all())
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("Tab")
    opened.keyboard.type("list number 17")
    assert rows.count() == 1 and "1 query shown" in opened.locator("#count").inner_text()
    rows.first.locator("button").focus()
    opened.keyboard.press("Enter")
    detail = opened.locator("#wins tr.detail")
    assert "how to sort list number 17" in detail.inner_text() and "codekin-static" in detail.inner_text()
    opened.keyboard.press("Enter")
    assert detail.count() == 0


def test_wins_and_losses_are_sorted(opened: Page) -> None:
    def gaps() -> list[float]:
        cells = opened.locator("#wins tbody tr td:last-child").all_inner_texts()
        return [float(cell.replace("−", "-")) for cell in cells]

    assert len(gaps()) > 10 and gaps() == sorted(gaps(), reverse=True)
    opened.locator("#wins thead button[data-key=gap]").press("Enter")
    assert gaps() == sorted(gaps())
    assert opened.locator("#wins th[aria-sort=ascending]").inner_text() == "Difference"
    more = opened.locator("#more")
    shown = len(gaps())
    more.press("Enter")
    assert len(gaps()) > shown


def test_hostile_texts_stay_text(opened: Page) -> None:
    opened.locator("#filter").fill("</script>")
    opened.locator("#wins tbody button").first.press("Enter")
    assert "onerror=alert(1)" in opened.locator("#wins tr.detail").inner_text()
    assert opened.locator("img").count() == 0 and opened.title() == "How well 2 models find code"


def test_one_model_in_one_form_has_what_it_can_have(opened: Page, tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    path.write_text(html_page([made("org/one", "mine", [1.0, 0.5])], {}), encoding="utf-8")
    opened.goto(path.as_uri())
    assert opened.locator("#table tbody td").all_inner_texts() == ["75.00\n±2.0"]
    for absent in ("#by-query", "#compare", "#sizes", "#precision"):
        assert not opened.locator(absent).is_visible(), absent
    assert "known of none" in opened.locator("#pareto").inner_text()
