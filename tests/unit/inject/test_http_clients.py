"""Requests to outside services: calls, bytes and identifiers are those that the service itself has seen."""

import asyncio
import http.client
import importlib.util
import io
import socket
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import aiohttp.web
import httpx
import pytest
import urllib3

from roadworthy.app import guard, start
from roadworthy.app.inject import boot
from roadworthy.app.integrations import aiohttp_client, http_calls, http_client, httpx_client, series
from roadworthy.arena import reader
from roadworthy.arena.writer import Arena
from roadworthy.log import correlation
from unit.inject.asking import CLIENTS, parts
from unit.inject.outside import CHUNKS, PACKED, PLAIN, SHORT, Outside

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OURS = {name: ask for name, ask in CLIENTS.items() if "httpx2" not in name or importlib.util.find_spec("httpx2")}
SEAMS = {
    http.client.HTTPConnection: ("putrequest", "endheaders", "send", "getresponse"),
    http.client.HTTPResponse: (*http_client.READS, http_client.READ_BY_URLLIB3),
    httpx.HTTPTransport: ("handle_request",),
    httpx.AsyncHTTPTransport: ("handle_async_request",),
    aiohttp.BaseConnector: ("connect",),
    aiohttp.ClientRequest: ("send", "write_bytes"),
    aiohttp.ClientResponse: ("start",),
}


@pytest.fixture
def watched(monkeypatch):
    """The clients are measured, as they are in an injected program; afterwards they are what they were."""
    seams = dict(SEAMS)
    modules = [(http_client, http.client), (httpx_client, httpx), (aiohttp_client, aiohttp)]
    if "httpx2" in OURS:
        import httpx2

        seams |= {httpx2.HTTPTransport: ("handle_request",), httpx2.AsyncHTTPTransport: ("handle_async_request",)}
        modules.append((httpx_client, httpx2))
    for owner, names in seams.items():
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it comes back
    for ours, module in modules:
        ours.install(module)


@pytest.fixture
def arena(tmp_path, monkeypatch, watched):
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    before = guard.counted()
    series.forget()
    yield made
    series.forget()
    made.close()
    assert guard.counted() == before, "nothing of ours has failed"


@pytest.fixture
def outside():
    with Outside() as service:
        yield service


def calls(arena):
    """Return how often each (method, status, error) was counted."""
    with reader.Reader(arena.path) as view:
        found = {}
        for one in view.series():
            if one.name == http_calls.DURATION:
                said = dict(one.labels)
                assert said["server.address"] == "127.0.0.1"
                key = (said["http.request.method"], said.get("http.response.status_code"), said.get("error.type"))
                found[key] = sum(one.buckets.values())
        return found


def traffic(arena):
    """Return the bytes that were sent and received, None where none were counted."""
    with reader.Reader(arena.path) as view:
        found = {dict(one.labels)["network.io.direction"]: one for one in view.series() if one.name == http_calls.BYTES}
        assert {one.unit for one in found.values()} <= {"By"}
        return tuple(int(found[way].value) if way in found else None for way in ("transmit", "receive"))


@pytest.mark.parametrize("name", OURS)
def test_calls_and_bytes_are_those_that_the_service_has_seen(arena, outside, name):
    answers = OURS[name](
        outside.base,
        [
            ("GET", "/plain", None, {}),
            ("HEAD", "/plain", None, {}),
            ("GET", "/chunked", None, {"X-Own": "kept"}),
            ("GET", "/packed", None, {}),
            ("GET", "/missing", None, {}),
            ("GET", "/moved", None, {}),
            ("POST", "/take", b"c" * 5000, {}),
            ("POST", "/take", parts, {}),
        ],
    )
    assert [status for status, _ in answers] == [200, 200, 200, 200, 404, 200, 200, 200]
    assert [answers[0][1], answers[2][1]] == [PLAIN, b"".join(CHUNKS)]
    assert answers[3][1] in {PACKED, b"packed " * 500}
    assert [length for *_, length in outside.asked] == [0, 0, 0, 0, 0, 0, 0, 5000, 3010]
    assert calls(arena) == {
        ("GET", "200", None): 4,
        ("HEAD", "200", None): 1,
        ("GET", "404", "404"): 1,
        ("GET", "307", None): 1,
        ("POST", "200", None): 2,
    }
    sent, received = traffic(arena)
    assert sent == outside.taken - (outside.marks if "httpx" in name else 0)
    assert received == outside.given


