"""Clients whose requests go through a policy: one suite for all of them, against a real server on this machine."""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import pytest
import requests

from roadworthy import _clock
from roadworthy.errors import Unavailable
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.breaker import CircuitBreaker
from roadworthy.resilience.hedge import Hedge
from roadworthy.resilience.policy import Policy
from roadworthy.resilience.rejected import BreakerOpen, DeadlineExceeded
from roadworthy.resilience.retry import Retry
from roadworthy.resilience.timeout import HEADER, deadline
from roadworthy.resilience.transports import busy, failed, status
from roadworthy.resilience.transports.aiohttp import middleware
from roadworthy.resilience.transports.httpx import AsyncTransport, Transport
from roadworthy.resilience.transports.requests import Adapter

LONG = 30


class Upstream:
    """Answers each request as the list says: a status, (status, headers), "drop" or an event to wait for."""

    def __init__(self):
        self.answers = []
        self.seen = []
        self.lock = threading.Lock()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.body()
                with upstream.lock:
                    upstream.seen.append((self.command, dict(self.headers), body))
                    answer = upstream.answers.pop(0) if upstream.answers else 200
                if isinstance(answer, threading.Event):
                    answer.wait(LONG)
                    answer = 200
                if answer == "drop":
                    self.close_connection = True
                    self.connection.close()
                    return
                code, headers = answer if isinstance(answer, tuple) else (answer, {})
                text = json.dumps({"number": len(upstream.seen)}).encode()
                self.send_response(code)
                for name, value in {"Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names that http.server looks for

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that went away is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def methods(self):
        return [method for method, _, _ in self.seen]

    @property
    def deadlines(self):
        return [headers.get(HEADER) for _, headers, _ in self.seen]

    def close(self):
        for answer in self.answers:
            if isinstance(answer, threading.Event):
                answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def upstream():
    made = Upstream()
    yield made
    made.close()


def stream():
    yield b"once"


async def astream():
    yield b"once"


class Httpx:
    errors = httpx.TransportError
    stream = staticmethod(stream)

    def send(self, policy, method, url, *, content=None, headers=None, seconds=None, **options):
        with httpx.Client(transport=Transport(policy, **options)) as client:
            if seconds is None:
                return client.request(method, url, content=content, headers=headers).status_code
            with deadline(seconds):
                return client.request(method, url, content=content, headers=headers).status_code


class HttpxAsync:
    errors = httpx.TransportError
    stream = staticmethod(astream)

    def send(self, policy, method, url, *, content=None, headers=None, seconds=None, **options):
        async def main():
            async with httpx.AsyncClient(transport=AsyncTransport(policy, **options)) as client:
                if seconds is None:
                    return (await client.request(method, url, content=content, headers=headers)).status_code
                with deadline(seconds):
                    return (await client.request(method, url, content=content, headers=headers)).status_code

        return asyncio.run(main())


class Requests:
    errors = requests.ConnectionError, requests.Timeout
    stream = staticmethod(stream)

    def send(self, policy, method, url, *, content=None, headers=None, seconds=None, **options):
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", Adapter(policy, **options))
            if seconds is None:
                return session.request(method, url, data=content, headers=headers).status_code
            with deadline(seconds):
                return session.request(method, url, data=content, headers=headers).status_code


class Aiohttp:
    errors = aiohttp.ClientError
    stream = staticmethod(astream)

    def send(self, policy, method, url, *, content=None, headers=None, seconds=None, **options):
        async def main():
            async with aiohttp.ClientSession(middlewares=(middleware(policy, **options),)) as session:

                async def once():
                    async with session.request(method, url, data=content, headers=headers) as response:
                        await response.read()
                        return response.status

                if seconds is None:
                    return await once()
                with deadline(seconds):
                    return await once()

        return asyncio.run(main())


CLIENTS = [Httpx(), HttpxAsync(), Requests(), Aiohttp()]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: type(client).__name__.lower())


def policy_of(client, attempts=3, **options):
    retry = Retry(attempts, on=client.errors, on_result=busy, backoff=(0.001, 0.001))
    return Policy("upstream", **{"retry": retry, **options})


@every_client
def test_a_request_that_may_be_repeated_is_tried_again(client, upstream):
    upstream.answers = [503, 429, 200]
    assert client.send(policy_of(client), "GET", upstream.url) == 200
    assert upstream.methods == ["GET"] * 3


