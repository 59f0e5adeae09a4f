"""Checks and collectors: what counts as good, what a figure is, and what the agent is answered."""

import asyncio

import pytest

import roadworthy as rw
from roadworthy.app import checks
from roadworthy.app import socket as agent_socket


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (None, True),
        (True, True),
        (False, False),
        ("3 connections", True),
        ((True, "fine"), True),
        ((False, "down"), False),
        ({"ok": True}, True),
        ({"healthy": False, "error": "x"}, False),
        ({"status": "healthy"}, True),
        ({"status": "degraded"}, False),
        ({"latency": 3}, True),
        (0, False),
        ([], False),
    ],
)
def test_an_answer_is_judged_by_what_it_says(answer, good):
    assert checks.judge(answer)[0] is good


def run(name):
    return agent_socket.handle({"id": 1, "do": "check", "name": name})


def test_a_registered_check_answers_good_and_bad(seen):
    state = {"up": True}

    @rw.check("t.database")
    def ping():
        if not state["up"]:
            raise ConnectionError("refused: password=hunter2")

    answer = run("t.database")
    assert (answer["id"], answer["ok"], answer["detail"]) == (1, True, "ok")
    state["up"] = False
    answer = run("t.database")
    assert answer["ok"] is False
    assert answer["detail"] == "ConnectionError: refused: password=[redacted]"
    assert seen.beats()["t.database"].count == 2
    assert seen.beats()["t.database"].kind == "check"


def test_a_check_returns_its_function():
    def ping():
        return True

    assert rw.check("t.same", ping) is ping


def test_an_async_check_without_a_loop_runs_on_its_own(seen):
    @rw.check("t.async")
    async def ping():
        await asyncio.sleep(0)
        return True, "awaited"

    assert run("t.async")["detail"] == "awaited"


def test_an_async_check_that_takes_too_long_is_bad():
    async def slow():
        await asyncio.Event().wait()

    rw.check("t.slow", slow, timeout=0.001)
    answer = run("t.slow")
    assert answer["ok"] is False
    assert "Timeout" in answer["detail"]


def test_an_async_check_runs_on_the_loop_it_was_registered_on():
    async def main():
        loop = asyncio.get_running_loop()

        @rw.check("t.own_loop")
        async def ping():
            return asyncio.get_running_loop() is loop

        return await loop.run_in_executor(None, run, "t.own_loop")

    assert asyncio.run(main())["ok"] is True
    assert run("t.own_loop")["ok"] is False  # that loop is closed: it runs on another, and says so


@pytest.mark.parametrize(
    "message", [None, [], {}, {"do": "dance"}, {"do": "check"}, {"id": 1, "do": "collect", "name": 7}]
)
def test_messages_of_any_kind_never_raise(message):
    agent_socket.handle(message)


def test_a_collector_gives_figures_under_dotted_names(seen):
    class Cache:
        name = "t.cache"

        def collect(self):
            by = {"kind": {"a": 1.5}}
            return {"hits": 3, "by": by, "timestamp": 1, "bad": "x", "nan": float("nan"), "flag": True}

    rw.collector(Cache())
    answer = agent_socket.handle({"id": 1, "do": "collect", "name": "t.cache"})
    assert answer["values"] == {"hits": 3.0, "by.kind.a": 1.5, "flag": 1.0}
    assert seen.gauge("t.cache.hits") == 3
    assert seen.gauge("t.cache.by.kind.a") == 1.5


def test_a_collector_that_fails_says_so():
    def broken():
        raise RuntimeError("token=hunter2")

    rw.collector(broken, name="t.broken")
    answer = agent_socket.handle({"id": 1, "do": "collect", "name": "t.broken"})
    assert answer["ok"] is False
    assert "hunter2" not in answer["detail"]


def test_what_a_collector_gives_is_bounded():
    values, refused = {}, []
    checks.flatten({f"k{n}": n for n in range(10_000)}, "", values, refused)
    assert len(values) == checks.MOST_VALUES
    nested = {}
    nested["self"] = nested
    checks.flatten(nested, "", values, refused)


@pytest.mark.parametrize("odd", [None, 7, "text"])
def test_odd_registrations_never_raise(odd):
    assert rw.collector(odd) is odd
    assert rw.check("t.odd", odd, kind="wrong", timeout=-1, every="x") is not None
