"""Checks and collectors: what counts as good, what a figure is, and the talk with the agent over its socket."""

import asyncio
import json
import os
import socket
import threading
import time

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
        await asyncio.sleep(60)

    rw.check("t.slow", slow, timeout=0.05)
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


def test_a_check_that_waited_longer_than_its_timeout_is_not_run():
    called = []
    rw.check("t.late", lambda: called.append(1), timeout=1.0)
    answer = agent_socket.handle({"id": 2, "do": "check", "name": "t.late"}, waited=1.5)
    assert answer["ok"] is False
    assert called == []


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


class Agent:
    """The agent's end of the socket, as far as the app sees it."""

    def __init__(self, path):
        self.path = path
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(30)

    def accept(self):
        self.connection, _ = self.server.accept()
        self.connection.settimeout(30)
        self.lines = self.connection.makefile("rb")
        return self.read()

    def read(self):
        return json.loads(self.lines.readline())

    def ask(self, **message):
        self.connection.sendall(json.dumps(message).encode() + b"\n")
        return self.read()

    def close(self):
        self.lines.close()
        self.connection.close()


def test_the_program_tells_the_agent_its_checks_answers_and_comes_back(program, tmp_path):
    (tmp_path / "run").mkdir()
    agent = Agent(tmp_path / "run" / "agent.sock")
    told = {}

    def talk():
        told["hello"] = agent.accept()
        told["check"] = agent.ask(id=1, do="check", name="db")
        told["collect"] = agent.ask(id=2, do="collect", name="numbers")
        told["declare"] = agent.read()
        agent.close()
        told["again"] = agent.accept()
        told["child"] = agent_of_child()
        agent.close()

    def agent_of_child():
        first, second = agent.connection, agent.lines
        hello = agent.accept()
        first.close()
        second.close()
        return hello

    thread = threading.Thread(target=talk)
    thread.start()
    done = program(
        """
        import os, time
        import roadworthy as rw
        rw.check("db", lambda: (True, "pong"), timeout=1, every=5)
        rw.collector(lambda: {"n": 4}, name="numbers")
        from roadworthy.app.checks import checks
        time.sleep(1)
        rw.check("later", lambda: True)
        child = os.fork()
        if not child:
            time.sleep(2)
            rw.counter("c").add()
            time.sleep(4)
            os._exit(0)
        print(child)
        os.waitpid(child, 0)
        """,
        ROADWORTHY_RUN_DIR=str(tmp_path / "run"),
        ROADWORTHY_SLOT="2",
    )
    thread.join(60)
    agent.server.close()
    assert told["hello"]["hello"] == "app"
    assert told["hello"]["slot"] == 2
    assert {"name": "db", "kind": "readiness", "timeout": 1.0, "every": 5.0} in told["hello"]["checks"]
    assert told["hello"]["collectors"] == ["numbers"]
    assert told["check"]["ok"] is True
    assert told["check"]["detail"] == "pong"
    assert told["collect"]["values"] == {"n": 4.0}
    assert [check["name"] for check in told["declare"]["declare"]["checks"]] == ["db", "later"]
    assert told["again"]["pid"] == told["hello"]["pid"]
    assert told["child"]["pid"] == int(done.stdout)
    assert told["child"]["start_ticks"] > told["hello"]["start_ticks"]
    assert "roadworthy" not in done.stderr  # Python 3.12+ warns of the fork itself


def test_a_registration_never_delays_the_end_of_the_program(program):
    begun = time.monotonic()
    done = program("import roadworthy as rw\nrw.check('c', lambda: __import__('time').sleep(60))\nprint('end')")
    assert done.stdout == "end\n"
    assert time.monotonic() - begun < 20


def test_a_socket_of_somebody_else_is_not_believed(monkeypatch, tmp_path):
    agent = Agent(tmp_path / "agent.sock")
    monkeypatch.setenv("ROADWORTHY_RUN_DIR", str(tmp_path))
    connection = agent_socket._connect()
    assert connection is not None
    connection.close()
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert agent_socket._connect() is None
    agent.server.close()


def test_without_an_agent_there_is_no_connection(monkeypatch, tmp_path):
    monkeypatch.setenv("ROADWORTHY_RUN_DIR", str(tmp_path))
    assert agent_socket._connect() is None