@every_client
def test_the_last_answer_stands_when_attempts_are_used_up(client, upstream):
    upstream.answers = [503, 503, 503, 200]
    assert client.send(policy_of(client), "GET", upstream.url) == 503
    assert len(upstream.seen) == 3


@every_client
def test_a_body_is_sent_again_with_each_attempt(client, upstream):
    upstream.answers = [503, 200]
    assert client.send(policy_of(client), "PUT", upstream.url, content=b"all of it") == 200
    assert [body for _, _, body in upstream.seen] == [b"all of it"] * 2


@every_client
def test_a_lost_connection_is_an_exception_that_retry_may_name(client, upstream):
    upstream.answers = ["drop", "drop", "drop", 200]
    assert client.send(policy_of(client, 6), "GET", upstream.url) == 200


@every_client
def test_a_request_that_may_not_be_repeated_is_sent_once(client, upstream):
    upstream.answers = [503, 200]
    assert client.send(policy_of(client), "POST", upstream.url, content=b"order") == 503
    assert upstream.methods == ["POST"]


@every_client
def test_which_methods_may_be_repeated_can_be_said(client, upstream):
    upstream.answers = [503, 200, 503]
    assert client.send(policy_of(client), "POST", upstream.url, methods={"post"}) == 200
    assert client.send(policy_of(client), "GET", upstream.url, methods={"POST"}) == 503


@every_client
def test_a_body_that_can_be_read_only_once_is_sent_once(client, upstream):
    upstream.answers = [503, 200]
    assert client.send(policy_of(client), "PUT", upstream.url, content=client.stream()) == 503
    assert len(upstream.seen) == 1


@every_client
def test_the_pause_that_the_answer_asks_for_is_kept(client, upstream):
    upstream.answers = [(503, {"Retry-After": "1"}), 200]
    begun = _clock.monotonic()
    assert client.send(policy_of(client), "GET", upstream.url) == 200
    assert _clock.monotonic() - begun >= 1


@every_client
def test_an_answer_that_asks_for_more_time_than_there_is_stands(client, upstream):
    upstream.answers = [(503, {"Retry-After": "20"}), 200]
    assert client.send(policy_of(client), "GET", upstream.url, seconds=10) == 503
    upstream.answers = [(503, {"Retry-After": "Fri, 31 Dec 2190 23:59:59 GMT"}), 200]
    assert client.send(policy_of(client), "GET", upstream.url) == 503
    upstream.answers = [(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), 200]
    assert client.send(policy_of(client), "GET", upstream.url) == 200


@every_client
def test_what_is_left_of_the_deadline_goes_with_each_attempt(client, upstream):
    upstream.answers = [503, 200]
    assert client.send(policy_of(client), "GET", upstream.url, seconds=20) == 200
    first, second = (int(value) for value in upstream.deadlines)
    assert 0 < second <= first <= 20_000
    assert client.send(policy_of(client), "GET", upstream.url) == 200
    assert upstream.deadlines[2] is None


@every_client
def test_a_header_that_the_caller_set_is_left_alone(client, upstream):
    assert client.send(policy_of(client), "GET", upstream.url, headers={HEADER.lower(): "77"}, seconds=20) == 200
    assert [
        value for _, headers, _ in upstream.seen for name, value in headers.items() if name.lower() == HEADER.lower()
    ] == ["77"]


@every_client
def test_an_upstream_that_hangs_costs_no_more_than_the_deadline(client, upstream):
    hung = threading.Event()
    upstream.answers = [hung] * 3
    begun = _clock.monotonic()
    try:
        with pytest.raises((DeadlineExceeded, *_tuple(client.errors))):
            client.send(policy_of(client), "GET", upstream.url, seconds=0.3)
        assert _clock.monotonic() - begun < LONG / 2
    finally:
        hung.set()


def _tuple(errors):
    return errors if isinstance(errors, tuple) else (errors,)


@every_client
def test_an_open_breaker_sends_nothing(client, upstream):
    upstream.answers = [500] * 9
    breaker = CircuitBreaker(consecutive=2, failure_if=failed, open_for=60)
    policy = policy_of(client, retry=None, breaker=breaker)
    for _ in range(2):
        assert client.send(policy, "GET", upstream.url) == 500
    with pytest.raises(BreakerOpen):
        client.send(policy, "GET", upstream.url)
    assert len(upstream.seen) == 2


