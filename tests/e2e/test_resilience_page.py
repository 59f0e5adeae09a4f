"""Policies, services and features on the page: a person sees why, and undoes what is held."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.running import Running, wait_for

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.e2e, pytest.mark.service("chromium"), pytest.mark.timeout(240)]

HOST = Path(__file__).parents[1] / "live/hosts/guarded_calls.py"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps",
]  # fmt: skip


class Guarded(Running):
    folder: Path

    def seen(self):
        return json.loads((self.folder / "seen.json").read_text())

    def address(self, *, token: bool = True) -> str:
        url = self.agent()["url"]
        return f"{url}#token={(self.run_dir / 'token').read_text().strip()}" if token else url

    def until_seen(self, condition, what):
        return wait_for(lambda: condition(self.seen()), what, 30)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    folder, home = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("home")
    with Guarded(home, [sys.executable, str(HOST), str(folder)], name="guarded") as running:
        running.folder = folder
        running.agent()
        running.until(lambda s: s["policies"] and s["services"] and s["features"], "the agent knows the program")
        yield running


@pytest.fixture(scope="module")
def chromium(service) -> Iterator[object]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(service("chromium")), args=FLAGS)
        yield browser
        browser.close()


def is_trouble(message) -> bool:
    """Return whether the browser complains of something else than of what the agent has refused, which is tested."""
    return message.type == "error" and "429" not in message.text


@pytest.fixture
def page(chromium, guarded):
    problems: list[str] = []
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if is_trouble(message) else None)
    page.goto(guarded.address())
    bring(page, "#policies")
    yield page
    page.close()
    assert problems == []


def bring(page, selector):
    """Bring a section into view: only what is on the screen is drawn."""
    playwright.expect(page.locator(selector)).to_be_visible(timeout=20_000)
    page.locator(selector).scroll_into_view_if_needed()


def row(page, section, name):
    bring(page, section)
    return page.locator(f'{section} tbody tr[data-key="{name}"]')


def answer(page, word, reason=""):
    """Fill in what the page asks before it acts."""
    dialog = page.locator("dialog[open]")
    if reason:
        dialog.locator("input").fill(reason)
    dialog.get_by_role("button", name=re.compile(f"^{word}$", re.IGNORECASE)).click()
    playwright.expect(page.locator("dialog[open]")).to_have_count(0, timeout=40_000)


def test_a_policy_is_shown_with_its_breaker_and_rate(page):
    policy = row(page, "#policies", "db")
    playwright.expect(policy.locator(".pill")).to_have_text("closed")
    playwright.expect(policy.locator("td").nth(2)).to_have_text(re.compile(r"[0-9.]+\s/s"), timeout=20_000)


def test_a_breaker_is_forced_open_with_a_reason_and_reset_from_the_page(page, guarded):
    policy = row(page, "#policies", "db")
    policy.get_by_role("button", name="force open").click()
    answer(page, "force open", "maintenance")
    playwright.expect(page.locator(".toast")).to_contain_text("Force db: held, forced open")
    playwright.expect(policy.locator(".pill")).to_have_text("forced open", timeout=30_000)
    playwright.expect(policy).to_contain_text("maintenance")
    guarded.until_seen(lambda seen: seen["last"] == "BreakerOpen", "the program's calls are rejected")
    playwright.expect(page.locator("#verdict .word")).to_have_text("degraded", timeout=30_000)
    policy.get_by_role("button", name="reset").click()
    answer(page, "reset")
    playwright.expect(policy.locator(".pill")).to_have_text("closed", timeout=30_000)
    guarded.until_seen(lambda seen: seen["last"] == "ok", "calls pass again")
    actors = {json.loads(line)["actor"] for line in (guarded.state_dir / "audit.jsonl").read_text().splitlines()}
    assert actors == {"dashboard, 127.0.0.1"}


def test_an_open_breaker_counts_down_to_its_next_try_and_the_service_is_shown_as_down(page, guarded):
    (guarded.folder / "broken").touch()
    (guarded.folder / "down").touch()
    try:
        policy = row(page, "#policies", "db")
        playwright.expect(policy).to_contain_text(re.compile("tries again (in|now)"), timeout=20_000)
        playwright.expect(row(page, "#services", "database").locator(".pill").first).to_have_text(
            "down", timeout=10_000
        )
    finally:
        for name in ("down", "broken"):
            (guarded.folder / name).unlink()
    playwright.expect(policy.locator(".pill")).to_have_text("closed", timeout=40_000)


def test_a_feature_is_switched_off_and_its_reason_and_undo_are_there(page, guarded):
    feature = row(page, "#features", "reports")
    feature.get_by_role("button", name="switch off").click()
    answer(page, "switch off", "high_load")
    playwright.expect(feature.locator(".pill")).to_have_text("off", timeout=30_000)
    playwright.expect(feature).to_contain_text("high_load · by people")
    guarded.until_seen(lambda seen: seen["reports"] is False, "it is off in the program")
    feature.get_by_role("button", name="switch on").click()
    answer(page, "switch on")
    playwright.expect(feature.locator(".pill")).to_have_text("on", timeout=30_000)
    guarded.until_seen(lambda seen: seen["reports"] is True, "it is on again")


def test_a_service_is_recovered_from_the_page_and_the_event_list_says_so(page, guarded):
    before = guarded.seen()["recoveries"]
    row(page, "#services", "database").get_by_role("button", name="recover").click()
    answer(page, "recover")
    playwright.expect(page.locator(".toast")).to_contain_text("Recover database: recovered")
    guarded.until_seen(lambda seen: seen["recoveries"] > before, "the procedure ran")
    bring(page, "#log")
    playwright.expect(page.locator("#log")).to_contain_text("recover of database by dashboard", timeout=30_000)


def test_what_the_agent_refuses_is_said(page):
    for _ in range(2):
        row(page, "#services", "reports").get_by_role("button", name="restart").click()
        answer(page, "restart")
    playwright.expect(page.locator(".toast")).to_contain_text("Refused: restart of reports was done a moment ago")


def test_without_the_token_there_is_nothing_to_press(chromium, guarded):
    page = chromium.new_page()
    page.goto(guarded.address(token=False))
    playwright.expect(row(page, "#policies", "db").locator(".pill")).to_be_visible(timeout=20_000)
    assert page.locator("td.act button").count() == 0
    page.close()


def test_a_phone_shows_state_reason_and_buttons_without_sideways_scrolling(chromium, guarded):
    page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(guarded.address())
    policy = row(page, "#policies", "db")
    playwright.expect(policy.get_by_role("button")).to_be_visible(timeout=20_000)
    box = policy.get_by_role("button").first.bounding_box()
    assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_a_program_without_policies_has_none_of_it_on_its_page(chromium, tmp_path):
    with Running(tmp_path, [sys.executable, "-c", "import time\nwhile True: time.sleep(0.1)"], name="plain") as running:
        page = chromium.new_page()
        page.goto(running.agent()["url"])
        playwright.expect(page.locator("#live")).to_have_text("live", timeout=20_000)
        playwright.expect(page.locator("#workers tbody tr")).to_have_count(1, timeout=20_000)
        for name in ("policies", "services", "features"):
            assert page.locator(f"#{name}").is_hidden()
        page.close()
