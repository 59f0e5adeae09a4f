"""The server on real sockets: ports, slow and broken clients, streams that are left, and a stop that ends."""

import asyncio
import contextlib
import json
import socket

import pytest

from roadworthy.agent import connection
from roadworthy.agent.server import Server, new_token
from roadworthy.errors import PortInUse, Refused, Unavailable, UsageError
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import gauge, quiet
from unit.view.sources import Past, Source, clock

pytestmark = pytest.mark.anyio

TOKEN = "t" * 40


def make(source=None, **settings):
    made = routes(source or Source(quiet()), Past(), now_ns=clock())
    return Server(made, token=TOKEN, public=PUBLIC, **{"port": 0, **settings})


async def until(holds, deadline=60):
    async with asyncio.timeout(deadline):
        while not holds():  # noqa: ASYNC110 - what is asked for has no event of its own
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(server):
    server.bind()
    task = asyncio.create_task(server.serve())
    await until(lambda: not (not all(one.started for one in server._servers) or not server._servers))
    try:
        yield server
    finally:
        server.stop()
        async with asyncio.timeout(10):
            await task


async def talk(port, raw, *, until_closed=True):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(10):
        answer = await (reader.read() if until_closed else reader.read(65536))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body


async def test_it_answers_on_a_real_socket_without_telling_what_it_is():
    async with serving(make()) as server:
        answer = await talk(server.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status, headers, body = split(answer)
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert "server" not in headers
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /api/restart HTTP/1.1\r\nHost: localhost\r\nContent-Length: nonsense\r\n\r\n",
        b"GET /" + b"\xff" * 20 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_document(raw):
    async with serving(make()) as server:
        status, headers, body = split(await talk(server.port, raw))
        assert status in {400, 401, 431, 505}
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
        assert split(await talk(server.port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    "raw", [b"", b"GET /health HTTP/1.1\r\nHost: local", b"POST /api/restart HTTP/1.1\r\nHost: localhost\r\n"]
)
async def test_a_client_that_never_finishes_its_request_is_let_go(raw, monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT", 0.05)
    async with serving(make()) as server:
        status, _, body = split(await talk(server.port, raw))
    assert (status, json.loads(body)["code"]) == (408, "request-too-slow")


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("roadworthy.agent.gate.BODY_TIMEOUT", 0.05)
    raw = (
        b"POST /api/restart HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 10\r\n\r\n{"
        % TOKEN.encode()
    )
    async with serving(make()) as server:
        status, _, body = split(await talk(server.port, raw))
    assert (status, json.loads(body)["code"]) == (408, "body-too-slow")


async def test_too_many_connections_are_refused_and_the_others_live(monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 3)
    async with serving(make()) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        await until(lambda: not (len(server._servers[0].server_state.connections) < 3))
        status, _, body = split(await talk(server.port, b""))
        assert (status, json.loads(body)["code"]) == (503, "too-many-connections")
        for _, writer in idle:
            writer.close()
        await until(lambda: not (server._servers[0].server_state.connections))
        assert split(await talk(server.port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"))[0] == 200


async def test_a_client_that_does_not_read_its_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.1)
    many = tuple(gauge(f"metric.{number}", number * 1.5, label="x" * 200) for number in range(20_000))
    async with serving(make(Source(quiet(series=many)))) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connections = server._servers[0].server_state.connections
            await until(lambda: connections)
            await until(lambda: not connections)


async def test_a_stream_that_its_client_left_is_forgotten():
    source = Source(quiet())
    async with serving(make(source)) as server:
        answer = await talk(server.port, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n", until_closed=False)
        assert b"text/event-stream" in answer
        await until(lambda: source.publish(quiet()) or not source.callbacks)


async def test_a_stop_ends_open_streams_soon():
    source = Source(quiet())
    server = make(source)
    async with serving(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"event: snapshot")
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    assert source.callbacks == []


async def test_a_given_port_that_is_taken_is_an_error_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use") as caught:
            make(port=port, port_given=True).bind()
        assert "--ops-port" in caught.value.hint
        free = make(port=port)
        free.bind()
        assert free.port > port
        assert free.url == f"http://127.0.0.1:{free.port}"
        free.close()


@pytest.mark.parametrize(
    ("settings", "kind"), [({"host": "192.0.2.1"}, Unavailable), ({"probe_bind": "nonsense"}, UsageError)]
)
async def test_an_address_that_cannot_be_listened_on_is_one_clear_error(settings, kind):
    made = make(**settings)
    with pytest.raises(kind):
        made.bind()
    assert made._listening == []


async def test_the_probe_listener_answers_probes_and_nothing_else():
    async with serving(make(probe_bind="127.0.0.1:0")) as server:
        port = server._listening[1].getsockname()[1]
        assert split(await talk(port, b"GET /livez HTTP/1.0\r\nHost: pod.example\r\n\r\n"))[2] == b"ok"
        assert split(await talk(port, b"GET /api/snapshot HTTP/1.0\r\nHost: localhost\r\n\r\n"))[0] == 401
        authorised = (
            b"GET /api/snapshot HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode()
        )
        assert split(await talk(port, authorised))[0] == 404


def test_a_token_is_made_once_and_private(tmp_path):
    file = tmp_path / "token"
    token = new_token(file)
    assert len(token) >= 40
    assert file.stat().st_mode & 0o777 == 0o600
    assert new_token(file) == token


@pytest.mark.parametrize("content", ["", "short", "with space " * 10, "a/b" * 30])
def test_a_token_file_that_holds_no_token_gets_one(tmp_path, content):
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(0o644)
    token = new_token(file)
    assert token != content.strip()
    assert file.read_text().strip() == token
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_token_file_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_text("x" * 43)
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        new_token(tmp_path / "token")
    (tmp_path / "hard").hardlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        new_token(tmp_path / "hard")


def test_a_server_without_a_token_is_refused():
    with pytest.raises(Refused):
        Server([], token="")
