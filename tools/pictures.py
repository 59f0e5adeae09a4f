"""Takes the pictures in docs/ of a real run: the demo film for some minutes, with a kill -9 in it.

Needs Debian's Chromium. Usage: .venv/bin/python tools/pictures.py [SECONDS]
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.running import Running  # noqa: E402 - the path to it comes first

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def open_page(browser: Browser, url: str, width: int, height: int, scheme: str) -> Page:
    """Return a page at ``url`` whose stream is live."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    page.locator("#live.on").wait_for()
    page.wait_for_timeout(2500)
    return page


def main() -> None:
    """Run the film, harm it, and take the pictures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 150.0
    home = Path(tempfile.mkdtemp(prefix="roadworthy-pictures-"))
    docs = ROOT / "docs"
    out = home / "film"
    command = [sys.executable, str(ROOT / "examples/movie/main.py"), "--out", str(out)]
    try:
        with Running(home / "rw", command, name="movie") as running, sync_playwright() as driver:
            url = running.agent()["url"]
            time.sleep(seconds * 0.6)
            (out / "misbehave").write_text("errors\n")
            time.sleep(6)
            (out / "misbehave").write_text("none\n")
            time.sleep(2)
            os.kill(running.worker_pid(), signal.SIGKILL)
            time.sleep(seconds * 0.4)
            chromium = shutil.which("chromium") or "chromium"
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            for name, width, height, scheme, whole in (
                ("dashboard-light", 1440, 900, "light", True),
                ("dashboard-dark", 1440, 900, "dark", False),
                ("dashboard-phone", 390, 844, "dark", False),
            ):
                page = open_page(browser, url, width, height, scheme)
                page.screenshot(path=docs / f"{name}.png", full_page=whole)
                page.close()
            page = open_page(browser, url, 1440, 900, "light")
            page.locator("#incidents tbody tr").first.click()
            page.wait_for_timeout(800)
            page.screenshot(path=docs / "incident.png")
            browser.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
