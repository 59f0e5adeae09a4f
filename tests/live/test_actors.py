"""The actors' dialogue against an emulated provider over real HTTP, with the companies' own clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

import roadworthy as rw
from actors.dialogue import Answer, Dialogue
from actors.keys import Keys
from actors.providers import Local, Request
from support.provider import ANSWER, Provider
from support.running import wait_for
from support.servers import Redis, answers, free_port

pytestmark = [pytest.mark.live, pytest.mark.anyio]

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "sk-actors-test-0001"
NAMES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}


def put(folder, kind, key):
    (folder / ".env").write_text(f"{NAMES[kind]}={key}\n")
    (folder / ".env").chmod(0o600)


@pytest.fixture
def provider():
    with Provider(KEY) as running:
        yield running


@pytest.fixture(params=["anthropic", "openai"])
def kind(request):
    return request.param


@pytest.fixture
async def made(provider, tmp_path, monkeypatch):
    """Return a function from a kind to its dialogue; the clients that were opened are closed at the end."""
    monkeypatch.setattr("actors.keys.FRESH", 0.0)
    opened = []

    def make(kind, key=KEY):
        put(tmp_path, kind, key)
        keys = Keys(provider.env(), tmp_path)
        opened.append(Dialogue(keys, rw.cache(f"t.dialogue.{len(opened)}"), Local(0)))
        return opened[-1]

    yield make
    for dialogue in opened:
        await closed(dialogue)


async def ask(dialogue, text="Why is the lamp dark?", system="You are Maren."):
    answer = Answer()
    pieces = [piece async for piece in dialogue.stream(Request("maren", system, text), answer)]
    assert "".join(pieces) == answer.text
    return answer, len(pieces)


async def closed(dialogue):
    found, _, before = dialogue._keys.provider()
    for one in (found, before):
        if one is not None:
            await one.close()


async def test_a_provider_answers_in_pieces_and_the_same_question_again_comes_from_the_cache(kind, made, provider):
    dialogue = made(kind)
    answer, pieces = await ask(dialogue)
    assert (answer.text, answer.label, answer.cached, answer.complete) == (ANSWER, "", False, True)
    assert pieces == 4
    assert answer.llm_ms > 0
    again, _ = await ask(dialogue, "  why is the LAMP dark? ")
    assert (again.text, again.cached) == (ANSWER, True)
    assert len(provider.asked) == 1
    assert (await ask(dialogue, system="You are Tobias."))[0].cached is False


async def test_a_provider_that_asks_for_a_pause_gets_it_and_then_answers(kind, made, provider):
    provider.busy, provider.retry_after = 2, "1"
    begun = time.monotonic()
    answer, _ = await ask(made(kind))
    assert (answer.text, answer.label) == (ANSWER, "")
    assert time.monotonic() - begun >= 2
    assert len(provider.asked) == 3


async def test_one_that_goes_on_saying_so_is_stood_in_for_and_it_is_said(kind, made, provider, caplog):
    provider.mode = "busy"
    with caplog.at_level(logging.WARNING):
        answer, _ = await ask(dialogue := made(kind))
    assert answer.label == "local generator: the provider asks for a pause"
    assert answer.model == "local generator"
    assert answer.complete
    record = next(one for one in caplog.records if one.message == "provider_failed")
    assert record.error_type == "RateLimitError"
    provider.mode = "ok"
    assert (await ask(dialogue))[0].text == ANSWER  # what stood in was not kept in the cache


async def test_a_provider_that_is_down_is_cut_off_and_taken_back(kind, made, provider):
    dialogue = made(kind)
    dialogue.policy.breaker.reset()
    await ask(dialogue, "warm up")
    provider.down()
    for _ in range(3):
        answer, _ = await ask(dialogue)
        assert answer.label.removeprefix("local generator: the provider is ") in {"not reachable", "down"}
    assert dialogue.policy.breaker.state == "open"
    assert (await ask(dialogue))[0].label == "local generator: the provider is down"
    provider.up()
    dialogue.policy.breaker.reset()
    assert (await ask(dialogue))[0].text == ANSWER


async def test_an_answer_that_breaks_off_says_so_and_is_not_kept(kind, made, provider):
    provider.mode = "cut"
    answer, _ = await ask(dialogue := made(kind))
    assert answer.text
    assert ANSWER.startswith(answer.text)
    assert not answer.complete
    assert answer.label.startswith("cut off: ")
    provider.mode = "ok"
    assert (await ask(dialogue))[0].text == ANSWER


async def test_a_refused_key_is_said_and_a_rotated_one_is_used_without_a_restart(
    kind, made, provider, tmp_path, caplog
):
    dialogue = made(kind, "sk-actors-stale-0000")
    with caplog.at_level(logging.INFO):
        assert (await ask(dialogue))[0].label == "local generator: the API key is refused"
        assert len(provider.asked) == 1  # no attempt is made again with it
        put(tmp_path, kind, KEY)
        assert (await ask(dialogue))[0].text == ANSWER
        (tmp_path / ".env").unlink()
        assert (await ask(dialogue, "another"))[0].label == "local generator: no API key"
    assert [key for _, key, _, _ in provider.asked] == ["sk-actors-stale-0000", KEY]
    assert KEY not in caplog.text


async def test_an_answer_that_is_needed_no_more_ends_the_request(made, provider):
    dialogue = made("anthropic")
    request = Request("maren", "", "x")
    async with contextlib.aclosing(dialogue.stream(request, Answer())) as pieces:
        async for _ in pieces:
            break
    task = asyncio.create_task(ask(dialogue, "y"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert dialogue.policy.breaker.state == "closed"


@contextlib.asynccontextmanager
async def instance(data, redis):
    port = free_port()
    env = {
        **os.environ, "ACTORS_DATA": str(data), "REDIS_URL": redis, "ACTORS_PACE": "0.1", "PYTHONPATH": str(EXAMPLES),
        "ROADWORTHY_HOME": str(data / "rw"), "ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "", "SECRETS_BACKEND": "",
    }  # fmt: skip
    argv = [sys.executable, "-m", "uvicorn", "actors.app:app", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, cwd=data) as process:  # noqa: ASYNC220 - it takes a millisecond
        try:
            await asyncio.to_thread(wait_for, lambda: answers(port), "it listens", 60)
            yield port
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)


async def opened(port, token):
    made = await connect(f"ws://127.0.0.1:{port}/ws", subprotocols=["roadworthy.session", f"token.{token}"])
    return made, json.loads(await made.recv())["token"]


async def heard(socket, stop):
    """Return what is said until the first that ``stop`` holds for, with the number of the last."""
    got = []
    async with asyncio.timeout(60):
        while True:
            said = json.loads(await socket.recv())
            if said["type"] == "message":
                got.append(said["data"])
                if stop(said["data"]):
                    return got, said["id"]


@pytest.mark.service("redis-server")
async def test_an_answer_that_one_instance_makes_is_resumed_at_another(service, tmp_path):
    with Redis(service("redis-server")) as redis:
        async with instance(tmp_path, redis.url) as one, instance(tmp_path, redis.url) as other:
            async with aiohttp.ClientSession() as http, http.post(f"http://127.0.0.1:{one}/api/session") as answer:
                token = (await answer.json())["token"]
            first, token = await opened(one, token)
            await first.send(json.dumps({"type": "ready", "last": 0}))
            await first.send(json.dumps({"type": "message", "id": 1, "data": {"hello": {}}}))
            asked = {"say": "Why is the lamp dark?", "to": "maren"}
            await first.send(json.dumps({"type": "message", "id": 2, "data": asked}))
            before, last = await heard(first, lambda said: "chunk" in said)
            second, token = await opened(other, token)
            await second.send(json.dumps({"type": "ready", "last": last}))
            after, last = await heard(second, lambda said: "done" in said)
            text = "".join(said.get("chunk", "") for said in [*before, *after])
            assert text == Local(0).text(Request("maren", "", "Why is the lamp dark?"))
            assert after[-1]["done"]["complete"]
            await second.send(json.dumps({"type": "message", "id": 3, "data": asked}))
            again, _ = await heard(second, lambda said: "done" in said)
            assert again[-1]["done"]["cached"]
            await first.close()
            await second.close()