@pytest.mark.parametrize("name", OURS)
def test_identifiers_go_along_except_over_headers_of_the_programs_own(arena, outside, name):
    ask = OURS[name]
    with correlation.CorrelationContext(trace_id=TRACE, span_id=SPAN):
        ask(outside.base, [("GET", "/moved", None, {}), ("GET", "/", None, {"x-request-id": "mine"})])
    ask(outside.base, [("GET", "/", None, {})])
    given = [(said.get("x-request-id"), said.get("traceparent")) for _, _, said, _ in outside.asked]
    full = f"00-{TRACE}-{SPAN}-00"
    assert given == [(TRACE, full), (TRACE, full), ("mine", full), (None, None)]


@pytest.mark.parametrize("name", OURS)
def test_a_refused_connection_is_a_failure_without_bytes(arena, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        base = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError if name in {"http.client", "urllib", "requests", "aiohttp"} else Exception):
            OURS[name](base, [("POST", "/", b"body", {})])
    [((method, status, error), count)] = calls(arena).items()
    assert (method, status, count) == ("POST", None, 1)
    assert error in {"ConnectionRefusedError", "NewConnectionError", "ConnectError", "ClientConnectorError"}
    assert not any(traffic(arena))


@pytest.mark.parametrize("name", OURS)
def test_a_connection_that_ends_without_an_answer_is_a_failure_too(arena, outside, name):
    outside.go_on.set()
    with pytest.raises(Exception, match=r"(?i)disconnected|without response"):
        OURS[name](outside.base, [("POST", "/silent", b"body", {})])
    [((method, status, error), count)] = calls(arena).items()
    assert (method, status, count) == ("POST", None, len(outside.asked))
    assert error in {"RemoteDisconnected", "RemoteProtocolError", "ServerDisconnectedError"}


@pytest.mark.parametrize("name", OURS)
def test_of_a_body_that_ends_too_early_counts_what_came(arena, outside, name):
    if name == "urllib":
        assert OURS[name](outside.base, [("GET", "/short", None, {})]) == [(200, SHORT)], "lines end where they end"
    else:
        with pytest.raises(Exception, match=r"(?i)incomplete|without sending complete|payload"):
            OURS[name](outside.base, [("GET", "/short", None, {})])
    assert calls(arena) == {("GET", "200", None): 1}
    assert traffic(arena) == (outside.taken, len(SHORT))


@pytest.mark.parametrize("name", OURS)
def test_requests_at_the_same_time_are_all_counted(arena, outside, name):
    def one(number):
        with correlation.CorrelationContext(f"req-{number}"):
            return OURS[name](outside.base, [("POST", "/take", b"d" * number, {}), ("GET", "/chunked", None, {})])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, range(1, 9)))
    assert all(answer == [(200, PLAIN), (200, b"".join(CHUNKS))] for answer in answers)
    assert calls(arena) == {("POST", "200", None): 8, ("GET", "200", None): 8}
    assert traffic(arena) == (outside.taken, outside.given)
    told = {said["x-request-id"]: length for method, _, said, length in outside.asked if method == "POST"}
    assert told == {f"req-{number}": number for number in range(1, 9)}


