"""What the agent writes down: who had what done, over which way, and who was refused."""

import asyncio
import json
import os
import signal

import pytest

from roadworthy.agent.auditor import PEER, REFUSED_EVERY, REFUSED_MOST, Auditor, actor_of, user_name
from roadworthy.agent.control import Control
from roadworthy.agent.gate import Gate, Rules
from roadworthy.cli.socket import ask
from roadworthy.errors import Unavailable
from roadworthy.log import trail


class Clock:
    now = 1000.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def auditor(tmp_path, clock):
    return Auditor(tmp_path, "shop", lambda _subject, act: act() is None, wall=lambda: clock.now)


def records(folder):
    return [json.loads(line) for line in (folder / trail.FILE).read_text().splitlines()]


def refused():
    raise Unavailable("there is no such worker")


@pytest.mark.parametrize(
    ("act", "message", "target"),
    [
        ("restart", {"slot": 2}, "worker-2"),
        ("reload", {}, "shop"),
        ("log-level", {"logger": "pkg"}, "pkg"),
        ("log-level", {}, "the root logger"),
    ],
)
def test_a_verb_is_written_down_with_who_asked_and_what_became_of_it(auditor, tmp_path, act, message, target):
    async def slow(_message):
        return {"what": "done", "old": "info", "new": "debug"}

    peer = {PEER: {"uid": os.getuid(), "pid": 7}}
    asyncio.run(auditor.verb(act, slow)({**message, **peer}))
    asyncio.run(auditor.verb(act, lambda _message: {"what": "done"})({**message, **peer}))
    with pytest.raises(Unavailable):
        asyncio.run(auditor.verb(act, lambda _message: refused())({**message, **peer}))
    first, second, third = records(tmp_path)
    assert (first["act"], first["target"], first["old"], first["new"]) == (act, target, "info", "debug")
    assert first["actor"] == f"command line, {user_name(os.getuid())} (uid {os.getuid()}), pid 7"
    assert second["result"] == {"ok": True, "outcome": "begun", "detail": "done"}
    assert third["result"] == {"ok": False, "outcome": "failed", "detail": "there is no such worker"}


def test_what_the_operations_api_asks_for_is_written_down(auditor, tmp_path):
    async def view(asked):
        return {"what": "restart has begun"} if "slot" in asked else refused()

    asyncio.run(auditor.view("restart", view)({"slot": 0, "actor": "dashboard, 127.0.0.1"}))
    with pytest.raises(Unavailable):
        asyncio.run(auditor.view("restart", view)({}))
    told = [(one["actor"], one["target"], one["result"]["ok"]) for one in records(tmp_path)]
    assert told == [("dashboard, 127.0.0.1", "worker-0", True), ("unknown", "shop", False)]


def test_a_signal_to_the_keeper_is_written_down(auditor, tmp_path):
    auditor.signalled("stop", int(signal.SIGTERM))
    auditor.signalled("reload", 250)
    auditor.signalled("exit", None)
    assert [(one["act"], one["actor"]) for one in records(tmp_path)] == [
        ("stop", "signal SIGTERM"),
        ("reload", "signal 250"),
    ]


def test_refusals_are_written_once_a_minute_and_bounded(auditor, tmp_path, clock):
    for _ in range(5):
        auditor.refused("no-token", "/api/restart", "api, 10.0.0.1")
    assert len(records(tmp_path)) == 1
    clock.now += REFUSED_EVERY
    auditor.refused("no-token", "/api/restart", "api, 10.0.0.1")
    assert records(tmp_path)[-1]["data"] == {"since_the_last": 4}
    for number in range(1000):
        auditor.refused("no-token", "/x", f"api, 10.0.1.{number}")
    assert len(records(tmp_path)) == 1 + REFUSED_MOST
    found = records(tmp_path)[-1]
    assert (found["act"], found["event_type"], found["severity"]) == ("refused", "no-token", "WARNING")


def test_who_is_not_known_is_called_so():
    assert actor_of(None) == "unknown"
    assert actor_of({"pid": 3}) == "unknown"
    assert user_name(4_000_000_000) == "4000000000"


def test_a_verb_of_the_socket_learns_who_asks_from_the_kernel(tmp_path):
    heard = []

    async def main():
        control = Control(tmp_path / "agent.sock", {"ping": lambda message: heard.append(message) or {}})
        await control.start()
        await asyncio.to_thread(ask, tmp_path / "agent.sock", {"do": "ping", PEER: {"uid": 0}})
        await control.close()

    asyncio.run(main())
    assert heard[0][PEER] == {"pid": os.getpid(), "uid": os.getuid()}


def test_another_user_at_the_socket_is_told_and_not_heard(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("roadworthy.agent.control._peer", lambda _writer: (7, os.getuid() + 1))

    async def main():
        control = Control(tmp_path / "agent.sock", {}, refused=lambda *what: told.append(what))
        await control.start()
        with pytest.raises(Unavailable):
            await asyncio.to_thread(ask, tmp_path / "agent.sock", {"do": "ping"})
        await control.close()

    asyncio.run(main())
    assert told == [("foreign-user", "agent.sock", f"uid {os.getuid() + 1}, pid 7")]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([(b"host", b"localhost"), (b"authorization", b"Bearer wrong")], ["no-token"]),
        ([(b"host", b"evil.example")], ["foreign-host"]),
        ([(b"host", b"localhost"), (b"content-length", b"x")], []),
    ],
)
def test_refusals_that_matter_for_security_are_told_and_bad_requests_are_not(headers, code):
    told, sent = [], []

    async def send(message):
        sent.append(message)

    async def main():
        gate = Gate(None, Rules("t"), lambda *what: told.append(what))
        scope = {"type": "http", "method": "POST", "path": "/api/restart", "headers": headers, "http_version": "1.1"}
        await gate({**scope, "client": ("127.0.0.1", 5)}, None, send)

    if not code:
        headers.append((b"authorization", b"Bearer t"))
    asyncio.run(main())
    assert [(one[0], one[2]) for one in told] == [(one, "api, 127.0.0.1") for one in code]
    assert sent[0]["status"] >= 400
