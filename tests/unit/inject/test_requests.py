"""Requests and statements on the paths that are written out by hand."""

import asyncio
import sqlite3

import pytest

from roadworthy.app import entries, errors, operation, start
from roadworthy.app.integrations import asgi, http, series, sqlite, uvicorn
from roadworthy.arena import reader
from roadworthy.arena.writer import Arena

HTTP = {"type": "http", "method": "GET", "scheme": "http"}


@pytest.fixture
def arena(tmp_path, monkeypatch):
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    for forget in (series.forget, http.forget, sqlite._records.clear):
        forget()
    http._current.set(None)
    yield made
    for forget in (series.forget, http.forget, sqlite._records.clear):
        forget()
    made.close()


def seen(arena):
    with reader.Reader(arena.path) as view:
        return view.series(), view.inflight(), view.events(dead=False)[0]


def serve(app, scope=HTTP):
    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    sent = []
    asyncio.run(asgi.measure(app)(dict(scope), receive, send))
    return sent


async def answer(send, status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


def test_an_error_that_a_handler_reports_belongs_to_its_request(arena):
    async def app(scope, receive, send):
        errors.record(ValueError("boom"))
        await answer(send)

    serve(app)
    series_seen, _, events = seen(arena)
    [counted] = [one for one in series_seen if one.name == "errors"]
    assert dict(counted.labels) == {"operation": "GET other", "type": "ValueError"}
    assert [event.source for event in events if event.kind == "error"] == ["GET other"]


def test_an_operation_in_a_request_has_it_as_its_parent(arena, monkeypatch):
    monkeypatch.setattr(entries, "inflight", arena.inflight)
    parents = []

    async def app(scope, receive, send):
        parents.append(operation._current.get().name)
        await answer(send)
        parents.append(operation.current_name())

    serve(app)
    assert parents == ["GET other", ""], "and after the answer there is none"


def test_a_request_is_under_way_with_its_route_until_the_last_part_is_sent(arena):
    class Route:
        path = "/items/{number:int}"

        async def handle(self, scope, receive, send):
            under_way.extend(seen(arena)[1])
            await answer(send)

    Route.handle = uvicorn._noting(outer=False)(Route.handle)
    under_way = []

    async def app(scope, receive, send):
        await Route().handle(scope, receive, send)

    for _ in range(2):
        serve(app)
    assert [entry.context for entry in under_way] == ["http.request.method=GET http.route=/items/{number:int}"] * 2
    series_seen, left, _ = seen(arena)
    [duration] = [one for one in series_seen if one.name == http.NAME]
    assert dict(duration.labels)["http.route"] == "/items/{number:int}"
    assert sum(duration.buckets.values()) == 2
    assert left == []


def test_a_route_longer_than_an_entry_is_cut_at_a_character(arena):
    async def app(scope, receive, send):
        http.route("/ü" * 400)
        under_way.extend(seen(arena)[1])
        await answer(send)

    under_way = []
    serve(app)
    assert len(under_way) == 1
    assert seen(arena)[1] == []


def test_more_requests_than_the_table_holds_are_counted_all_the_same(arena):
    async def app(scope, receive, send):
        await answer(send)

    kept = [arena.inflight.enter(0) for _ in range(arena.sizes.inflight)]
    serve(app)
    for handle in kept:
        arena.inflight.leave(handle)
    [duration] = [one for one in seen(arena)[0] if one.name == http.NAME]
    assert sum(duration.buckets.values()) == 1


@pytest.fixture
def connect(arena):
    original = sqlite3.dbapi2.connect
    sqlite.install(sqlite3.dbapi2)
    opened = []

    def connect_once(*args):
        opened.append(sqlite3.dbapi2.connect(*args))
        return opened[-1]

    yield connect_once
    for database in opened:
        database.close()
    sqlite3.dbapi2.connect = sqlite3.connect = original


def statements(arena):
    return {
        tuple(dict(one.labels).values()): sum(one.buckets.values())
        for one in seen(arena)[0]
        if one.name == "db.client.operation.duration"
    }


def test_statements_are_counted_by_their_word_whoever_runs_them(arena, connect):
    database = connect(":memory:")
    database.execute("CREATE TABLE t (a)")
    cursor = database.execute("INSERT INTO t VALUES (?)", (1,))
    cursor.execute("INSERT INTO t VALUES (?)", (2,))
    database.commit()
    assert [row[0] for row in database.execute("SELECT a FROM t")] == [1, 2]
    assert database.cursor().execute("SELECT a FROM t").fetchall() == [(1,), (2,)]
    with pytest.raises(sqlite3.OperationalError):
        database.execute("SELECT nothing FROM nowhere")
    assert statements(arena) == {
        ("CREATE", "sqlite"): 1,
        ("INSERT", "sqlite"): 2,
        ("COMMIT", "sqlite"): 1,
        ("SELECT", "sqlite"): 2,
        ("SELECT", "sqlite", "OperationalError"): 1,
    }


def test_connections_and_cursors_have_no_more_attributes_than_sqlites_own(connect):
    database = connect(":memory:")
    for made in (database, database.cursor(), database.execute("SELECT 1")):
        assert not hasattr(made, "__dict__")
    database.row_factory = sqlite3.Row
    assert database.execute("SELECT 1 AS one").fetchone()["one"] == 1