@pytest.mark.parametrize("name", OURS)
def test_without_an_arena_everything_works_and_nothing_is_counted(outside, watched, monkeypatch, name):
    monkeypatch.setattr(start, "_arena", None)
    series.forget()
    before = guard.counted()
    answers = OURS[name](outside.base, [("POST", "/take", parts, {}), ("GET", "/chunked", None, {})])
    assert [status for status, _ in answers] == [200, 200]
    assert guard.counted() == before


# -- streams: nothing is read ahead, nothing twice


def test_a_stream_of_http_client_counts_as_it_is_read(arena, outside):
    connection = http.client.HTTPConnection("127.0.0.1", outside.port, timeout=20)
    connection.request("GET", "/slow")
    answer = connection.getresponse()
    buffer = bytearray(100)
    assert answer.readinto(buffer) == 100
    assert traffic(arena)[1] == 100
    rest = answer.read1(300) + answer.read(len(PLAIN) - 100 - 300)
    while len(rest) < len(PLAIN) - 100:
        rest += answer.read1(len(PLAIN) - 100 - len(rest))
    outside.go_on.set()
    assert answer.readline() == PLAIN
    assert answer.read() == b""
    assert traffic(arena)[1] == 2 * len(PLAIN)
    connection.request("GET", "/chunked")
    answer = connection.getresponse()
    whole = answer.readline(3)
    buffer = bytearray(50_000)
    while got := answer.readinto(buffer):
        whole += buffer[:got]
    assert whole == b"".join(CHUNKS)
    connection.close()
    assert traffic(arena) == (outside.taken, outside.given)


def test_a_stream_of_urllib3_counts_chunk_by_chunk(arena, outside):
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request("GET", outside.base + "/chunked", preload_content=False)
        assert b"".join(answer.read_chunked(7000)) == b"".join(CHUNKS)
        answer.release_conn()
    assert traffic(arena) == (outside.taken, outside.given)


def test_what_is_handed_to_send_counts_where_its_length_is_known(arena, outside, tmp_path):
    (tmp_path / "file").write_bytes(b"e" * 300)
    connection = http.client.HTTPConnection("127.0.0.1", outside.port, timeout=20)

    def post(length, *bodies):
        connection.putrequest("POST", "/take")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        for body in bodies:
            connection.send(body)
        connection.getresponse().read()
        return outside.taken - traffic(arena)[0]

    assert post(6, memoryview(b"abc"), bytearray(b"def")) == 0
    with open(tmp_path / "file", "rb") as file:  # noqa: PTH123 - a file, as the program has one
        file.seek(100)
        assert post(200, file) == 0
    with open(tmp_path / "file", encoding="ascii") as file:  # noqa: PTH123 - as above
        assert post(300, file) == 300, "what a text file says of itself is no number of bytes"

    class Pipe:
        def __init__(self, file):
            self.read = file.read

    assert post(3, Pipe(io.BytesIO(b"abc"))) == 300 + 3
    assert post(6, [b"abc", b"def"]) == 303 + 6
    connection.close()


def test_a_connection_that_breaks_while_a_body_is_sent_is_a_failure(arena, monkeypatch):
    connection = http.client.HTTPConnection("127.0.0.1", 9)

    class Broken:
        error = ConnectionResetError

        def sendall(self, data):
            if data != b"head":
                raise self.error

        def close(self):
            """Be closed."""

    for error in (BrokenPipeError, ConnectionResetError):
        connection.sock = Broken()
        connection.sock.error = error
        connection.putrequest("PUT", "/")
        connection._send_output = lambda *args, **kwargs: connection.send(b"head")
        connection.endheaders()
        with pytest.raises(error):
            connection.send(b"body")
        connection.close()
    assert calls(arena) == {("PUT", None, "ConnectionResetError"): 1}, "the answer to the other may still come"
    assert traffic(arena) == (8, None)


