"""The pages as a browser shows them: in light, in dark, and on a phone."""

import shutil

import pytest

import storyloom
from storyloom.reporting import stories

from .runs import rewrite

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

# What sticks out on either side, but for what lies in a strip that scrolls by itself.
STICKING_OUT = """
() => [...document.querySelectorAll("svg, article, table, pre, p, .tile")]
    .filter(element => !element.closest(".strip, .scroll"))
    .filter(element => {
        const box = element.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth + 0.5;
    })
    .map(element => element.outerHTML.slice(0, 99))
"""
COLOURS = "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
UNSEEN = """
() => [...document.querySelectorAll(".unseen")].every(element => element.getBoundingClientRect().width <= 1)
"""
INK = '() => getComputedStyle(document.querySelector(".chart text")).fill'


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(finished, tmp_path_factory):
    """A report and a comparison, with stories as awkward as can be."""
    folder = tmp_path_factory.mktemp("pages")
    run = shutil.copytree(finished, folder / ("a-run-with-a-name-that-is-too-long-for-a-phone-" * 2))
    rewrite(run, "samples.jsonl", story="<script>document.body.remove()</script>" + "w" * 499)
    twin = shutil.copytree(run, folder / "twin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stories, "MAX_NEW_TOKENS", 41)
        return [
            storyloom.write_report(run, out=folder / "report.html"),
            storyloom.compare_runs([run, twin], folder / "compare.html"),
        ]


@pytest.mark.parametrize("which", [0, 1], ids=["report", "compare"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_nothing_is_cut_off_and_nothing_complains(browser, pages, which, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[which].as_uri())
    assert (said, asked) == ([], [pages[which].as_uri()])
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate(UNSEEN)
    assert page.locator("svg").count() == [5, 2][which]
    background, ink = brightness(page)
    assert (background > ink) == (scheme == "light")
    assert (sum(map(int, page.evaluate(INK)[4:-1].split(","))) < 384) == (scheme == "light")
    page.close()


@pytest.mark.parametrize("which", [0, 1], ids=["report", "compare"])
def test_paper_is_light_also_on_a_dark_screen(browser, pages, which):
    page = browser.new_page(color_scheme="dark")
    page.goto(pages[which].as_uri())
    page.emulate_media(media="print")
    background, ink = brightness(page)
    assert ink < 384 < background, "middle grey"
    page.close()


def brightness(page):
    """Of paper and ink: the sum of red, green and blue."""
    return [sum(map(int, color[4:-1].split(","))) for color in page.evaluate(COLOURS)]
