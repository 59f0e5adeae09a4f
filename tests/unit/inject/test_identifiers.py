"""Identifiers come in with a request, go back with its answer, and out with what it asks of others."""

import asyncio
import http.client
import http.server
import io
import logging
import threading
from wsgiref.util import setup_testing_defaults

import pytest

from roadworthy.app import errors, logbook, operation, start
from roadworthy.app.integrations import aiohttp, asgi, http_client, http_server, logs, series, wsgi
from roadworthy.app.integrations import http as requests
from roadworthy.arena import reader
from roadworthy.arena.writer import Arena
from roadworthy.log import correlation, headers, hook

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def arena(tmp_path, monkeypatch):
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    for forget in (series.forget, requests.forget, logs._counters.clear):
        forget()
    requests._current.set(None)
    yield made
    for forget in (series.forget, requests.forget, logs._counters.clear):
        forget()
    made.close()


def events(arena):
    with reader.Reader(arena.path) as view:
        return view.events(dead=False)[0]


def ask_asgi(app, *given, kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    async def main():
        scope = {"type": kind, "method": "GET", "scheme": "http", "headers": list(given)}
        await asgi.measure(app)(scope, None, send)
        assert correlation.current() == "", "and it is gone afterwards"

    asyncio.run(main())
    return sent


def app_that(act, own=()):
    async def app(scope, receive, send):
        act()
        await send({"type": "http.response.start", "status": 200, "headers": list(own)})
        await send({"type": "http.response.body", "body": b"x"})

    return app


def test_an_asgi_application_has_the_callers_identifier_and_returns_it(arena):
    seen = []
    sent = ask_asgi(app_that(lambda: seen.append(correlation.current())), (b"x-request-id", b"req-7"))
    assert seen == ["req-7"]
    assert sent[0]["headers"] == [(b"x-request-id", b"req-7")]


def test_a_traceparent_gives_trace_and_correlation_and_a_span_of_its_own(arena):
    seen = []
    given = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    sent = ask_asgi(app_that(lambda: seen.append(correlation.found().fields())), given)
    (fields,) = seen
    assert (fields["correlation_id"], fields["trace_id"]) == (TRACE, TRACE)
    assert dict(sent[0]["headers"])[b"traceparent"] == f"00-{TRACE}-{fields['span_id']}-01".encode()


@pytest.mark.parametrize("given", [(), ((b"x-request-id", b"two words"),), ((b"traceparent", b"00-nonsense"),)])
def test_without_a_valid_header_nothing_is_bound_and_nothing_returned(arena, given):
    seen = []
    sent = ask_asgi(app_that(lambda: seen.append(correlation.current())), *given)
    assert (seen, sent[0]["headers"]) == ([""], [])


def test_what_a_request_without_one_logs_shares_an_identifier_which_is_returned(arena):
    seen = []
    sent = ask_asgi(app_that(lambda: seen.extend([correlation.found().correlation, correlation.known().correlation])))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 32
    assert sent[0]["headers"] == [(b"x-request-id", seen[0].encode())]


def test_a_header_that_the_application_sets_itself_stays_alone(arena):
    own = (b"X-Request-ID", b"own")
    sent = ask_asgi(app_that(lambda: None, [own]), (b"x-request-id", b"req-7"))
    assert sent[0]["headers"] == [own]


def test_a_request_that_fails_gives_its_identifier_back(arena):
    def fail():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the very one above
        ask_asgi(app_that(fail), (b"x-request-id", b"req-7"))
    assert correlation.current() == ""
    assert [event.fields["correlation_id"] for event in events(arena) if event.kind == "error"] == ["req-7"]


def test_an_error_that_is_recorded_after_its_answer_carries_it_all_the_same(arena):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the very one above
        ask_asgi(app, (b"x-request-id", b"req-7"))
    errors.record(caught.value)
    exc_info = (ValueError, caught.value, None)
    logs.note(logging.makeLogRecord({"name": "app", "levelno": 40, "msg": "one", "exc_info": exc_info}))
    assert {event.fields.get("correlation_id") for event in events(arena) if event.kind != "operation"} == {"req-7"}


def test_a_websocket_has_it_as_long_as_it_is_open(arena):
    seen = []

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        seen.append(correlation.current())

    ask_asgi(app, (b"x-request-id", b"req-7"), kind="websocket")
    ask_asgi(app, (b"x-request-id", b"two words"), kind="websocket")
    ask_asgi(app, (b"x-request-id", 7), kind="websocket")
    assert seen[0] == "req-7"
    assert [len(one) for one in seen[1:]] == [32, 32]


@pytest.mark.parametrize("own", [[], [("x-request-id", "own")]])
def test_a_wsgi_application_does_the_same(arena, own):
    seen, told = [], []

    def app(environ, start_response):
        seen.append(correlation.current())
        start_response("200 OK", own)
        return [b"x"]

    environ = {"HTTP_X_REQUEST_ID": "req-7"}
    setup_testing_defaults(environ)
    wsgi.measure(app)(environ, lambda status, headers: told.append(headers))
    assert seen == ["req-7"]
    assert told == [own or [("X-Request-ID", "req-7")]]
    assert correlation.current() == ""


def test_http_server_and_http_client_hand_it_on(arena, monkeypatch):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((correlation.current(), dict(self.headers)))
            self.send_response(200)
            if self.path == "/own":
                self.send_header("X-Request-ID", "own")
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    http_server._measure(Handler)

    class Connection(http.client.HTTPConnection):
        pass

    class Module:
        HTTPConnection = Connection

    http_client.install(Module)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def ask(path="/", given=None):
        connection = Connection(*server.server_address)
        connection.request("GET", path, headers=given or {})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.headers.get_all("X-Request-ID")

    try:
        with correlation.CorrelationContext(trace_id=TRACE, span_id=SPAN):
            assert ask() == [TRACE]
            assert ask(given={"x-request-id": "mine"}) == ["mine"]
            assert ask("/own") == ["own"]
        assert ask() is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [one for one, _ in seen] == [TRACE, "mine", TRACE, ""]
    assert headers.parse_traceparent(seen[0][1]["traceparent"])[:2] == (TRACE, SPAN)
    assert "X-Request-ID" not in seen[3][1]


def test_aiohttp_hands_it_on(arena):
    class Response:
        prepared = False

        def __init__(self):
            self.headers = {}

        def prepare(self, request):
            return None

    class Requests:
        async def _handle_request(self, request):
            seen.append(correlation.current())
            response.prepare(request)
            return response

    class Request:
        method, scheme, headers = "GET", "http", {"X-Request-ID": "req-7"}

    class Module:
        StreamResponse = Response
        RequestHandler = Requests

    seen = []
    aiohttp.install_protocol(Module)
    aiohttp.install_response(Module)
    response = Response()
    asyncio.run(Requests()._handle_request(Request()))
    assert seen == ["req-7"]
    assert response.headers == {"X-Request-ID": "req-7"}


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)

    __iter__ = __getattr__


