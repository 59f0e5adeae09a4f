"""The service: a page, sessions, and characters that answer in pieces over a WebSocket.

What the client sends:   {"hello": {"player": KEY or ""}}   {"say": TEXT, "to": CHARACTER}   {"cancel": NUMBER}
What it is sent:         {"player": KEY, "characters": …, "history": …, "answering": …}
                         {"answer": NUMBER, "character", "said"}   {"answer", "chunk"}   {"answer", "done": …}

Answers are made by tasks of their own: a cut connection does not stop them, and what they said meanwhile is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

import roadworthy as rw
from actors import reading
from actors.cast import CAST, PLACE, SCENE
from actors.dialogue import Answer, Dialogue
from actors.keys import Keys
from actors.providers import Local, Request
from actors.store import Exchange, Store
from roadworthy.app.sessions import Channel, Sessions
from roadworthy.errors import Unavailable
from roadworthy.log import configure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request as HttpRequest

HERE = Path(__file__).resolve().parent / "page"
DATA = Path(os.environ.get("ACTORS_DATA", "data"))
REDIS = os.environ.get("REDIS_URL")
LONGEST = 600
log = logging.getLogger("actors")

store = Store(DATA / "player_memory.db")
cache = rw.cache("dialogue", max_size=int(os.environ.get("ACTORS_CACHE_SIZE", "500")), ttl="10m", url=REDIS)
sessions = Sessions("actors", url=REDIS, lifetime=os.environ.get("ACTORS_SESSION_LIFETIME", "2h"))
pace = float(os.environ.get("ACTORS_PACE", "0.03"))
dialogue = Dialogue(Keys(os.environ, DATA), cache, Local(pace))


class Player:
    """One session's player and the answer that is being made for it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.id = 0
        self.number = 0
        self.task: asyncio.Task[None] | None = None
        self.now: dict[str, Any] | None = None


players: dict[str, Player] = {}


async def talk(channel: Channel) -> None:
    """Hear what one client says, for as long as it is connected."""
    player = players.setdefault(channel.session_id, Player(channel.session_id))
    if channel.resumed and not player.id:  # it was another instance's until now
        player.id = await asyncio.to_thread(store.player_of, channel.session_id)
    async for said in channel:
        if not isinstance(said, dict):
            continue
        if "hello" in said:
            await welcome(player, said["hello"])
        elif "say" in said and player.id and said.get("to") in CAST:
            text = str(said["say"]).strip()[:LONGEST]
            if text:
                await cancel(player)
                player.number = max(player.number + 1, int(time.time() * 1000))  # no other instance's number
                player.task = asyncio.create_task(answered(player, player.number, str(said["to"]), text))
        elif "cancel" in said and said["cancel"] == player.number:
            await cancel(player)


async def welcome(player: Player, hello: object) -> None:
    """Find the player by its key, which is made for a new one, and say where things stand."""
    key = str(hello.get("player") or "") if isinstance(hello, dict) else ""
    if not 20 <= len(key) <= 100:
        key = secrets.token_urlsafe(24)
    player.id = await asyncio.to_thread(store.player, hashlib.sha256(key.encode()).hexdigest(), time.time())
    await asyncio.to_thread(store.seen, player.session_id, player.id, time.time())
    past = await asyncio.to_thread(store.history, player.id)
    trust = await asyncio.to_thread(store.trust, player.id)
    characters = [
        {"id": one.id, "name": one.name, "role": one.role, "greeting": one.greeting, "trust": trust.get(one.id)}
        for one in CAST.values()
    ]
    shown = [
        {"character": e.character, "said": e.said, "text": e.answered, "model": e.model, "complete": e.complete}
        for e in past
    ]
    told = {"player": key, "place": PLACE, "characters": characters, "history": shown, "answering": player.now}
    await sessions.send(player.session_id, told)


async def cancel(player: Player) -> None:
    """End an answer that nobody needs any more."""
    if player.task is not None and not player.task.done():
        player.task.cancel()
        await asyncio.wait({player.task})


