"""Measured applications behave like the ones they hold: answers, exceptions, sizes, identities."""

import asyncio

import pytest

from roadworthy.app import start
from roadworthy.app.inject import lame_duck, patch
from roadworthy.app.integrations import asgi, gc_pauses, http, logs, series, sqlite, wsgi
from roadworthy.arena import reader
from roadworthy.arena.writer import Arena


@pytest.fixture
def arena(tmp_path, monkeypatch):
    """An arena of the test's own as this process's, and nothing remembered of another."""
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    forget()
    yield made
    forget()
    made.close()


def forget():
    series.forget()
    http.forget()
    logs._counters.clear()
    http._told[:] = [0, 0]
    http._current.set(None)


def recorded(arena, name="http.server.request.duration"):
    with reader.Reader(arena.path) as view:
        return [
            (dict(found.labels), sum(found.buckets.values()) if found.buckets is not None else found.value)
            for found in view.series()
            if found.name == name
        ]


def respond(status="200 OK", body=(b"hello",)):
    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        return body

    return app


def call(app, environ=None):
    answer = []
    body = wsgi.measure(app)(
        {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", **(environ or {})},
        lambda status, headers, *info: answer.append((status, headers)),
    )
    return answer, body


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a",), []])
def test_a_whole_wsgi_body_is_handed_through_untouched(arena, body):
    answer, found = call(respond(body=body))
    assert found is body
    assert answer == [("200 OK", [("Content-Type", "text/plain")])]
    [(labels, count)] = recorded(arena)
    assert count == 1
    assert labels["http.response.status_code"] == "200"
    assert labels["http.route"] == "other"


def test_a_generated_wsgi_body_counts_when_it_is_closed(arena):
    closed = []

    def parts():
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    _, body = call(respond(body=parts()))
    assert next(iter(body)) == b"a"
    assert recorded(arena) == []
    body.close()
    assert closed == [True]
    assert [count for _, count in recorded(arena)] == [1]


def test_a_file_wrapper_keeps_its_class(arena):
    class FileWrapper(list):
        pass

    body = FileWrapper([b"x"])
    _, found = call(respond(body=body), {"wsgi.file_wrapper": FileWrapper})
    assert found is body
    assert recorded(arena) == []
    found.close()
    assert [count for _, count in recorded(arena)] == [1]


def test_a_sized_body_keeps_its_size(arena):
    class Sized:
        def __iter__(self):
            return iter([b"x"])

        def __len__(self):
            return 1

    _, found = call(respond(body=Sized()))
    assert len(found) == 1
    assert list(found) == [b"x"]
    assert [count for _, count in recorded(arena)] == [1]


def test_a_body_that_the_server_forgets_to_close_ends_with_its_last_reference(arena):
    _, found = call(respond(body=iter([b"x", b"y"])))
    assert http.current() is not None
    del found
    assert [count for _, count in recorded(arena)] == [1]
    assert http.current() is None


def test_an_exception_of_a_wsgi_application_passes_unchanged_and_counts_as_a_failure(arena):
    error = ValueError("own")

    def app(environ, start_response):
        raise error

    with pytest.raises(ValueError, match="own") as raised:
        call(app)
    assert raised.value is error
    [(labels, count)] = recorded(arena)
    assert (labels["error.type"], labels["http.response.status_code"], count) == ("ValueError", "500", 1)
    assert [count for labels, count in recorded(arena, "errors") if labels["type"] == "ValueError"] == [1]


def test_an_inner_layer_counts_nothing_and_may_name_the_route(arena):
    def inner(environ, start_response):
        http.route("/item/<id>")
        return respond()(environ, start_response)

    call(wsgi.Measured(wsgi.Measured(inner)))
    assert [(labels["http.route"], count) for labels, count in recorded(arena)] == [("/item/<id>", 1)]


def test_requests_stand_in_the_in_flight_table_with_method_and_route(arena):
    seen = []

    def app(environ, start_response):
        http.route("/slow")
        with reader.Reader(arena.path) as view:
            seen.extend((entry.name, entry.context) for entry in view.inflight())
        return respond()(environ, start_response)

    call(app)
    assert seen == [("http.server.active_requests", "http.request.method=GET http.route=/slow")]
    with reader.Reader(arena.path) as view:
        assert view.inflight() == []


def test_a_method_that_does_not_exist_is_no_label(arena):
    call(respond(), {"REQUEST_METHOD": "BREW-" + "x" * 50})
    assert recorded(arena)[0][0]["http.request.method"] == "_OTHER"


def run(app, scope, messages=()):
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    async def main():
        await asgi.measure(app)(scope, receive, send)

    asyncio.run(main())
    return sent


HTTP = {"type": "http", "method": "GET", "scheme": "http"}


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await send({"type": "http.response.body", "body": b"y"})


def test_an_asgi_answer_passes_unchanged(arena):
    sent = run(hello, HTTP)
    assert [message.get("body") for message in sent] == [None, b"x", b"y"]
    assert sent[0]["headers"] == [(b"a", b"b")]
    assert [count for _, count in recorded(arena)] == [1]


def test_a_lame_duck_says_connection_close(arena, monkeypatch):
    monkeypatch.setattr(lame_duck, "active", True)
    assert run(hello, HTTP)[0]["headers"] == [(b"a", b"b"), (b"connection", b"close")]


def test_lifespan_is_no_request(arena):
    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"

    run(app, {"type": "lifespan"})
    assert recorded(arena) == []


def test_cancellation_passes_and_is_recorded_without_a_status(arena):
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(app, HTTP)
    [(labels, _)] = recorded(arena)
    assert labels["error.type"] == "CancelledError"
    assert "http.response.status_code" not in labels


def test_a_websocket_counts_when_it_is_refused_too(arena):
    async def refuse(scope, receive, send):
        await send({"type": "websocket.close"})

    run(refuse, {"type": "websocket", "scheme": "ws"})
    assert recorded(arena)[0][0]["http.response.status_code"] == "403"


def test_wrapping_twice_changes_nothing():
    class Owner:
        def act(self, x: int) -> int:
            """Do it."""
            return x + 1

    def make(original):
        def act(self, x):
            return original(self, x) * 10

        return act

    assert patch.wrap(Owner, "act", make)
    assert not patch.wrap(Owner, "act", make)
    assert not patch.wrap(Owner, "missing", make)
    assert Owner().act(1) == 20
    assert (Owner.act.__name__, Owner.act.__doc__, Owner.act.__annotations__) == ("act", "Do it.", {"x": "int"}) or (
        Owner.act.__annotations__ == {"x": int, "return": int}
    )


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("select 1", "SELECT"),
        ("  \n Insert into x values ('secret')", "INSERT"),
        ("COMMIT;", "COMMIT"),
        ("values(1)", "OTHER"),
        ("-- note\nselect 1", "OTHER"),
        ("secret", "OTHER"),
        ("", "OTHER"),
        (None, "OTHER"),
    ],
)
def test_of_a_statement_only_a_known_first_word_is_kept(sql, word):
    assert sqlite.operation(sql) == word


def test_garbage_collections_are_counted_but_not_in_a_fresh_child(arena):
    pauses = gc_pauses.Pauses()
    for _ in range(3):
        pauses.collected("start", {"generation": 2})
        pauses.collected("stop", {"generation": 2})
    pauses.sleep()
    pauses.collected("start", {"generation": 2})
    pauses.collected("stop", {"generation": 2})
    assert [(labels, count) for labels, count in recorded(arena, "cpython.gc.duration") if count] == [
        ({"cpython.gc.generation": "2"}, 3)
    ]


def test_without_an_arena_nothing_is_measured_and_everything_works(monkeypatch):
    monkeypatch.setattr(start, "_arena", None)
    forget()
    _, body = call(respond())
    assert list(body) == [b"hello"]
    assert run(hello, HTTP)[0]["type"] == "http.response.start"
