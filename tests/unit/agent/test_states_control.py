"""The agent's socket, its link to the keeper and watching without one, with real sockets and processes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess

import pytest

from live.keeper_kit import ticks_of
from roadworthy.agent.control import LINE_MOST, Control, supervisor_verbs
from roadworthy.agent.link import VARIABLE, KeeperLink, PidfdWatch
from roadworthy.agent.watchfiles import SourceWatch
from roadworthy.errors import Unavailable
from roadworthy.types import Status

HELLO = {
    "hello": "app",
    "pid": 1,
    "start_ticks": 1,
    "slot": 0,
    "checks": [{"name": "db", "kind": "readiness", "timeout": 1.0, "every": 5.0}],
    "collectors": ["queue"],
    "reload": True,
}


class App:
    """The program's side."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def tell(self, message):
        self.writer.write(json.dumps(message).encode() + b"\n")
        await self.writer.drain()

    async def hear(self):
        return json.loads(await asyncio.wait_for(self.reader.readline(), 60))


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for does not know of the test
            await asyncio.sleep(0.005)


def served(tmp_path, act, verbs=None):
    async def main():
        control = Control(tmp_path / "agent.sock", verbs or {})
        await control.start()

        apps = []

        async def connect():
            apps.append(App(*await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))))
            return apps[-1]

        try:
            await act(control, connect)
        finally:
            await control.close()
            for app in apps:
                app.writer.close()
                await asyncio.gather(app.writer.wait_closed(), return_exceptions=True)
        assert not (tmp_path / "agent.sock").exists()

    asyncio.run(main())


def test_the_programs_checks_and_collectors_are_asked(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell(HELLO)
        await until(control.declared_checks)
        assert [(c.name, c.slot, c.every) for c in control.declared_checks()] == [("db", 0, 5.0)]
        assert control.collectors() == [(os.getpid(), "queue")]
        asked = asyncio.create_task(control.run_check("db", 0, 5.0))
        message = await app.hear()
        assert (message["do"], message["name"]) == ("check", "db")
        await app.tell({"id": message["id"], "ok": False, "detail": "refused", "took": 0.1})
        outcome = await asked
        assert (outcome.status, outcome.detail) == (Status.UNHEALTHY, "refused")
        collected = asyncio.create_task(control.collect(os.getpid(), "queue", 5.0))
        message = await app.hear()
        await app.tell({"id": message["id"], "ok": True, "values": {"depth": 3}})
        assert (await collected)["values"] == {"depth": 3}
        assert control.reload() == 1
        assert await app.hear() == {"do": "reload"}
        await app.tell({"declare": {"checks": [], "collectors": [], "reload": False}})
        await until(lambda: not control.declared_checks())
        assert control.reload() == 0

    served(tmp_path, act)


def test_a_check_that_does_not_answer_has_failed_and_one_that_hangs_up_too(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell(HELLO)
        await until(control.declared_checks)
        late = await control.run_check("db", 0, 0.05)
        assert late.status is Status.UNHEALTHY
        await app.hear()
        asked = asyncio.create_task(control.run_check("db", 0, 10.0))
        await app.hear()
        app.writer.close()
        assert (await asked).status is Status.UNHEALTHY
        assert (await control.run_check("db", 0, 1.0)).status is Status.UNKNOWN
        with pytest.raises(Unavailable, match="not connected"):
            await control.collect(os.getpid(), "queue", 1.0)

    served(tmp_path, act)


def test_the_command_line_is_answered(tmp_path):
    requests = []

    def request(what, slot):
        requests.append((what, slot))
        return slot != 9

    verbs = supervisor_verbs(request, lambda: True, "shop")

    async def act(_control, connect):
        cli = await connect()
        await cli.tell({"hello": "cli"})
        await cli.tell({"do": "ping"})
        answer = await cli.hear()
        assert (answer["ok"], answer["ready"], answer["app"]) == (True, True, "shop")
        await cli.tell({"do": "restart", "slot": 2})
        assert (await cli.hear())["ok"] is True
        await cli.tell({"do": "stop", "slot": 9})
        answer = await cli.hear()
        assert (answer["ok"], answer["why"]) == (False, "There is no slot '9'.")
        await cli.tell({"do": "explode"})
        assert (await cli.hear())["ok"] is False
        assert requests == [("restart", 2), ("stop", 9)]

    served(tmp_path, act, verbs)


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[]\n", b'{"hello":"who"}\n', b"x" * (LINE_MOST + 2), b'{"hello":"app","checks":3}\n']
)
def test_nonsense_is_hung_up_on_and_others_are_served_on(tmp_path, line):
    async def act(_control, connect):
        bad = await connect()
        bad.writer.write(line)
        bad.writer.write_eof()
        await asyncio.wait_for(bad.reader.read(), 60)
        bad.writer.close()
        good = await connect()
        await good.tell({"hello": "cli"})
        await good.tell({"do": "ping"})
        assert (await good.hear())["ok"] is True

    served(tmp_path, act, {"ping": lambda _: {"what": "pong"}})


def test_a_socket_that_a_dead_agent_left_is_replaced_and_a_bad_place_is_one_clear_error(tmp_path):
    (tmp_path / "agent.sock").write_text("")
    served(tmp_path, lambda *_: asyncio.sleep(0))
    with pytest.raises(Unavailable, match="cannot listen"):
        asyncio.run(Control(tmp_path / "none" / "agent.sock", {}).start())


def test_the_link_carries_messages_both_ways_and_tells_the_keepers_end(monkeypatch):
    ours, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setenv(VARIABLE, str(ours.detach()))
    heard, lost = [], []

    async def main():
        link = KeeperLink.from_environment(heard.append, lambda: lost.append(1))
        assert KeeperLink.from_environment(heard.append, lambda: None) is None
        keeper.send(b'{"t":"state"}')
        keeper.send(b'{"t":"started"}')
        await until(lambda: len(heard) == 2)
        for number in range(2000):
            link.send({"do": "start", "slot": number})
        keeper.settimeout(60)
        got = [await asyncio.to_thread(keeper.recv, 65536) for _ in range(2000)]
        assert [json.loads(data)["slot"] for data in got] == list(range(2000))
        keeper.close()
        await until(lambda: lost)
        link.send({"do": "start"})

    asyncio.run(main())
    assert lost == [1]


def test_the_end_of_a_process_that_is_not_ours_is_seen():
    async def main():
        ended = []
        with subprocess.Popen(["sleep", "60"]) as child:  # noqa: ASYNC220 - its end is what is watched
            ticks = ticks_of(child.pid)
            PidfdWatch(child.pid, ticks, lambda pid, at: ended.append((pid, at)))
            PidfdWatch(child.pid, ticks + 1, lambda pid, _: ended.append((pid, "another")))
            await until(lambda: ended)
            assert ended.pop() == (child.pid, "another")
            child.kill()
            await until(lambda: ended)
        assert ended[0][0] == child.pid
        PidfdWatch(child.pid, ticks, lambda pid, _: ended.append((pid, "gone")))
        await until(lambda: len(ended) == 2)

    asyncio.run(main())


def test_source_changes_are_seen_once(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / ".git").mkdir()
    source, other = tmp_path / "pkg" / "a.py", tmp_path / ".git" / "b.py"
    source.write_text("x = 1")
    watch = SourceWatch([str(tmp_path)])
    assert watch.changed() == []
    source.write_text("x = 22")
    other.write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert watch.changed() == [str(source)]
    assert watch.changed() == []
    source.unlink()
    assert watch.changed() == [str(source)]