@pytest.mark.parametrize("name", [name for name in ("httpx", "httpx2") if name in OURS])
def test_a_stream_of_httpx_counts_as_it_is_read_and_closed_early(arena, outside, name):
    library = importlib.import_module(name)
    url = outside.base + "/slow"

    async def begin():
        async with library.AsyncClient(trust_env=False) as client, client.stream("GET", url) as answer:
            stream = answer.aiter_raw()
            assert await anext(stream)
            await stream.aclose()
            return answer.num_bytes_downloaded

    with library.Client(trust_env=False) as client:
        with client.stream("GET", url) as answer:
            stream = answer.iter_raw()
            assert next(stream)
            taken = answer.num_bytes_downloaded
            assert traffic(arena)[1] == taken <= len(PLAIN)
        taken += asyncio.run(begin())
        assert traffic(arena)[1] == taken <= 2 * len(PLAIN)
        outside.go_on.set()
        assert client.get(url).content == PLAIN * 2
    assert traffic(arena)[1] == taken + 2 * len(PLAIN)


def test_a_request_of_httpx_is_afterwards_what_the_program_has_made_of_it(arena, outside):
    with correlation.CorrelationContext("req-7"), httpx.Client(trust_env=False) as client:
        request = client.build_request("POST", outside.base, content=parts(), headers={"X-Own": "kept"})
        before, stream = request.headers.raw.copy(), request.stream
        answer = client.send(request)
    assert (request.headers.raw, request.stream) == (before, stream)
    assert answer.request is request
    assert outside.asked[0][2]["x-request-id"] == "req-7"


def test_applications_that_are_called_without_a_network_are_no_outside_services(arena):
    def answer(request):
        return httpx.Response(200, text="here", request=request)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert client.get("http://elsewhere/").text == "here"
    assert calls(arena) == {}


def test_a_session_of_aiohttp_counts_what_came_of_what_it_leaves(arena, outside):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.get(outside.base + "/slow") as answer:
                assert await answer.content.readexactly(len(PLAIN)) == PLAIN
                assert traffic(arena)[1] == 0, "it counts when it is over"
            assert traffic(arena)[1] == len(PLAIN)
            outside.go_on.set()
            with pytest.raises(aiohttp.ClientResponseError):
                await session.get(outside.base + "/missing", raise_for_status=True)
            with pytest.raises(aiohttp.TooManyRedirects):
                await session.get(outside.base + "/moved", max_redirects=1)

    asyncio.run(main())
    assert calls(arena) == {("GET", "200", None): 1, ("GET", "404", "404"): 1, ("GET", "307", None): 1}


def test_what_aiohttp_says_to_a_proxy_is_part_of_the_attempt(arena, outside):
    async def main():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientHttpProxyError):
                await session.get("https://127.0.0.1:1/", proxy=outside.base)
            with pytest.raises(ValueError, match="headers"):
                await session.get(outside.base, headers={"X-Own": "two\nlines"})

    asyncio.run(main())
    assert calls(arena) == {("GET", None, "ClientHttpProxyError"): 1, ("GET", None, "ValueError"): 1}
    assert traffic(arena) == (None, None)


def test_a_websocket_of_aiohttp_is_a_request_whose_messages_do_not_count(arena):
    async def echo(request):
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def main():
        application = aiohttp.web.Application()
        application.router.add_get("/", echo)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str("m" * 5000)
            assert await socket.receive_str() == "m" * 5000
        await runner.cleanup()

    asyncio.run(main())
    assert calls(arena) == {("GET", "101", None): 1}
    sent, received = traffic(arena)
    assert sent < 1000
    assert not received


def test_a_middleware_of_aiohttp_that_asks_again_makes_calls_of_its_own(arena, outside):
    async def twice(request, handler):
        first = await handler(request)
        first.release()
        return await handler(request)

    async def main():
        with correlation.CorrelationContext("req-7"):
            async with aiohttp.ClientSession(middlewares=(twice,)) as session, session.get(outside.base) as answer:
                assert await answer.read() == PLAIN

    asyncio.run(main())
    assert calls(arena) == {("GET", "200", None): 2}
    assert [said["x-request-id"] for _, _, said, _ in outside.asked] == ["req-7", "req-7"]
    assert traffic(arena)[0] == outside.taken


