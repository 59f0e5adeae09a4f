"""What the pages for users promise, tried with the real command: examples arrive, systemd is told, 0 is healthy."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.refused import environment, processes, roadworthy
from support.running import ROADWORTHY, Running, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
GO_ON = """
import time
while True:
    heartbeat.beat(); rw.progress("rows imported"); loop.turn()
    with loop.frame(): time.sleep(0.05)
"""


def page_program(page: str) -> str:
    """Return the python blocks of a page as one program."""
    spec = importlib.util.spec_from_file_location("examples", ROOT / "tests/docs/test_examples.py")
    assert spec is not None
    assert spec.loader is not None
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    return str(examples.program(ROOT / "docs" / page))


def test_every_signal_of_the_instrumentation_page_is_really_received(tmp_path):
    script = tmp_path / "shop.py"
    script.write_text(page_program("instrumentation.md") + GO_ON)
    wanted = {
        ("operations", "checkout"), ("operations", "checkout.reserve"), ("operations", "catalogue.fetch"),
        ("timers", "prices.sum"), ("timers", "catalogue.pages"), ("timers", "shop.render"), ("metrics", "shop.sold"),
        ("metrics", "shop.queue"), ("metrics", "shop.order.size"), ("errors", "checkout"), ("loop", "main"),
        ("heartbeats", "consumer"), ("progress", "rows imported"), ("checks", "stock"), ("checks", "mail"),
        ("collectors", "Pool"), ("usage", "export"),
    }  # fmt: skip
    with Running(tmp_path / "home", [sys.executable, str(script)], name="shop") as running:
        running.agent()
        seen = running.until(
            lambda s: wanted <= {(one["kind"], one["name"]) for one in s["signals"] if one["count"]}, "all came"
        )
        assert {one["name"]: one["status"] for one in seen["checks"]}["stock"] == "ok"
        values = {(one["name"], *one["labels"].values()): one["value"] for one in seen["series"]}
        assert values["shop.sold", "book"] == 3
        assert values["shop.queue",] == 3
        assert [step["label"] for step in seen["startups"][0]["steps"]] == [
            "config read",
            "database connected",
            "ready",
        ]
        assert seen["verdict"]["status"] == "ok"
        assert "roadworthy: " not in running.text().replace("roadworthy: shop · dashboard", "")


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind("notify")
        told.settimeout(20)
        env = {**environment(tmp_path / "home"), "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        process = subprocess.Popen(
            [*ROADWORTHY, "run", "--name", "shop", "--", "sh", "-c", 'echo "[$NOTIFY_SOCKET]"; exec sleep 60'],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        heard: list[str] = []

        def hear(wanted: str) -> None:
            while wanted not in heard:
                heard.extend(told.recv(4096).decode().splitlines())

        hear("READY=1")
        hear("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")
        out, _ = process.communicate(timeout=30)
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert any(re.fullmatch("STATUS=1 ready", line) for line in heard)
    assert out == b"[]\n", "the program must not answer for us"
    assert process.returncode == 143


def test_a_health_check_in_the_background_is_green_when_the_program_is_and_says_so(tmp_path):
    home, pid_file = tmp_path / "home", tmp_path / "shop.pid"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}/"
    done = roadworthy(
        home, "run", "--name", "shop", "--port", port, "--workers", "4", "--health-url", url, "--daemon",
        "--pid-file", str(pid_file), "--health-check", "--", sys.executable, "-m", "http.server", port,
    )  # fmt: skip
    try:
        assert done.returncode == 0, done.stderr
        assert b"shop is healthy" in done.stdout
        os.kill(int(pid_file.read_text().split()[0]), 0)
        status = roadworthy(home, "status")
        assert status.returncode == 0
        assert b"dashboard: http://127.0.0.1:" in status.stdout
    finally:
        assert roadworthy(home, "stop", "shop").returncode == 0
    wait_for(lambda: not processes(home), "all processes have ended")
    assert not pid_file.exists()


def test_a_health_check_that_stays_red_ends_with_seven_and_says_why(tmp_path):
    done = roadworthy(
        tmp_path / "home", "run", "--health-check", "--health-url", "http://127.0.0.1:1/", "--ready-timeout", "2s",
        "--", "sleep", "60",
    )  # fmt: skip
    assert done.returncode == 7
    assert b"not ready within 2 s" in done.stderr
    assert processes(tmp_path / "home") == []
