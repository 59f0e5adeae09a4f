"""Checks: every built-in one in both states, and how they are run."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from roadworthy.agent import network, probes
from roadworthy.agent.checks import CheckRunner, Declared, builtin, by_name
from roadworthy.agent.outcome import InThread, Outcome
from roadworthy.agent.probes import probe_for
from roadworthy.config.values import CheckSetting, RunSettings
from roadworthy.errors import ConfigurationError
from roadworthy.types import Status


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


@asynccontextmanager
async def server(handle):
    async def serve(reader, writer):
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()
        await made.wait_closed()


def ask(handle, target):
    async def work():
        async with server(handle) as port:
            return await probe_for(target.format(port=port))()

    return run(work())


def free_port():
    async def work():
        async with server(lambda *_: asyncio.sleep(0)) as port:
            return port

    return run(work())


# -- the network


def answers(text):
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("HTTP/1.1 200 OK\r\n\r\n", Status.OK),
        ("HTTP/1.1 204 No Content\r\n\r\n", Status.OK),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Status.OK),
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n", Status.UNHEALTHY),
        ("HTTP/1.1 404 Not Found\r\n\r\n", Status.UNHEALTHY),
        ("HTTP/1.1 503 Unavailable\r\n\r\n", Status.UNHEALTHY),
        ("what?\r\n\r\n", Status.UNHEALTHY),
        ("", Status.UNHEALTHY),
    ],
)
def test_an_http_url_is_well_when_it_answers_well(answer, status):
    assert ask(answers(answer), "http://127.0.0.1:{port}/health?x=1").status is status


@pytest.mark.parametrize("scheme", ["http", "tcp", "redis", "postgresql"])
def test_what_refuses_connections_is_unhealthy(scheme):
    found = run(probe_for(f"{scheme}://127.0.0.1:{free_port()}")())
    assert found.status is Status.UNHEALTHY, found


def test_a_port_that_accepts_is_well():
    async def handle(reader, writer):
        pass

    assert ask(handle, "tcp://127.0.0.1:{port}").status is Status.OK


def redis_server(password=None):
    async def handle(reader, writer):
        known = password is None
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2].decode())
            if words[0] == "AUTH":
                known = words[-1] == password
                writer.write(b"+OK\r\n" if known else b"-WRONGPASS invalid username-password pair\r\n")
            elif not known:
                writer.write(b"-NOAUTH Authentication required.\r\n")
            else:
                writer.write(b"+PONG\r\n" if words[0] == "PING" else b"+OK\r\n")
            await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("password", "target", "status"),
    [
        (None, "redis://127.0.0.1:{port}", Status.OK),
        (None, "redis://127.0.0.1:{port}/2", Status.OK),
        ("s3cret", "redis://:s3cret@127.0.0.1:{port}", Status.OK),
        ("s3cret", "redis://127.0.0.1:{port}", Status.UNHEALTHY),
        ("s3cret", "redis://:wr0ng@127.0.0.1:{port}", Status.UNHEALTHY),
    ],
)
def test_redis_is_well_when_it_answers_ping_and_its_password_never_shows(password, target, status):
    found = ask(redis_server(password), target)
    assert found.status is status
    assert "s3cret" not in found.detail
    assert "wr0ng" not in found.detail


def postgres_server(kind, body=b""):
    def message(letter, content):
        return letter + struct.pack("!I", len(content) + 4) + content

    async def handle(reader, writer):
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(message(kind, body))
        if kind == b"R" and body == struct.pack("!I", 0):
            writer.write(message(b"Z", b"I"))
            await writer.drain()
            await reader.readexactly(1)
            writer.write(message(b"T", b"\0\0") + message(b"D", b"\0\1\0\0\0\1\x31"))
        await writer.drain()
        await reader.read()

    return handle


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (b"R", struct.pack("!I", 0), Status.OK),
        (b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0", Status.UNKNOWN),
        (b"E", b"SFATAL\0Mthe database system is starting up\0\0", Status.UNHEALTHY),
        (b"H", b"TTP", Status.UNHEALTHY),
    ],
)
def test_postgresql_without_psycopg_verifies_what_it_can_and_says_what_it_cannot(kind, body, status):
    async def work():
        async with server(postgres_server(kind, body)) as port:
            return await network._postgresql_plain(urlsplit(f"postgresql://me:pw@127.0.0.1:{port}/db"))

    found = run(work())
    assert found.status is status, found
    assert "pw" not in found.detail.replace("password", "")


# -- this machine


def test_a_database_file_is_well_missing_or_broken(tmp_path):
    path = tmp_path / "data.db"
    assert run(probe_for(f"sqlite:///{path}")()).status is Status.UNHEALTHY
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (x)")
    db.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 500)
    db.commit()
    db.close()
    assert run(probe_for(f"sqlite:///{path}")()).status is Status.OK
    raw = bytearray(path.read_bytes())
    raw[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    path.write_bytes(raw)
    assert run(probe_for(f"sqlite:///{path}")()).status is Status.UNHEALTHY


def test_a_directory_is_well_missing_or_not_writable(tmp_path, monkeypatch):
    assert run(probe_for(f"dir://{tmp_path}")()).status is Status.OK
    assert run(probe_for(str(tmp_path / "none"))()).status is Status.UNHEALTHY

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(probes.tempfile, "NamedTemporaryFile", full)
    found = run(probe_for(str(tmp_path))())
    assert found == Outcome(Status.UNHEALTHY, f"cannot write to {tmp_path}: no space left")


@pytest.mark.parametrize(("used", "status"), [(50, Status.OK), (86, Status.DEGRADED), (99, Status.UNHEALTHY)])
def test_disk_space_is_judged(used, status, tmp_path, monkeypatch):
    monkeypatch.setattr(probes.host, "space", lambda _: (100 << 30, used << 30))
    assert run(probe_for(f"disk://{tmp_path}")()).status is status
    assert probes.storage(tmp_path).status is status


def test_disk_space_that_cannot_be_asked_is_unknown(tmp_path):
    assert run(probe_for(f"disk://{tmp_path}/none")()).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("percent", "status"),
    [(None, Status.UNKNOWN), (50.0, Status.OK), (81.0, Status.DEGRADED), (98.0, Status.UNHEALTHY)],
)
def test_memory_is_judged(percent, status):
    assert probes.memory(percent, 1 << 30, 10.0).status is status


@pytest.mark.parametrize("target", ["ftp://x", "tcp://x", "tcp://x:99999", "nonsense", ""])
def test_a_target_that_no_check_understands_is_refused(target):
    with pytest.raises(ConfigurationError):
        probe_for(target)


# -- running them


def setting(name="c", every=60.0, timeout=1.0, kind="readiness"):
    return CheckSetting(name, "", kind, every, timeout)


def answering(*statuses):
    rest = list(statuses)

    async def probe():
        return Outcome(rest.pop(0) if len(rest) > 1 else rest[0], "said so")

    return probe


def test_checks_run_in_parallel_on_their_own_intervals_and_nobody_waits():
    async def work():
        runner = CheckRunner()
        gate = asyncio.Event()

        async def slow():
            await gate.wait()
            return Outcome(Status.OK, "at last")

        runner.add(setting("slow", every=10), slow)
        runner.add(setting("quick", every=5), answering(Status.OK))
        runner.tick(0.0)
        before = {one.name: one.status for one in runner.results()}
        while by_name(runner.results())["quick"].at is None:  # noqa: ASYNC110 - a result is read, not told
            await asyncio.sleep(0.005)
        assert by_name(runner.results())["slow"].at is None
        gate.set()
        while by_name(runner.results())["slow"].at is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        runner.tick(4.9)
        await runner.close()
        return before, [check.runs for check in runner._checks.values()]

    before, runs = run(work())
    assert set(before.values()) == {Status.UNKNOWN}
    assert runs == [1, 1]


def test_three_failures_in_a_row_are_an_outage_and_a_change_is_told():
    async def work():
        told = []
        runner = CheckRunner(changed=told.append)
        runner.add(setting(), answering(Status.OK, Status.UNHEALTHY, Status.UNHEALTHY, Status.UNHEALTHY, Status.OK))
        seen = []
        for _ in range(5):
            (result,) = await runner.run_all()
            seen.append((result.failures_in_row, result.outage))
        return seen, [(one.status, one.outage) for one in told]

    seen, told = run(work())
    assert seen == [(0, False), (1, False), (2, False), (3, True), (0, False)]
    assert told == [(Status.OK, False), (Status.UNHEALTHY, False), (Status.UNHEALTHY, True), (Status.OK, False)]


def test_a_check_that_is_waited_for_runs_before_it_is_due_twice_a_second_at_the_most():
    runner = CheckRunner()
    asked = []

    async def probe():
        asked.append(1)
        return Outcome(Status.OK, "")

    async def work():
        runner.add(CheckSetting("health-url", "", "readiness", 5.0), probe)
        runner.tick(100.0)
        for now in (100.1, 100.4, 100.6, 100.7, 101.2):
            await asyncio.sleep(0)
            await asyncio.gather(*runner._tasks)
            runner.hurry("health-url", now)
        await asyncio.gather(*runner._tasks)

    asyncio.run(work())
    assert len(asked) == 3


def test_a_check_whose_time_is_over_has_failed():
    async def work():
        runner = CheckRunner()
        runner.add(setting(timeout=0.05), lambda: asyncio.sleep(60))
        return await runner.run_all()

    (result,) = run(work())
    assert (result.status, result.detail) == (Status.UNHEALTHY, "did not answer within 0.05 s")


def test_a_thread_that_hangs_in_a_check_is_not_started_a_second_time():
    release = threading.Event()
    starts = []

    def hang(path):
        starts.append(path)
        release.wait(10)
        return Outcome(Status.OK, "")

    async def work():
        runner = CheckRunner()
        runner.add(setting(timeout=0.05), InThread(hang, Path()))
        first = await runner.run_all()
        second = await runner.run_all()
        release.set()
        return first[0], second[0]

    first, second = run(work())
    assert "did not answer" in first.detail
    assert "has not ended yet" in second.detail
    assert (second.status, len(starts)) == (Status.UNHEALTHY, 1)


def test_a_check_that_breaks_itself_is_unknown_which_counts_as_a_failure():
    async def broken():
        raise ZeroDivisionError("token=abcdef123456")

    async def work():
        runner = CheckRunner()
        runner.add(setting(), broken)
        return await runner.run_all()

    (result,) = run(work())
    assert (result.status, result.failures_in_row) == (Status.UNKNOWN, 1)
    assert "abcdef123456" not in result.detail


class App:
    def __init__(self, *declared):
        self.declared = declared

    def declared_checks(self):
        return self.declared

    async def run_check(self, name, slot, timeout):  # noqa: ASYNC109 - told to the program
        return Outcome(Status.OK, f"{name} in {slot}")


def test_the_programs_own_checks_are_followed():
    async def work():
        runner = CheckRunner()
        app = App(Declared("db", "readiness", 1.0, 5.0, 0), Declared("db", "readiness", 1.0, 5.0, 1))
        runner.declare(app)
        results = await runner.run_all()
        app.declared = app.declared[:1]
        runner.declare(app)
        return results, runner.results()

    results, left = run(work())
    assert [(one.detail, one.source) for one in results] == [("db in 0", "app"), ("db in 1", "app")]
    assert [one.slot for one in left] == [0]


def test_every_program_gets_checks_of_disk_memory_and_directories(tmp_path):
    settings = RunSettings(
        app="a", command=(), cwd=str(tmp_path / "gone"), checks=(CheckSetting("data", str(tmp_path)),)
    )
    results = by_name(run(builtin(settings, tmp_path, lambda: None).run_all()))
    assert set(results) == {"disk", "memory", "directories", "data"}
    assert results["memory"].status is Status.UNKNOWN
    assert results["directories"].status is Status.UNHEALTHY
    assert results["data"].status is Status.OK


def test_directories_with_data_must_be_there_and_writable(tmp_path):
    gone = tmp_path / "gone"

    def directories(*needed):
        settings = RunSettings("a", ("x",), str(tmp_path), data_dirs=tuple(str(path) for path in needed))
        found = {one.name: one for one in asyncio.run(builtin(settings, tmp_path, lambda: None).run_all())}
        return found["directories"]

    assert (directories().kind, directories().status) == ("informational", Status.OK)
    well = directories(tmp_path)
    assert (well.kind, well.status) == ("readiness", Status.OK)
    bad = directories(tmp_path, gone)
    assert (bad.status, str(gone) in bad.detail) == (Status.UNHEALTHY, True)


def test_settings_in_the_environment_are_there_or_named_but_never_shown(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "s3cret-value")
    monkeypatch.setenv("SHOP_EMPTY", "")
    well = asyncio.run(probe_for("env://SHOP_KEY")())
    assert (well.status, well.detail) == (Status.OK, "set: SHOP_KEY")
    bad = asyncio.run(probe_for("env://SHOP_KEY,SHOP_EMPTY,SHOP_NONE")())
    assert (bad.status, bad.detail) == (Status.UNHEALTHY, "not set: SHOP_EMPTY, SHOP_NONE")