async def aiohttp_get(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()


async def httpx_get(url):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url)


@pytest.mark.parametrize("get", [aiohttp_get, httpx_get])
def test_a_cancelled_attempt_is_a_failure_of_that_name(arena, outside, get):
    async def main():
        task = asyncio.ensure_future(get(outside.base + "/silent"))
        assert await asyncio.to_thread(outside.came.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert calls(arena) == {("GET", None, "CancelledError"): 1}


# -- what we do not know, or what is not as it should be


@pytest.mark.parametrize(
    ("ours", "module", "owner", "name"),
    [
        (httpx_client, httpx, "HTTPTransport", "handle_request"),
        (httpx_client, httpx, "AsyncHTTPTransport", "handle_async_request"),
        (aiohttp_client, aiohttp, "ClientRequest", "send"),
        (aiohttp_client, aiohttp, "ClientResponse", "start"),
    ],
)
def test_a_version_that_has_not_what_we_need_is_left_alone(ours, module, owner, name):
    class Other:
        """A class that lacks it."""

    class Module:
        """The library, with that class."""

        def __getattr__(self, name):
            return getattr(module, name)

    known = Module()
    setattr(known, owner, Other)
    with pytest.raises(AttributeError, match=name):
        ours.install(known)
    assert not any(hasattr(getattr(owner, name), "__wrapped__") for owner, names in SEAMS.items() for name in names)


def test_the_clients_are_waited_for_and_not_imported():
    waited = {name for name, place, _ in boot.TABLE if "client" in place}
    assert waited == {"http.client", "httpx", "httpx2", "aiohttp"}


class Hostile:
    def __getattribute__(self, name):
        raise RuntimeError(name)


def test_what_is_none_of_the_usual_kind_hurts_nobody(watched, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(guard, "failed", lambda place, error: told.append(place))
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    series.forget()

    class Host:
        def __str__(self):
            raise RuntimeError

    http_calls.Call("a call", "GET", Host()).end(200)
    http_client._end(Hostile(), 200, None)
    http_client._follow(Hostile(), None)
    http_client._count_sent(Hostile(), b"x", None)
    http_client._count_received(None, b"x")
    assert http_client._position(Hostile()) is None
    attempt = httpx_client._Attempt(Hostile(), httpx.SyncByteStream)
    attempt.failed(ValueError())
    attempt.answered(None)
    attempt.call = http_calls.Call("httpx", "GET", "host")
    attempt.ours = ["X"]
    attempt._give_back()
    attempt.answered(7)
    assert httpx_client._counting(None)(b"x") == b"x"
    assert httpx_client._Parts(b"x", None).decode() == "x", "what else a stream has is there"
    assert aiohttp_client._begin(Hostile()) is None
    call = http_calls.Call("aiohttp", "GET", "host")
    aiohttp_client._sent(Hostile(), call, Hostile())
    aiohttp_client._follow(Hostile(), call)
    aiohttp_client._Body(None, httpx.Response(200), compressed=False).over()

    class Content:
        total_bytes = 7

    counted = []
    aiohttp_client._Body(counted.append, Content(), compressed=True).over()
    aiohttp_client._Body(counted.append, Content(), compressed=False).over()
    assert counted == [7], "an older aiohttp does not tell how long a compressed body was"
    aiohttp_client._Body(None, Content(), compressed=False).over()

    async def write():
        return "written"

    assert asyncio.run(aiohttp_client._written(call, Hostile(), write())) == "written"
    series.forget()
    made.close()
    assert set(told) == {
        "a call", "http.client", "http.client bytes", "httpx", "httpx bytes", "aiohttp client", "aiohttp client bytes",
    }  # fmt: skip
