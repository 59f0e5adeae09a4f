"""Sessions over real WebSockets: the same suite for ASGI (uvicorn) and aiohttp, in one process with its client."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from roadworthy import _clock
from roadworthy.app.sessions import Sessions, channel, core
from roadworthy.errors import Unavailable
from roadworthy.testing import recording
from support.servers import Redis, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
PATIENCE = 30


@pytest.fixture(params=["asgi", "aiohttp"])
def kind(request):
    return request.param


async def nothing(scope, receive, send):
    """Answer what is not the guard's."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4404})
        return
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served(kind, sessions, handler, app=nothing):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    at = f"127.0.0.1:{listening.getsockname()[1]}"
    if kind == "asgi":
        config = uvicorn.Config(
            sessions.asgi(app, handler), log_level="warning", lifespan="off", ws="websockets-sansio"
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        running = asyncio.create_task(server._serve([listening]))
        await until(lambda: server.started)
        try:
            yield at
        finally:
            server.should_exit = server.force_exit = True
            await running
    else:
        runner = web.AppRunner(sessions.aiohttp(web.Application(), handler), shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        try:
            yield at
        finally:
            await runner.cleanup()
    await sessions.aclose()


async def echo(opened):
    async for message in opened:
        if message == "die":
            raise LookupError("asked to")
        if message == "bye":
            return
        await opened.send({"echo": message, "resumed": opened.resumed, "data": opened.data})


class Client:
    """What the browser's script does, by hand."""

    def __init__(self, at, token, last=0):
        self.at = at
        self.token = token
        self.last = last
        self.lost = 0

    async def __aenter__(self):
        offered = [channel.SUBPROTOCOL, f"token.{self.token}"]
        self.socket = await connect(f"ws://{self.at}/ws", subprotocols=offered)
        assert self.socket.subprotocol == channel.SUBPROTOCOL
        self.welcome = await self.hear("welcome")
        self.token = self.welcome["token"]
        await self.tell(type="ready", last=self.last)
        return self

    async def __aexit__(self, *raised):
        await self.socket.close()

    async def tell(self, **message):
        await self.socket.send(json.dumps(message))

    async def hear(self, kind="message"):
        async with asyncio.timeout(PATIENCE):
            while True:
                said = json.loads(await self.socket.recv())
                if said["type"] == "message":
                    self.last = said["id"]
                if said["type"] == kind:
                    return said

    async def closed(self):
        async with asyncio.timeout(PATIENCE):
            return await closed(self.socket)

    async def cut(self):
        self.socket.transport.abort()
        await self.socket.wait_closed()


async def closed(open_):
    try:
        while True:
            await open_.recv()
    except ConnectionClosed as over:
        return over.rcvd.code


async def created(at, method="POST"):
    async with aiohttp.ClientSession() as http, http.request(method, f"http://{at}/api/session") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        return await answer.json()


async def until(look):
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - what is looked at is another library's, or another process's
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_endpoint_gives_what_opens_a_connection(kind, method):
    async with served(kind, Sessions(), echo) as at:
        made = await created(at, method)
        assert set(made) == {"session_id", "token", "expires_in"}
        async with Client(at, made["token"]) as client:
            assert client.welcome["session_id"] == made["session_id"]
            assert client.welcome["resumed"] is False
            await client.tell(type="message", id=1, data="hi")
            assert (await client.hear("ack"))["id"] == 1
            assert (await client.hear())["data"] == {"echo": "hi", "resumed": False, "data": {}}


async def test_wrong_missing_expired_and_replayed_tokens_are_refused_before_the_connection_is_accepted(kind):
    called = []

    async def handler(opened):
        called.append(opened)

    sessions = Sessions()
    async with served(kind, sessions, handler) as at:
        made = await created(at)
        client = Client(at, made["token"])
        async with client:
            await until(lambda: len(called) == 1)
        brief = await sessions.create()
        sessions.store._sessions[brief.session_id].ends = 0.0
        for token in ("wrong", made["token"], brief.token):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{at}/ws", subprotocols=[channel.SUBPROTOCOL, f"token.{token}"])
            assert refused.value.response.status_code == 403
        for options in ({}, {"additional_headers": {"Authorization": "Basic x"}}, {"subprotocols": ["other"]}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{at}/ws?token={client.token}", **options)
            assert refused.value.response.status_code == 403
    assert len(called) == 1


async def test_a_token_may_come_in_a_header_the_query_or_the_first_message_where_that_is_allowed(kind):
    sessions = Sessions(transports=("header", "query", "message"))
    async with served(kind, sessions, echo) as at:
        async with connect(
            f"ws://{at}/ws", additional_headers={"Authorization": f"Bearer {(await created(at))['token']}"}
        ) as open_:
            assert json.loads(await open_.recv())["type"] == "welcome"
        async with connect(f"ws://{at}/ws?token={(await created(at))['token']}") as open_:
            assert json.loads(await open_.recv())["type"] == "welcome"
        async with connect(f"ws://{at}/ws") as open_:
            await open_.send(json.dumps({"token": (await created(at))["token"]}))
            assert json.loads(await open_.recv())["type"] == "welcome"
        for said in ('{"token": "wrong"}', "nonsense", '{"token": 7}'):
            async with connect(f"ws://{at}/ws") as open_:
                await open_.send(said)
                with pytest.raises(ConnectionClosed) as refused:
                    await open_.recv()
                assert refused.value.rcvd.code == 4401


async def patiently(transport):
    return json.loads(await transport.receive())["token"]


async def test_who_says_nothing_first_is_closed(kind, monkeypatch):
    sessions = Sessions(transports=("message",))
    async with served(kind, sessions, echo) as at:
        async with connect(f"ws://{at}/ws") as open_:
            await open_.send(json.dumps({"token": (await created(at))["token"]}))
            assert json.loads(await open_.recv())["type"] == "welcome"
        monkeypatch.setattr(channel, "FIRST_WORD", 0.05)
        async with connect(f"ws://{at}/ws") as open_:
            with pytest.raises(ConnectionClosed) as refused:
                await open_.recv()
            assert refused.value.rcvd.code == 4401
        monkeypatch.setattr(channel, "first_token", patiently)
        async with connect(f"ws://{at}/ws") as open_:
            await open_.send(json.dumps({"token": (await created(at))["token"]}))
            assert await closed(open_) == 4400


async def test_the_endpoint_says_whether_a_token_is_good(kind):
    async with served(kind, Sessions(), echo) as at, aiohttp.ClientSession() as http:
        made = await created(at)
        for token, status in ((made["token"], 204), ("wrong", 401), ("", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.head(f"http://{at}/api/session", headers=headers) as answer:
                assert answer.status == status
        async with http.put(f"http://{at}/api/session") as answer:
            assert answer.status == 405
        async with http.get(f"http://{at}/api/session.js") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/javascript"
            assert "export function connect" in await answer.text()
        async with http.get(f"http://{at}/elsewhere") as answer:
            assert answer.status == 404


async def test_no_room_and_foreign_origins_are_refused(kind):
    sessions = Sessions(most=1, origins=["https://good.example"])
    async with served(kind, sessions, echo) as at, aiohttp.ClientSession() as http:
        made = await created(at)
        async with http.post(f"http://{at}/api/session") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "60"
        async with http.post(f"http://{at}/api/session", headers={"Origin": "https://bad.example"}) as answer:
            assert answer.status == 403
        offered = [channel.SUBPROTOCOL, f"token.{made['token']}"]
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{at}/ws", subprotocols=offered, origin="https://bad.example")
        assert refused.value.response.status_code == 403
        async with connect(f"ws://{at}/ws", subprotocols=offered, origin="https://good.example"):
            pass


async def test_a_cut_connection_resumes_with_nothing_lost_and_nothing_twice(kind):
    sessions = Sessions()
    async with served(kind, sessions, echo) as at:
        made = await created(at)
        client = Client(at, made["token"])
        got = []
        async with client:
            await client.tell(type="message", id=1, data="one")
            got.append(await client.hear())
            await client.tell(type="message", id=2, data="two")
            await client.hear("ack")
            await client.cut()
        for n in range(3):
            await sessions.send(made["session_id"], {"meanwhile": n})
        client.last = got[0]["id"]
        async with client:
            assert client.welcome["resumed"] is True
            await client.tell(type="message", id=2, data="two")  # its acknowledgement may have been lost
            await client.tell(type="message", id=3, data="three")
            while len(got) < 6:
                got.append(await client.hear())
            assert client.lost == 0
        assert [one["id"] for one in got] == [1, 2, 3, 4, 5, 6]
        assert got[1]["data"]["echo"] == "two"
        assert [one["data"] for one in got[2:5]] == [{"meanwhile": n} for n in range(3)]
        assert got[5]["data"] == {"echo": "three", "resumed": True, "data": {}}


async def test_a_connection_that_was_cut_before_the_new_token_arrived_comes_back_with_the_old_one(kind):
    async with served(kind, Sessions(), echo) as at:
        made = await created(at)
        offered = [channel.SUBPROTOCOL, f"token.{made['token']}"]
        first = await connect(f"ws://{at}/ws", subprotocols=offered)
        first.transport.abort()
        await first.wait_closed()
        async with Client(at, made["token"]) as client:
            assert client.welcome["session_id"] == made["session_id"]


async def test_messages_that_did_not_fit_are_told_as_lost(kind, monkeypatch):
    sessions = Sessions("t.lost", buffer=2)
    async with served(kind, sessions, echo) as at:
        made = await created(at)
        for n in range(5):
            await sessions.send(made["session_id"], n)
        async with Client(at, made["token"]) as client:
            assert (await client.hear("lost"))["messages"] == 3
            assert (await client.hear())["data"] == 3
            assert (await client.hear())["data"] == 4


async def test_the_one_who_opens_last_has_the_session(kind):
    async with served(kind, Sessions(), echo) as at:
        first = Client(at, (await created(at))["token"])
        async with first:
            await first.tell(type="message", id=1, data="x")
            await first.hear()
            second = Client(at, first.token, first.last)
            async with second:
                assert await first.closed() == channel.REPLACED
                await second.tell(type="message", id=2, data="y")
                assert (await second.hear())["data"]["echo"] == "y"


async def test_an_ended_session_closes_its_connection(kind):
    sessions = Sessions()
    async with served(kind, sessions, echo) as at:
        made = await created(at)
        async with Client(at, made["token"]) as client:
            await client.tell(type="message", id=1, data="x")
            await client.hear()
            await sessions.end(made["session_id"])
            assert await client.closed() == channel.ENDED


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("nonsense", 4400), ("[]", 4400), ('{"type": "what", "id": 1}', 4400), ('{"type": "ack"}', 4400),
        ('{"type": "message", "id": 1}', 4400), ('{"type": "message", "id": true, "data": 1}', 4400),
        (b"\x00", 4400), ("x" * (channel.MOST_TEXT + 1), 1009),
    ],
)  # fmt: skip
async def test_what_is_not_understood_closes_the_connection(kind, said, code):
    async with served(kind, Sessions(), echo) as at, Client(at, (await created(at))["token"]) as client:
        await client.socket.send(said)
        assert await client.closed() == code


async def test_who_does_not_begin_with_ready_is_closed(kind):
    async with served(kind, Sessions(), echo) as at:
        offered = [channel.SUBPROTOCOL, f"token.{(await created(at))['token']}"]
        async with connect(f"ws://{at}/ws", subprotocols=offered) as open_:
            await open_.send('{"type": "ready", "last": -1}')
            assert await closed(open_) == 4400


async def test_the_handler_may_end_close_or_fail(kind, monkeypatch):
    failed = []
    monkeypatch.setattr(core.guard, "failed", lambda place, error: failed.append(error) or False)

    async def handler(opened):
        if opened.session_id == closing["session_id"]:
            await opened.close(4000, "enough")
            await asyncio.sleep(PATIENCE)
        await echo(opened)

    monkeypatch.setattr(channel, "LINGER", 0.05)
    async with served(kind, Sessions(), handler) as at:
        closing = await created(at)
        async with Client(at, closing["token"]) as client:
            assert await client.closed() == 4000
        for said, code in (("bye", 1000), ("die", 1011)):
            async with Client(at, (await created(at))["token"]) as client:
                await client.tell(type="message", id=1, data=said)
                assert await client.closed() == code
    assert failed == []


async def test_silent_clients_are_pinged_and_closed_and_answering_ones_kept(kind):
    sessions = Sessions(ping=0.05)
    async with served(kind, sessions, echo) as at, Client(at, (await created(at))["token"]) as client:
        for _ in range(6):
            await client.hear("ping")
            await client.tell(type="pong")
        assert await client.closed() == channel.TRY_AGAIN


async def test_who_is_pinged_often_has_the_same_time_to_say_a_first_word(kind):
    sessions = Sessions(transports=("message",), ping=0.01)
    async with served(kind, sessions, echo) as at, connect(f"ws://{at}/ws") as open_:
        await asyncio.sleep(0.1)
        await open_.send(json.dumps({"token": (await created(at))["token"]}))
        assert json.loads(await open_.recv())["type"] == "welcome"
        await asyncio.sleep(0.1)
        await open_.send('{"type": "ready", "last": 0}')
        assert json.loads(await open_.recv())["type"] == "ping"


async def test_a_program_that_was_stopped_does_not_take_its_clients_for_silent(kind):
    async def stops(opened):
        async for message in opened:
            _clock.sleep(0.5)  # ten pings' time, in which nothing is sent and nothing is read
            await opened.send(message)

    sessions = Sessions(ping=0.05)
    async with served(kind, sessions, stops) as at, Client(at, (await created(at))["token"]) as client:
        await client.tell(type="message", id=1, data="x")
        await client.hear()
        for _ in range(6):
            await client.hear("ping")
            await client.tell(type="pong")


async def test_a_connection_renews_its_session_as_long_as_it_lasts(kind):
    sessions = Sessions(lifetime=4)
    async with served(kind, sessions, echo) as at, Client(at, (await created(at))["token"]) as client:
        kept = sessions.store._sessions[client.welcome["session_id"]]
        for number in (1, 2):
            before = kept.ends
            await until(lambda before=before: kept.ends > before)
            await client.tell(type="message", id=number, data="still here")
            assert (await client.hear())["data"]["echo"] == "still here"
        assert await sessions.alive(client.welcome["session_id"])
    assert not await sessions.alive("nobody")


async def test_connections_disconnections_and_active_sessions_are_counted(kind, tmp_path, monkeypatch):
    sessions = Sessions("t.counted." + kind)
    label = {"sessions": sessions.name}
    with recording() as seen:
        async with served(kind, sessions, echo) as at:
            client = Client(at, (await created(at))["token"])
            async with client:
                assert seen.gauge("websocket.active", **label) == 1
                await client.cut()
            await until(lambda: seen.gauge("websocket.active", **label) == 0)
            async with client:
                pass
            await until(lambda: seen.gauge("websocket.active", **label) == 0)
            assert seen.value("websocket.connections", **label) == 2
            assert seen.value("websocket.resumes", **label) == 1
            assert seen.value("websocket.disconnections", how="abnormal", **label) == 1
            assert seen.value("websocket.disconnections", how="clean", **label) == 1
            assert seen.gauge("sessions.active", **label) == 1


async def test_an_application_may_speak_its_own_protocol_behind_the_guard():
    async def app(scope, receive, send):
        if scope["type"] != "websocket" or "roadworthy.session" not in scope:
            await nothing(scope, receive, send)
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["roadworthy.session"].session_id})
        await receive()

    sessions = Sessions(transports=("header", "message"))
    async with served("asgi", sessions, None, app) as at:
        made = await created(at)
        headers = {"Authorization": f"Bearer {made['token']}"}
        async with connect(f"ws://{at}/ws", additional_headers=headers) as open_:
            assert await open_.recv() == made["session_id"]
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{at}/ws", additional_headers={"Authorization": "Bearer x"})
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{at}/other")
        async with connect(f"ws://{at}/ws") as open_:
            await open_.send(json.dumps({"token": made["token"]}))
            assert json.loads(await open_.recv())["type"] == "welcome"
            await open_.send('{"type": "ready", "last": 0}')
            await open_.send('{"type": "message", "id": 1, "data": 1}')
            assert json.loads(await open_.recv())["type"] == "ack"


@pytest.mark.service("redis-server")
async def test_a_session_moves_from_one_instance_to_another_through_redis(kind, service):
    with Redis(service("redis-server")) as redis:
        here, there = (Sessions(url=redis.url) for _ in range(2))
        async with served(kind, here, echo) as one, served(kind, there, echo) as other:
            client = Client(one, (await created(one))["token"])
            async with client:
                await client.tell(type="message", id=1, data="here")
                assert (await client.hear())["data"]["echo"] == "here"
                client.at = other
                moved = Client(other, client.token, client.last)
                async with moved:
                    assert await client.closed() == channel.REPLACED
                    await here.send(moved.welcome["session_id"], "from the first instance")
                    assert (await moved.hear())["data"] == "from the first instance"


@pytest.mark.service("redis-server")
async def test_a_store_that_goes_away_closes_its_connections_to_be_tried_again(kind, service, monkeypatch):
    monkeypatch.setattr(core.guard, "report", lambda place, what: None)
    with Redis(service("redis-server")) as redis:
        sessions = Sessions(url=redis.url)
        async with served(kind, sessions, echo) as at:
            async with Client(at, (await created(at))["token"]) as client:
                await client.tell(type="message", id=1, data="x")
                await client.hear()
                await asyncio.to_thread(redis.stop)
                with suppress(ConnectionClosed):  # it may have been noticed already
                    await client.tell(type="message", id=2, data="y")
                assert await client.closed() == channel.TRY_AGAIN
            await asyncio.to_thread(redis.start)
            async with Client(at, (await created(at))["token"]) as client:
                await client.tell(type="message", id=1, data="z")
                assert (await client.hear())["data"]["echo"] == "z"


@pytest.mark.parametrize("where", ["confirm", "after", "take", "handler"])
async def test_a_store_that_cannot_be_asked_is_no_failure_of_the_handler(kind, where, monkeypatch):
    told, sessions = [], Sessions()
    monkeypatch.setattr(core.guard, "report", lambda place, what: told.append(place))

    async def away(*given):
        raise Unavailable("the store of the sessions does not answer")

    async def handler(opened):
        async for message in opened:
            await (away() if where == "handler" else opened.send(message))

    async with served(kind, sessions, handler) as at:
        made = await created(at)
        if where != "handler":
            monkeypatch.setattr(sessions.store, where, away)
        async with Client(at, made["token"]) as client:
            with suppress(ConnectionClosed):
                await client.tell(type="message", id=1, data="x")
            assert await client.closed() == channel.TRY_AGAIN
    assert set(told) == {"websocket session"}


async def test_who_says_more_than_the_handler_takes_is_kept_waiting_and_is_not_silent(kind, monkeypatch):
    monkeypatch.setattr(channel, "MOST_WAITING", 1)
    go_on = asyncio.Event()

    async def slow(opened):
        await go_on.wait()
        async for message in opened:
            await opened.send(message)

    async with served(kind, Sessions(ping=0.05), slow) as at, Client(at, (await created(at))["token"]) as client:
        for number in range(1, 5):
            await client.tell(type="message", id=number, data=number)
        for _ in range(6):
            await client.hear("ping")
        go_on.set()
        got = []
        while len(got) < 4:
            got.append((await client.hear())["data"])
        assert got == [1, 2, 3, 4]


async def test_who_was_kept_waiting_is_not_silent_while_the_store_is_asked_either(kind, monkeypatch):
    monkeypatch.setattr(channel, "MOST_WAITING", 1)
    go_on, answered, sessions = asyncio.Event(), asyncio.Event(), Sessions(ping=0.05)
    take = sessions.store.take

    async def slowly(session_id, number):
        if number == 2:  # the one that waited
            await answered.wait()
        return await take(session_id, number)

    async def slow(opened):
        await go_on.wait()
        async for message in opened:
            await opened.send(message)

    monkeypatch.setattr(sessions.store, "take", slowly)
    async with served(kind, sessions, slow) as at, Client(at, (await created(at))["token"]) as client:
        for number in (1, 2):
            await client.tell(type="message", id=number, data=number)
        for _ in range(6):
            await client.hear("ping")
        go_on.set()
        assert (await client.hear())["data"] == 1
        await client.hear("ping")
        answered.set()
        assert (await client.hear())["data"] == 2


async def test_while_the_store_is_away_nothing_is_opened_and_it_is_no_refusal(kind):
    sessions = Sessions(url=f"redis://127.0.0.1:{free_port()}/0")
    async with served(kind, sessions, echo) as at, aiohttp.ClientSession() as http:
        async with http.post(f"http://{at}/api/session") as answer:
            assert answer.status == 503
        async with http.head(f"http://{at}/api/session", headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 503
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{at}/ws", subprotocols=[channel.SUBPROTOCOL, "token.x"])
