"""The actors' page in a real Chromium: talk, be cut, resume with nothing lost; refused tokens, provider in trouble."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reports.proxy import Proxy
from support.provider import ANSWER, Provider
from support.running import Running, wait_for
from support.servers import answers, free_port

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.e2e, pytest.mark.service("chromium"), pytest.mark.timeout(240)]

EXAMPLES = Path(__file__).parents[2] / "examples"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
KEY = "sk-actors-e2e-0001"
ROTATED = "sk-actors-e2e-0002"

OPENED = """async (offered) => new Promise((done) => {
    const made = new WebSocket(`ws://${location.host}/ws`, offered);
    let opened = false;
    made.onopen = () => { opened = true; };
    made.onmessage = (event) => { made.send(JSON.stringify({type: "ready", last: 0})); made.close(1000); };
    made.onclose = (event) => done([opened, event.code]);
})"""


class Cuttable:
    """A proxy between browser and server, in a thread of its own: a network that goes and comes back."""

    def __init__(self, port):
        self.proxy = Proxy("network", ("127.0.0.1", port))
        self.port = self.proxy.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.switch("ok")

    def switch(self, mode):
        asyncio.run_coroutine_threadsafe(self.proxy.switch(mode), self._loop).result(20)

    def close(self):
        self.switch("dead")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


class World:
    """The actors under roadworthy, behind a network that can be cut, with a provider that can fail."""

    def __init__(self, home):
        self.home = home
        self.data = home / "data"
        self.data.mkdir()
        self.port = free_port()

    def key(self, value):
        with open(os.open(self.data / ".env", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - with its mode from the start
            file.write(f"ANTHROPIC_API_KEY={value}\n" if value else "")

    def said(self):
        with closing(sqlite3.connect(self.data / "player_memory.db")) as connection:
            return connection.execute("SELECT said, answered, complete FROM scene_attempts ORDER BY id").fetchall()


@contextmanager
def serving(world, **env):
    program = [sys.executable, "-m", "uvicorn", "actors.app:app", "--port", str(world.port), "--no-access-log"]
    known = {"ACTORS_DATA": str(world.data), "PYTHONPATH": str(EXAMPLES), "ACTORS_PACE": "0.1"}
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "REDIS_URL", "SECRETS_BACKEND"):
        known[name] = ""
    with Running(
        world.home, program, name="actors", options=["--port", str(world.port)], env={**known, **env}
    ) as running:
        wait_for(lambda: answers(world.port), "the actors listen", 60)
        yield running


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("actors"))
    with Provider(KEY, ROTATED) as made.provider, serving(made, **made.provider.env()) as made.running:
        made.network = Cuttable(made.port)
        yield made
        made.network.close()


@pytest.fixture(scope="module")
def chromium(service):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(service("chromium")), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, world):
    problems = []
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"http://127.0.0.1:{world.network.port}/")
    playwright.expect(page.locator(".who")).to_have_count(3)
    yield page
    context.close()
    assert problems == []


def say(page, text):
    page.fill("#text", text)
    page.keyboard.press("Enter")


def answered(page, number, timeout=60_000):
    """Return the text of the answer of that number, when it is whole, and what stands below it."""
    line = page.locator(".line:not(.me):not([hidden])").nth(number)  # 0 is the greeting
    playwright.expect(line.locator(".about")).to_be_visible(timeout=timeout)
    return line.locator("p").inner_text(), line.locator(".about").inner_text()


def test_a_character_answers_in_pieces_says_who_wrote_it_and_remembers(page, world):
    say(page, "Why is the lamp dark?")
    playwright.expect(page.locator(".going")).to_have_count(1)
    text, about = answered(page, 1)
    assert "local generator: no API key" in about
    say(page, "And who put the lamp out?")
    again, _ = answered(page, 2)
    assert "“Why is the lamp dark?”" in again
    page.locator(".who").nth(1).click()
    playwright.expect(page.locator(".line:not([hidden])")).to_have_count(1)
    page.reload()
    playwright.expect(page.locator(".line.me")).to_have_count(2)
    playwright.expect(page.locator(".line p", has_text=text[:40])).to_have_count(1)
    playwright.expect(page.locator(".trust i.on")).to_have_count(5)


def test_a_network_that_is_cut_in_the_midst_of_an_answer_loses_nothing(page, world):
    say(page, "Tell me about the storm and the ferry")
    playwright.expect(page.locator(".going p")).to_have_text(re.compile(r"\w+ \w+"))
    world.network.switch("dead")
    playwright.expect(page.locator("#state")).to_have_attribute("data-state", "waiting", timeout=20_000)
    wait_for(lambda: world.said()[-1][0] == "Tell me about the storm and the ferry", "it is answered meanwhile")
    playwright.expect(page.locator(".going")).to_have_count(1)
    world.network.switch("ok")
    text, _ = answered(page, 1)
    assert text == world.said()[-1][1].strip()
    playwright.expect(page.locator("#state")).to_contain_text("resumed")


def test_what_is_said_while_it_is_cut_is_said_when_it_is_back(page, world):
    world.network.switch("dead")
    playwright.expect(page.locator("#state")).to_have_attribute("data-state", "waiting", timeout=20_000)
    playwright.expect(page.locator("#note")).to_contain_text("kept")
    say(page, "Can you hear me?")
    playwright.expect(page.locator(".unsent")).to_have_count(1)
    world.network.switch("ok")
    answered(page, 1)
    playwright.expect(page.locator(".unsent")).to_have_count(0)
    assert [said for said, _, _ in world.said()].count("Can you hear me?") == 1


def test_an_answer_can_be_stopped(page, world):
    say(page, "What about the lights out there, and the lamp?")
    playwright.expect(page.locator(".going p")).to_have_text(re.compile(r"\w+"))
    page.locator("#send").click()
    _, about = answered(page, 1)
    assert "stopped" in about
    assert world.said()[-1][2] == 0


def test_wrong_missing_and_replayed_tokens_are_refused_before_the_connection_opens(page):
    made = page.evaluate("async () => (await fetch('/api/session', {method: 'POST'})).json()")
    assert set(made) == {"session_id", "token", "expires_in"}
    assert made["expires_in"] == 7200
    good = ["roadworthy.session", f"token.{made['token']}"]
    assert page.evaluate(OPENED, good) == [True, 1000]
    for refused in (good, ["roadworthy.session", "token.wrong"], ["roadworthy.session"], []):
        assert page.evaluate(OPENED, refused) == [False, 1006]


def test_an_expired_token_is_refused_and_the_page_begins_a_new_session_by_itself(chromium, tmp_path):
    other = World(tmp_path)
    with serving(other, ACTORS_SESSION_LIFETIME="2s"):
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{other.port}/")
        playwright.expect(page.locator("#state")).to_have_attribute("data-state", "open")
        made = page.evaluate("async () => (await fetch('/api/session', {method: 'POST'})).json()")
        page.wait_for_timeout(2500)
        assert page.evaluate(OPENED, ["roadworthy.session", f"token.{made['token']}"]) == [False, 1006]
        playwright.expect(page.locator("#state")).to_have_attribute("data-state", "open")
        page.goto("about:blank")
        time.sleep(2.5)
        page.goto(f"http://127.0.0.1:{other.port}/")
        playwright.expect(page.locator(".told")).to_contain_text("a new one has begun", timeout=30_000)
        say(page, "Hello again?")
        answered(page, 1)
        context.close()


def test_a_key_that_is_put_there_and_rotated_is_used_without_a_restart_and_trouble_is_said(page, world):
    pid = world.running.worker_pid()
    world.key(KEY)
    time.sleep(1.1)
    say(page, "Who are you?")
    assert answered(page, 1)[0] == ANSWER.strip()
    playwright.expect(page.locator(".about").last).to_contain_text("claude-haiku-4-5")
    say(page, "Who are you?")
    assert "from the cache" in answered(page, 2)[1]
    world.provider.keys.discard(KEY)
    say(page, "Where are you?")
    assert "the API key is refused" in answered(page, 3)[1]
    world.key(ROTATED)
    time.sleep(1.1)
    world.provider.busy, world.provider.retry_after = 1, "1"
    say(page, "When are you?")
    assert answered(page, 4)[0] == ANSWER.strip()
    world.provider.down()
    say(page, "Why are you?")
    assert "local generator: the provider is" in answered(page, 5)[1]
    world.provider.up()
    world.key("")
    assert world.running.worker_pid() == pid
    log = world.running.text()
    assert KEY not in log
    assert ROTATED not in log
    assert re.search(r"dialogue_generated .*model=\"?claude-haiku-4-5\"? .*response_time_ms=[\d.]+", log)
    assert re.search(r"llm_response_time_ms=[\d.]+", log)
    assert "RateLimitError" not in log  # asked again after the pause, it answered
    assert "provider_failed" in log


def test_after_a_kill_the_page_begins_a_new_session_by_itself_and_the_characters_remember(page, world):
    say(page, "Will you remember this question?")
    text, _ = answered(page, 1)
    pid = world.running.worker_pid()
    os.kill(pid, signal.SIGKILL)
    playwright.expect(page.locator(".told")).to_contain_text("a new one has begun", timeout=60_000)
    playwright.expect(page.locator("#state")).to_have_attribute("data-state", "open", timeout=30_000)
    assert world.running.worker_pid() != pid
    playwright.expect(page.locator(".line.me p")).to_have_text("Will you remember this question?")
    assert answered(page, 1)[0] == text
    say(page, "And now?")
    answered(page, 2)


def test_the_agent_sees_operations_sessions_and_the_hit_rate_of_the_cache(world):
    found = world.running.until(
        lambda s: any(one["name"] == "dialogue" for one in s["operations"]), "the dialogue is measured"
    )
    assert found["verdict"]
    rates = world.running.get("/api/performance/overview")
    assert any(name.startswith("cache.hit_rate") for name in json.dumps(rates).split('"'))


def test_text_is_never_markup_nothing_is_loaded_from_elsewhere_and_a_phone_needs_no_sideways_scrolling(chromium, world):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    asked, alerts = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(f"http://127.0.0.1:{world.network.port}/")
    playwright.expect(page.locator(".who")).to_have_count(3)
    say(page, "<img src=x onerror=alert(1)><b>bold</b>")
    answered(page, 1)
    assert page.locator("#lines img, #lines p b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert alerts == []
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{world.network.port}"}
    context.close()


def test_one_command_starts_it_under_the_agent_and_ends_it(tmp_path):
    port = free_port()
    argv = [
        sys.executable,
        str(EXAMPLES / "actors" / "start.py"),
        "--data",
        str(tmp_path / "data"),
        "--port",
        str(port),
    ]
    env = {**os.environ, "ROADWORTHY_HOME": str(tmp_path / "rw")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        try:
            line = started.stdout.readline()
            assert line == f"actors: http://127.0.0.1:{port}/\n"
            wait_for(lambda: answers(port), "it listens", 60)

            def healthy():
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    return json.load(answer) == {"status": "ok", "database": "0 players"}

            wait_for(healthy, "it is healthy")
        finally:
            started.terminate()
            started.communicate(timeout=60)
    assert started.returncode in {0, 143}
