"""The page in a browser: asked, filtered, worked by keyboard, its map drawn, and read by axe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest
from browsing import chromium, colourful
from running import serving
from scoring import scorer
from shop import write_tree

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, LocatorAssertions, Page

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
HOSTILE = """# <img src=x onerror="document.title = 'taken'"> </script><script>document.title = 'taken'</script>
def hostile_markup():
    return "<b onclick=alert(1)>"
"""
QUESTION = "split numbers around a pivot"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A repository in two languages with tests and hostile texts, and one in twenty languages."""
    folder = tmp_path_factory.mktemp("served")
    shop = write_tree(folder / "shop")
    (shop / "tests").mkdir()
    (shop / "tests/test_sorting.py").write_text(
        "def test_quick_sort():\n    assert quick_sort([2, 1]) == [1, 2]\n"
    )
    (shop / "odd <b> 'names'.py").write_text(HOSTILE)
    for number in range(40):
        body = "".join(f"    total_{number} += {turn} * rate\n" for turn in range(12))
        (shop / f"algo/rule{number}.py").write_text(
            f"def rule_{number}(rate, total_{number}):\n{body}    return rate\n"
        )
    shutil.copytree(SAMPLE, folder / "sample")
    return [shop, folder / "sample"]


@pytest.fixture(scope="module")
def url(roots: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("cache"), "--repo", roots[0], "--repo", roots[1]) as server:
        yield server.url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page of the server, which is to write nothing to the console and to ask nobody else."""
    page = browser.new_page(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", permissions=["clipboard-write"]
    )
    page.set_default_timeout(10_000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.locator("#legend button").first.wait_for()
    yield page
    page.close()
    assert said == [] and asked and all(each.startswith(url) for each in asked)


def expect(locator: Locator) -> LocatorAssertions:
    """What the page is to show before long: it may do so a moment after a key, a click or an answer."""
    from playwright.sync_api import expect as expected

    return expected(locator)


def answered(page: Page) -> None:
    """Waits until nothing is asked any more: the address has the question before the answer is there."""
    page.locator("#answers:not([aria-busy])").wait_for()


def ask(page: Page, words: str) -> None:
    """Asks a question, and waits for its results."""
    with page.expect_response(
        lambda response: "/page/search" in response.url and words in str(response.request.post_data_json)
    ):
        page.locator("#query").fill(words)
    answered(page)


def paths(page: Page) -> list[str]:
    return [
        re.sub(r":\d+–\d+$", "", text).split(" ", 1)[-1] for text in page.locator(".open").all_inner_texts()
    ]


def filtered(page: Page, change: Callable[[], object]) -> list[str]:
    with page.expect_response("**/page/search"):
        change()
    answered(page)
    return paths(page)


def test_results_come_as_one_types(page: Page, url: str) -> None:
    assert re.fullmatch(
        r"\d+ pieces of code in \d+ files of 2 repositories\.", page.locator("#served").inner_text()
    )
    page.keyboard.type("split numbers around", delay=15)
    page.locator(".result").first.wait_for()
    page.keyboard.type(" a pivot", delay=15)
    page.locator(".open", has_text="sorting.py").first.wait_for()
    page.wait_for_url("**/?q=split+numbers+around+a+pivot")
    answered(page)
    assert "algo/sorting.py" in paths(page)[0] and "result" in page.locator("#verdict").inner_text()
    assert page.locator(".result mark").count() > 2 and page.title().startswith(QUESTION)
    page.reload()
    page.locator(".result").first.wait_for()
    answered(page)
    assert "algo/sorting.py" in paths(page)[0] and page.locator("#query").input_value() == QUESTION


def test_code_is_coloured_and_its_lines_are_links(page: Page, roots: list[Path]) -> None:
    ask(page, QUESTION)
    first = page.locator(".result").first
    text = (roots[0] / "algo/sorting.py").read_text().split("\n")
    for line in first.locator(".line").all():
        number = int(line.locator(".n").inner_text())
        assert line.locator("code").evaluate("node => node.textContent").rstrip("\n") == text[number - 1]
    keyword = first.locator(".k-keyword").first
    plain = first.locator("code").first
    colour = "node => getComputedStyle(node).color"
    assert keyword.inner_text() == "def" and keyword.evaluate(colour) != plain.evaluate(colour)
    number = first.locator(".n").nth(3)
    wanted = number.inner_text()
    assert f"line={wanted}" in (number.get_attribute("href") or "")
    number.click()
    here = page.locator("#source .here .n")
    here.wait_for()
    assert here.inner_text() == wanted and page.locator("#source-code .line").count() == len(text)
    page.wait_for_url(f"**line={wanted}")


def test_filters(page: Page) -> None:
    ask(page, "sort numbers, or write a value over the oldest")
    assert {"algo/sorting.py", "src/ring.go"} <= set(paths(page))
    found = filtered(page, lambda: page.locator("#language").select_option("go"))
    assert found == ["src/ring.go"]
    found = filtered(page, lambda: page.locator("#language").select_option("python"))
    assert found and all(path.endswith(".py") for path in found)
    found = filtered(page, lambda: page.locator("#path").fill("rule1"))
    assert found and all("algo/rule1" in path for path in found)
    found = filtered(page, lambda: page.locator("#path").fill("algo/ !rule"))
    assert [path for path in found if "rule" in path] == [] and "algo/sorting.py" in found[0]
    filtered(page, lambda: page.locator("#path").fill(""))
    ask(page, "drain a queue")
    found = filtered(page, lambda: page.locator("#repository").select_option("sample"))
    names = page.locator(".repository").all_inner_texts()
    assert found and all(name.startswith("sample") for name in names)
    assert page.locator("#map-repository").input_value() == "sample"
    expect(page.locator("#plane")).to_have_attribute("aria-label", re.compile("^Map of sample"))
    modes = page.locator("#mode input[value=hybrid]")
    modes.focus()
    filtered(page, lambda: page.keyboard.press("ArrowRight"))
    assert "mode=semantic" in page.url and "in=sample" in page.url


def test_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator("#query")).not_to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("how are requests retried")
    page.locator(".open", has_text="retry.py").first.wait_for()
    page.wait_for_url("**/?q=how+are+requests+retried")
    answered(page)
    page.keyboard.press("ArrowDown")
    first = page.locator(".result").first
    expect(first.locator(".open")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".result").nth(1).locator(".open")).to_be_focused()
    page.keyboard.press("k")
    expect(first.locator(".open")).to_be_focused()
    before = first.locator(".line").count()
    page.keyboard.press("x")
    expect(first.locator(".line")).not_to_have_count(before)
    assert first.locator(".line").count() > before
    page.keyboard.press("x")
    expect(first.locator(".line")).to_have_count(before)
    page.keyboard.press("Enter")
    here = page.locator("#source .here .n")
    here.wait_for()
    line = int(here.inner_text())
    page.keyboard.press("j")
    expect(here).to_have_text(str(line + 1))
    page.keyboard.press("k")
    expect(here).to_have_text(str(line))
    page.keyboard.press("r")
    expect(page.locator("#source-aside li button").first).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#source .here").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "file=" not in url)
    expect(page.locator("#source")).to_be_hidden()
    page.keyboard.press("m")
    expect(page.locator("#map")).to_be_hidden()
    page.keyboard.press("m")
    expect(page.locator("#map")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_be_focused()


def test_related_code_and_the_way_back(page: Page) -> None:
    ask(page, QUESTION)
    with page.expect_response("**/page/related"):
        page.locator(".result .related").first.click()
    page.locator("#verdict a").wait_for()
    assert "algo/sorting.py" in page.locator("#verdict").inner_text()
    assert "algo/sorting.py" not in paths(page)[0] and paths(page)
    page.go_back()
    page.locator(".open", has_text="algo/sorting.py").first.wait_for()
    expect(page.locator("#verdict a")).to_have_count(0)


def test_two_modes_beside_each_other(page: Page) -> None:
    ask(page, "requests that fail are tried again")
    with page.expect_response("**/page/search"):
        page.locator("#beside").select_option("lexical|")
    page.locator(".column + .column .result").first.wait_for()
    assert page.locator(".column h2").all_inner_texts()[1].startswith("Words")
    left, right = (page.locator(".column").nth(side) for side in (0, 1))
    boxes = [side.bounding_box() for side in (left, right)]
    assert boxes[0] and boxes[1] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    told = left.locator(".result").first.locator(".facts").inner_text()
    place = right.locator(".open").all_inner_texts().index(left.locator(".open").first.inner_text()) + 1
    assert ("same rank" if place == 1 else f"there {place}") in told
    left.locator(".open").first.focus()
    page.keyboard.press("ArrowRight")
    expect(right.locator(".open").first).to_be_focused()
    shown = left.locator(".result").count() + right.locator(".result").count()
    on_map = [name for name in page.locator(".repository").all_inner_texts() if name.startswith("shop")]
    expect(page.locator("#plane")).to_have_attribute("data-lit", str(len(on_map)))
    assert shown >= len(on_map) > 0


def test_with_and_without_a_second_stage(
    browser: Browser, roots: list[Path], tmp_path: Path, url: str
) -> None:
    with (
        scorer(release := Event()) as (model, asked),
        serving(tmp_path / "cache", "--repo", roots[0], "--rerank", model, "--budget", "20s") as server,
    ):
        release.set()
        page = browser.new_page()
        page.goto(f"{server.url}/?q=what+rate+does+a+rule+multiply")
        page.locator(".result").first.wait_for()
        first = page.locator(".open").all_inner_texts()
        assert not asked
        page.locator("#rerank").check()
        expect(page.locator("#verdict .note")).to_contain_text("has scored the best")
        both = page.locator(".open").all_inner_texts()
        assert asked and "rerank=1" in page.url and both != first
        page.locator("#beside").select_option("hybrid|")
        page.locator(".column + .column .result").first.wait_for()
        left, right = (page.locator(".column").nth(side) for side in (0, 1))
        assert left.locator("h2").inner_text().startswith("Meaning and words, reranked")
        assert left.locator(".open").all_inner_texts() == both
        assert right.locator(".open").all_inner_texts() == first
        page.close()
    page = browser.new_page()
    page.goto(url)
    page.locator("#legend button").first.wait_for()
    expect(page.locator("#rerank")).to_be_hidden()
    page.close()


def test_a_second_stage_that_fails_is_said(browser: Browser, roots: list[Path], tmp_path: Path) -> None:
    with (
        scorer(Event()) as (model, _),
        serving(tmp_path / "cache", "--repo", roots[0], "--rerank", model, "--budget", "200ms") as server,
    ):
        page = browser.new_page()
        page.goto(f"{server.url}/?q=pivot&rerank=1")
        expect(page.locator("#verdict .note")).to_have_text(re.compile("^Not reranked: .*no "))
        assert "sorting.py" in page.locator(".open").first.inner_text()
        page.close()


def test_two_models_beside_each_other(
    browser: Browser, roots: list[Path], tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    other = str(turned_model())
    with serving(tmp_path / "cache", "--repo", roots[0], "--beside", other) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/?q=pivot&mode=semantic&beside=semantic|{other}")
        page.locator(".column + .column .result").first.wait_for()
        left, right = (page.locator(".column").nth(side) for side in (0, 1))
        assert right.locator("h2").inner_text().startswith(f"Meaning, {other}")
        assert "sorting.py" in left.locator(".open").first.inner_text()
        # The other model's vectors are turned, and its queries with them: the same answers, of another index.
        assert right.locator(".open").all_inner_texts() == left.locator(".open").all_inner_texts()
        page.close()


def test_the_map_is_drawn_and_lights_up_results(page: Page) -> None:
    plane = page.locator("#plane")
    expect(plane).to_have_attribute("data-lit", "0")
    assert colourful(page, plane.screenshot()) > 100
    assert any("algo/" in name for name in page.locator("#legend button").all_inner_texts())
    ask(page, "what rate does a rule multiply")
    own = [name for name in page.locator(".repository").all_inner_texts() if name.startswith("shop")]
    expect(plane).to_have_attribute("data-lit", str(len(own)))
    assert len(own) > 3
    page.locator(".result").nth(2).hover()
    page.locator("#colour").select_option("language")
    expect(page.locator("#legend button").first).to_contain_text(re.compile("^python"))
    page.locator("#legend button").first.click()
    expect(page.locator("#legend button").first).to_have_attribute("aria-pressed", "true")


def test_the_map_is_zoomed_hovered_and_opened(page: Page) -> None:
    plane = page.locator("#plane")
    box = plane.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    expect(plane).to_have_attribute("data-zoom", re.compile(r"^(1\.99|2\.0[01])$"))
    page.locator("#zoom-reset").click()
    expect(plane).to_have_attribute("data-zoom", "1.00")
    plane.focus()
    page.keyboard.press("+")
    expect(plane).to_have_attribute("data-zoom", "1.40")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    expect(plane).to_have_attribute("data-zoom", "1.00")
    tip = page.locator("#tip")
    for step in range(400):
        page.mouse.move(box["x"] + box["width"] * (0.3 + step / 1000), box["y"] + box["height"] * 0.5)
        if tip.is_visible():
            break
    tip.locator(".line").first.wait_for()
    path = re.sub(
        r":\d+–\d+$",
        "",
        tip.locator("p").evaluate("node => node.childNodes[0].textContent + node.childNodes[1].textContent"),
    )
    frame = tip.bounding_box()
    assert frame and frame["x"] >= box["x"] - 1 and frame["x"] + frame["width"] <= box["x"] + box["width"] + 1
    page.mouse.down()
    page.mouse.up()
    page.locator("#source .here").wait_for()
    assert page.locator("#source-title").inner_text() == path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_no_wider_than_the_screen(page: Page, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check() -> None:
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    check()
    ask(page, QUESTION)
    assert page.locator("#map").is_visible() is (width > 960)
    check()
    page.locator("#beside").select_option("lexical|")
    page.locator(".column + .column .result").first.wait_for()
    check()
    page.locator(".open").first.click()
    page.locator("#source .here").wait_for()
    page.locator("#source-related").click()
    page.locator("#source-aside li").first.wait_for()
    check()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.wait_for_url("**/")
    page.locator("#legend button").first.wait_for()
    page.locator("#query").blur()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    check()


def test_hostile_texts_stay_text(page: Page) -> None:
    ask(page, "hostile_markup")
    assert "<b onclick=alert(1)>" in page.locator(".result").first.inner_text()
    page.locator(".open").first.click()
    page.locator("#source .here").wait_for()
    assert "odd <b> 'names'.py" in page.locator("#source-title").inner_text()
    assert "<img src=x" in page.locator("#source-code").inner_text()
    assert page.locator("img").count() == 0 and "taken" not in page.title()


def test_nothing_answers(page: Page) -> None:
    ask(page, "zebra crossing paint supplier invoices of the moon")
    assert (
        page.locator(".result").count() == 0
        and "Nothing here answers" in page.locator("#verdict").inner_text()
    )
    page.locator("#verdict button").click()
    page.locator(".result").first.wait_for()
    assert "nearest" in page.locator("#verdict").inner_text()


def test_more_results(page: Page) -> None:
    ask(page, "rule rate total")
    expect(page.locator(".result")).to_have_count(10)
    page.locator(".further button").click()
    expect(page.locator(".result")).to_have_count(20)


def test_a_server_that_is_gone(browser: Browser, roots: list[Path], tmp_path: Path) -> None:
    page = browser.new_page()
    with serving(tmp_path / "cache", "--repo", roots[1]) as server:
        page.goto(server.url)
        page.locator("#legend button").first.wait_for()
    page.locator("#query").fill("anything")
    page.locator("#verdict .wrong").wait_for()
    assert "does not answer" in page.locator("#verdict").inner_text()
    page.close()


def test_a_server_with_a_key(browser: Browser, roots: list[Path], tmp_path: Path) -> None:
    with serving(tmp_path / "cache", "--repo", roots[1], env={"CODEKIN_API_KEY": "sesame"}) as server:
        assert server.get("/").status == 401
        page = browser.new_page(http_credentials={"username": "me", "password": "sesame"})
        page.goto(f"{server.url}/?q=write+a+value+over+the+oldest")
        page.locator(".open", has_text="ring.go").first.wait_for()
        page.locator("#legend button").first.wait_for()
        page.close()


def test_nothing_is_served(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "cache") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.locator("#served", has_text="--repo PATH").wait_for()
        page.close()
