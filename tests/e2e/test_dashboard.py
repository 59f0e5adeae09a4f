"""The page in a real Chromium, fed by a real agent that watches a real program."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.running import Running, wait_for

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.e2e, pytest.mark.service("chromium"), pytest.mark.timeout(240)]

MOVIE = Path(__file__).parents[2] / "examples/movie/main.py"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps",
]  # fmt: skip


@pytest.fixture(scope="module")
def movie(tmp_path_factory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("movie")
    with Running(home, [sys.executable, str(MOVIE), "--out", str(home / "frames")], name="movie") as running:
        running.agent()
        running.until(
            lambda s: s["workers"] and s["workers"][0]["state"] == "ready" and s["operations"], "the movie is ready"
        )
        yield running


@pytest.fixture(scope="module")
def chromium(service) -> Iterator[object]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(service("chromium")), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, movie):
    problems: list[str] = []
    page = chromium.new_page(viewport={"width": 1440, "height": 2400})  # the page draws only what is on the screen
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(movie.agent()["url"])
    yield page
    page.close()
    assert problems == []


def test_the_page_says_how_the_program_is_and_shows_all_eight_charts(page):
    playwright.expect(page.locator("#verdict .word")).to_have_text(re.compile("ok|degraded"))
    playwright.expect(page.locator(".chart canvas")).to_have_count(8)
    playwright.expect(page.locator("#chart-loop h2")).to_have_text("Frames per second")
    playwright.expect(page.locator("#chart-loop .now")).to_have_text(re.compile(r"[0-9.]+fps"), timeout=30_000)


def test_the_figures_move_by_themselves(page):
    playwright.expect(page.locator("#live")).to_have_text("live", timeout=30_000)
    cell = page.locator("#operations tbody tr").first.locator("td").nth(2)
    before = cell.inner_text()
    playwright.expect(cell).not_to_have_text(before, timeout=30_000)


def test_what_could_be_measured_better_stands_below_the_operations(chromium, tmp_path):
    program = tmp_path / "trivial.py"
    program.write_text(
        "import time, roadworthy as rw\n"
        "while True:\n"
        "    for _ in range(50):\n"
        "        with rw.operation('add one'):\n"
        "            pass\n"
        "    time.sleep(0.1)\n"
    )
    with Running(tmp_path, [sys.executable, str(program)], name="trivial") as running:
        url = running.agent()["url"]
        running.until(lambda s: any((one["rate"] or 0) > 1 for one in s["operations"]), "it works")
        page = chromium.new_page(viewport={"width": 1440, "height": 1600})
        page.goto(url)
        hints = page.locator("#operations .hints")
        playwright.expect(hints).to_contain_text("add one half of its runs take less than 1 ms", timeout=20_000)
        page.close()


def test_nothing_is_loaded_from_elsewhere(chromium, movie):
    asked: list[str] = []
    page = chromium.new_page()
    page.on("request", lambda request: asked.append(request.url))
    url = movie.agent()["url"]
    page.goto(url)
    playwright.expect(page.locator("#live")).to_have_text("live", timeout=30_000)
    page.close()
    assert {one.split("/api/")[0].rstrip("/") for one in asked if not one.startswith("data:")} == {url.rstrip("/")}


def test_a_kill_is_read_on_the_page_with_its_last_words_and_the_recovery(page, movie):
    before = page.locator("#incidents tbody tr").count()
    os.kill(movie.worker_pid(), signal.SIGKILL)
    playwright.expect(page.locator("#incidents tbody tr")).to_have_count(before + 1, timeout=20_000)
    row = page.locator("#incidents tbody tr").first
    playwright.expect(row.locator("td").nth(1)).to_contain_text("SIGKILL")
    playwright.expect(row.locator("td").nth(3)).to_have_text(re.compile(r"[0-9.]+\s(ms|s)"), timeout=20_000)
    row.click()
    playwright.expect(page.locator("dialog")).to_contain_text("SIGKILL")
    playwright.expect(page.locator("dialog")).to_contain_text("Its last words")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#workers tbody tr").first.locator("td").nth(1)).to_have_text(
        "ready", timeout=20_000
    )


def test_the_log_can_be_paused_and_searched(page):
    playwright.expect(page.locator("#log > div").first).to_be_visible(timeout=20_000)
    page.locator("#pause").click()
    playwright.expect(page.locator("#pause")).to_have_text(re.compile("Resume"))
    page.locator("#log-find").fill("no line has this text")
    playwright.expect(page.locator("#log > div")).to_have_count(0)
    page.locator("#log-find").fill("")
    playwright.expect(page.locator("#log > div").first).to_be_visible()
    page.locator("#pause").click()
    playwright.expect(page.locator("#pause")).to_have_text("Pause")


def test_the_stream_is_closed_while_the_page_is_hidden_and_comes_back(page):
    playwright.expect(page.locator("#live")).to_have_text("live", timeout=30_000)
    hide = """(on) => {
        Object.defineProperty(document, 'hidden', {value: on === 1, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, 1)
    playwright.expect(page.locator("#live")).to_contain_text("no news", timeout=30_000)
    page.evaluate(hide, 0)
    playwright.expect(page.locator("#live")).to_have_text("live", timeout=30_000)


def test_a_phone_needs_no_sideways_scrolling(chromium, movie):
    page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(movie.agent()["url"])
    playwright.expect(page.locator("#live")).to_have_text("live", timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_the_page_is_small_and_quick_to_paint(chromium, movie):
    page = chromium.new_page()
    answer = page.goto(movie.agent()["url"])
    assert len(answer.body()) < 160 * 1024
    paint = wait_for(
        lambda: page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"), "first paint"
    )
    page.close()
    assert paint > 0  # that it paints at all; the budget (200 ms) is measured by benchmarks


def test_text_of_the_program_is_never_markup(chromium, tmp_path):
    script = """
import logging, time
logging.basicConfig()
while True:
    logging.warning('<img src=x onerror=alert(1)><script>alert(2)</script>')
    time.sleep(0.2)
"""
    with Running(tmp_path, [sys.executable, "-c", script], name="hostile") as running:
        page = chromium.new_page()
        alerts: list[str] = []
        page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
        page.goto(running.agent()["url"])
        playwright.expect(page.locator("#log")).to_contain_text("<img src=x", timeout=20_000)
        assert page.locator("#log img").count() == 0
        page.close()
        assert alerts == []


def test_the_inlined_snapshot_is_the_documented_one(page):
    inlined = json.loads(page.locator("#initial").text_content())
    assert inlined["schema"] == 1
    assert inlined["app"] == "movie"
