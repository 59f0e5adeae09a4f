"""The dashboard in a real Chromium: bytes, first paint in a cold browser, script time, and the heap after a while.

The program is the demo film. Script time is what the browser itself reports (CDP ``Performance.getMetrics``); the heap
is measured after a forced collection, so that growth is what really stays.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import application, arranged, python, running, wait_until
from benchmarks.statistics import estimate
from roadworthy._clock import sleep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType, CDPSession

KB = 1024.0
MB = 1024.0 * KB
MS = 1000.0
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def page(plan: Plan) -> list[Line]:
    """Open the page in browsers that have never seen it, then leave one open for a while."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise NotMeasured("there is no Chromium on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NotMeasured("playwright is not installed") from error
    name = application("page")
    with (
        running(arranged([python(), "examples/movie/main.py"], name=name), name=name) as run,
        sync_playwright() as driver,
    ):
        wait_until("the agent is up", lambda: bool(run.said_by_agent().get("url")), run)
        url = str(run.said_by_agent()["url"])
        sleep(plan.pick(30, 5))
        paints, weights = [], []
        for number in range(plan.pick(10, 3)):
            plan.say(f"page: cold start {number + 1}")
            paint, weight = _cold(driver.chromium, chromium, url)
            paints.append(paint)
            weights.append(weight)
        seconds = plan.pick(120, 10)
        plan.say(f"page: left open for {seconds} s")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        script, heap, later = _left_open(browser, url, seconds)
        browser.close()
    grown = (later - heap) / MB
    return [
        Line("page: first contentful paint, cold browser", estimate([paints]), "ms", 200),
        Line(
            "page: bytes of the document", estimate([[weight / KB for weight in weights]]), "KiB", 120, "uncompressed"
        ),
        Line("page: script time", estimate([[script]]), "ms/s", 5, "of the page's main thread, live at 1 Hz"),
        Line("page: heap", estimate([[heap / MB]]), "MiB", None),
        Line(f"page: growth of the heap in {seconds} s", estimate([[grown]]), "MiB", 1),
    ]


def _cold(kind: BrowserType, chromium: str, url: str) -> tuple[float, int]:
    """Return milliseconds to the first contentful paint in a new browser, and the document's bytes."""
    browser = kind.launch(executable_path=chromium, args=FLAGS)
    try:
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        answer = opened.goto(url)
        opened.locator("#live.on").wait_for()
        paint = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
        if paint is None or answer is None:
            raise NotMeasured("the browser told no first paint")
        return float(paint), len(answer.body())
    finally:
        browser.close()


def _left_open(browser: Browser, url: str, seconds: int) -> tuple[float, float, float]:
    """Return script milliseconds a second, and the heap's bytes at the beginning and the end."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.goto(url)
    opened.locator("#live.on").wait_for()
    opened.wait_for_timeout(5000)
    session = opened.context.new_cdp_session(opened)
    session.send("Performance.enable")
    before = _metrics(session)
    opened.wait_for_timeout(seconds * 1000)
    after = _metrics(session)
    script = (after["ScriptDuration"] - before["ScriptDuration"]) / (after["Timestamp"] - before["Timestamp"]) * MS
    return script, before["JSHeapUsedSize"], after["JSHeapUsedSize"]


def _metrics(session: CDPSession) -> dict[str, float]:
    session.send("HeapProfiler.collectGarbage")
    return {one["name"]: float(one["value"]) for one in session.send("Performance.getMetrics")["metrics"]}


ROWS = (Row("page", "The dashboard in a browser", page),)