async def answered(player: Player, number: int, character: str, said: str) -> None:
    """Make one answer, stream it, remember it; a failure of ours is recorded and told."""
    try:
        await answer_to(player, number, character, said)
    except Exception as error:  # noqa: BLE001 - whatever it is, the player must not wait for ever
        rw.error(error, operation="dialogue")
        done = {"model": "", "label": "something failed here; say it again", "complete": False}
        with contextlib.suppress(Unavailable):
            await sessions.send(player.session_id, {"answer": number, "done": done})


async def answer_to(player: Player, number: int, character: str, said: str) -> None:
    """Make one answer, stream it, remember it."""
    begun = time.monotonic()
    history = await asyncio.to_thread(store.history, player.id, 200)
    traits = await asyncio.to_thread(store.traits, player.id)
    trust = (await asyncio.to_thread(store.trust, player.id)).get(character, 3)
    recalled = reading.recalled(said, character, history)
    system = CAST[character].system(trust, traits, recalled)
    answer = Answer()
    player.now = {"answer": number, "character": character, "said": said, "text": ""}
    await sessions.send(player.session_id, {"answer": number, "character": character, "said": said})
    try:
        with rw.operation("dialogue", character=character):
            request = Request(character, system, said, tuple(recalled), trust)
            async with contextlib.aclosing(dialogue.stream(request, answer)) as pieces:
                async for piece in pieces:
                    player.now["text"] = answer.text
                    if not await sessions.send(player.session_id, {"answer": number, "chunk": piece}):
                        break  # the session has ended: nobody will ever read it
    except asyncio.CancelledError:
        answer.label = "stopped"
    finally:
        player.now = None
    ms = (time.monotonic() - begun) * 1000
    if answer.text:
        one = Exchange(character, said, answer.text, answer.model, answer.complete, time.time())
        warmth, trait = reading.warmth(said), reading.trait(said)
        await asyncio.to_thread(store.keep, player.id, player.session_id, SCENE, one, ms=ms, warmth=warmth, trait=trait)
        await asyncio.to_thread(store.seen, player.session_id, player.id, time.time())
    fields = {
        "character": character, "model": answer.model, "response_time_ms": round(ms, 1), "cached": answer.cached,
        "llm_response_time_ms": None if answer.llm_ms is None else round(answer.llm_ms, 1), "complete": answer.complete,
    }  # fmt: skip
    log.info("dialogue_generated", extra=fields)
    rw.usage("dialogue", "cached" if answer.cached else answer.model, success=answer.complete)
    done = {
        "model": answer.model, "label": answer.label, "cached": answer.cached, "complete": answer.complete,
        "ms": round(ms), "trust": (await asyncio.to_thread(store.trust, player.id)).get(character),
    }  # fmt: skip
    await sessions.send(player.session_id, {"answer": number, "done": done})


async def tidy() -> None:
    """Forget players whose session is over and whose answer is out."""
    beat = rw.heartbeat("actors", every=5)
    while True:
        beat.beat()
        await asyncio.sleep(5)
        with contextlib.suppress(Unavailable):  # later, when the store of the sessions answers again
            for session_id, player in list(players.items()):
                if (player.task is None or player.task.done()) and not await sessions.alive(session_id):
                    players.pop(session_id, None)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Make the tables, look for a key, and end what runs at the end."""
    await asyncio.to_thread(store.prepare)
    rw.startup.checkpoint("database")
    await asyncio.to_thread(dialogue.prepare)
    rw.check("database", store.healthy)
    tidying = asyncio.create_task(tidy())
    rw.startup.ready()
    yield
    tidying.cancel()
    for player in list(players.values()):
        await cancel(player)
    await sessions.aclose()
    await cache.aclose()


def file(name: str) -> Route:
    """Return the route of a file of the page."""

    async def answer(_: HttpRequest) -> FileResponse:
        return FileResponse(HERE / (name or "index.html"), headers={"Cache-Control": "no-cache"})

    return Route(f"/{name}", answer)


async def health(_: HttpRequest) -> JSONResponse:
    """Answer 200 while the tables can be written."""
    try:
        return JSONResponse({"status": "ok", "database": await asyncio.to_thread(store.healthy)})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is bad
        return JSONResponse({"status": "unhealthy", "database": type(error).__name__}, status_code=503)


configure("actors")
pages = Starlette(routes=[file(""), file("page.js"), file("page.css"), Route("/health", health)], lifespan=lifespan)
app = sessions.asgi(pages, talk)