def test_headers_that_are_none_of_the_usual_kind_hurt_nobody(arena, monkeypatch):
    from roadworthy.app import guard

    told = []
    monkeypatch.setattr(guard, "failed", lambda place, error: told.append(place))
    request = requests.begin("GET")
    requests.tie(request, 7, None)
    requests.tie(request, "req-7", "")
    http_server._tie(request, Hostile())
    http_server._identify(Hostile(), request)
    aiohttp._identify(Hostile(), request)
    assert wsgi._identified(request, [1]) == [1]
    assert asgi._identified(request, {"headers": [1]}) == {"headers": [1]}
    connection = io.StringIO()
    with correlation.CorrelationContext("x"):
        http_client._identify(connection)
    request.bound = 7
    assert requests.answer_headers(request) == []
    request.end()
    assert set(told) == {"http headers", "http.client headers"}


def test_log_records_and_errors_carry_it(arena):
    with correlation.CorrelationContext("req-7"):
        logs.note(logging.makeLogRecord({"name": "app", "levelno": 30, "msg": "one", "levelname": "WARNING"}))
        errors.record(ValueError("boom"))
        assert operation.current_name() == ""
    told = {event.kind: event.fields["correlation_id"] for event in events(arena)}
    assert told == {"log": "req-7", "error": "req-7"}


def test_entries_of_our_own_loggers_are_counted_and_kept(arena, monkeypatch):
    monkeypatch.setattr(hook, "recorder", None)
    logbook.forget()
    start._first_entry(30, "app.talk", "one", ',"n":1,"nested":{"a":[true]},"s":"x"', 10**18, None)
    hook.recorder(60, "app.talk", "x" * 5000, ',"y":"' + "y" * 4000 + '"', 10**18, ValueError("boom"))
    hook.recorder(30, "app.talk", "x" * 5000, ',"z":1', 10**18, None)
    hook.recorder(30, "app.talk", "bare", "", 10**18, None)
    logbook.forget()
    told = [one for one in events(arena) if one.source != "security"]  # the critical one is that too, told elsewhere
    assert [(one.kind, one.source, one.level) for one in told[:2]] == [("log", "app.talk", 30), ("log", "app.talk", 50)]
    assert told[0].fields == {"n": "1", "nested": '{"a": [true]}', "s": "x"}
    assert (len(told[1].text), told[1].fields["fields"][:5]) == (1800, '"y":"')
    assert told[2].kind == "error"
    assert (len(told[3].text), told[3].fields) == (1800, {"z": "1"})
    assert (told[4].text, told[4].fields) == ("bare", {})
    with reader.Reader(arena.path) as view:
        counted = {dict(one.labels)["level"]: one.value for one in view.series() if one.name == "log.records"}
    assert counted == {"warning": 3, "level 60": 1}


def test_a_short_line_is_kept_as_it_was_written_and_read_like_any_other(arena):
    logbook.forget()
    line = b'{"@timestamp":"2026-01-01T00:00:00.000Z","severity":"INFO","logger":"app","pid":1,"message":"one","n":1}\n'
    logbook.entry(20, "app", "one", ',"n":1', 10**18, None, line)
    logbook.entry(20, "app", "one", ',"n":1', 10**18, None, line + b" " * 500)
    logbook.forget()
    assert [(one.source, one.text, one.fields) for one in events(arena)] == [("app", "one", {"n": "1"})] * 2


def test_an_object_of_fields_that_was_cut_is_shown_as_it_is(arena):
    arena.ring.put(logbook._LOG, 2, b'app\x1ftext\x1f{"n":1,"cut')
    (told,) = events(arena)
    assert told.fields == {"fields": '{"n":1,"cut'}


def test_without_an_arena_an_entry_is_passed_over(monkeypatch):
    monkeypatch.setattr(start, "_arena", None)
    logbook.forget()
    logbook.entry(20, "app", "text", "", 0, None)