@every_client
def test_a_slow_answer_is_hedged_only_where_the_request_may_be_repeated(client, upstream):
    slow = threading.Event()
    upstream.answers = [slow, 200]
    try:
        assert client.send(policy_of(client, hedge=Hedge(0.05)), "GET", upstream.url) == 200
        assert len(upstream.seen) == 2
    finally:
        slow.set()
    upstream.seen.clear()
    late = threading.Event()
    upstream.answers = [late, 200]
    threading.Timer(0.3, late.set).start()
    assert client.send(policy_of(client, hedge=Hedge(0.05)), "POST", upstream.url, content=b"order") == 200
    assert len(upstream.seen) == 1


def test_answers_that_are_not_returned_are_closed():
    made = []

    class Inner(httpx.BaseTransport):
        def handle_request(self, request):
            made.append(Answer())
            return httpx.Response(503 if len(made) < 3 else 200, stream=made[-1], request=request)

    class InnerAsync(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            made.append(Answer())
            return httpx.Response(503 if len(made) < 3 else 200, stream=made[-1], request=request)

    class Answer(httpx.SyncByteStream, httpx.AsyncByteStream):
        closed = False

        def close(self):
            self.closed = True

        async def aclose(self):
            self.closed = True

    policy = policy_of(Httpx())
    request = httpx.Request("GET", "http://upstream/")
    response = Transport(policy, Inner()).handle_request(request)
    assert response.status_code == 200
    assert [answer.closed for answer in made] == [True, True, False]
    made.clear()

    async def main():
        response = await AsyncTransport(policy, InnerAsync()).handle_async_request(request)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert response.status_code == 200
        assert [answer.closed for answer in made] == [True, True, False]

    asyncio.run(main())


def test_the_timeouts_of_httpx_are_shortened_to_what_is_left():
    seen = []

    class Inner(httpx.BaseTransport):
        def handle_request(self, request):
            seen.append(request.extensions["timeout"])
            return httpx.Response(200, request=request)

    with httpx.Client(transport=Transport(policy_of(Httpx()), Inner()), timeout=httpx.Timeout(5, read=None)) as client:
        client.get("http://upstream/")
        with deadline(2):
            client.get("http://upstream/")
    assert seen[0] == {"connect": 5, "read": None, "write": 5, "pool": 5}
    assert all(0 < seconds <= 2 for seconds in seen[1].values())
    assert len(seen[1]) == 4


@pytest.mark.parametrize(
    ("given", "shortest"), [(None, 2), (5, 2), (1, 1), ((5, None), (2, 2)), ((1, 5), (1, 2)), ("urllib3", "urllib3")]
)
def test_the_timeouts_of_requests_are_shortened_to_what_is_left(given, shortest, monkeypatch):
    monkeypatch.setattr(_clock, "monotonic_ns", lambda: 10**12)
    seen = []

    class Inner:
        def send(self, request, timeout, **_):
            seen.append(timeout)
            return requests.Response()

    request = requests.Request("GET", "http://upstream/").prepare()
    adapter = Adapter(Policy("upstream"), Inner())
    adapter.send(request, timeout=given)
    with deadline(2):
        adapter.send(request, timeout=given)
    assert seen == [given, shortest]


@pytest.mark.parametrize("methods", ["GET", {5}, {"GET /"}, [None]])
def test_impossible_methods_are_refused_by_name(methods):
    for make in (Transport, AsyncTransport, Adapter, middleware):
        with pytest.raises(BadArgument, match="methods"):
            make(Policy("upstream"), methods=methods)


@pytest.mark.parametrize(
    ("library", "make"),
    [("httpx", Transport), ("httpx", AsyncTransport), ("requests", Adapter), ("aiohttp", middleware)],
)
def test_a_library_that_is_not_installed_is_named(library, make, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unavailable) as refused:
        make(Policy("upstream"))
    assert f"pip install {library}" in str(refused.value)


def test_an_aiohttp_without_middlewares_is_told(monkeypatch):
    monkeypatch.delattr(aiohttp, "ClientMiddlewareType")
    with pytest.raises(Unavailable, match=r"3\.12"):
        middleware(Policy("upstream"))


def test_the_status_of_an_answer_is_found_whatever_the_client():
    class Answer:
        status = 503

    assert status(httpx.Response(404)) == 404
    assert status(Answer()) == 503
    assert status({"no": "answer"}) is None
    assert [busy(httpx.Response(code)) for code in (200, 429, 500, 503, 504)] == [False, True, False, True, True]
    assert [failed(httpx.Response(code)) for code in (200, 404, 500, 503)] == [False, False, True, True]
    assert not failed(None)
