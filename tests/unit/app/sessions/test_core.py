"""Sessions and their tokens, without a server."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

from roadworthy import _clock
from roadworthy.app import sessions as package
from roadworthy.app.sessions import SessionRefused, Sessions, store, wire
from roadworthy.app.sessions.core import hashed
from roadworthy.errors import ConfigurationError, Exhausted
from roadworthy.resilience import BadArgument


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_new_session_has_an_id_a_token_and_two_hours():
    made = run(Sessions().create(player="owl"))
    assert made.answer() == {"session_id": made.session_id, "token": made.token, "expires_in": 7200}
    assert len(made.token) >= 43
    assert made.session_id not in made.token
    assert made.token not in repr(made)


def test_only_a_hash_of_a_token_is_kept():
    async def main():
        sessions = Sessions()
        made = await sessions.create()
        opened = await sessions.open(made.token)
        kept = sessions.store._sessions[made.session_id]
        slots = {name: getattr(kept, name) for name in kept.__slots__}
        return made, opened, str(slots) + str(sessions.store._tokens)

    made, opened, kept = run(main())
    assert made.token not in kept
    assert opened.token not in kept
    assert hashed(made.token) in kept


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "missing"), (None, "missing"), ("wrong", "unknown"), ("x" * 1000, "unknown"), ("\udce4", "unknown"),
        (7, "unknown"),
    ],
)  # fmt: skip
def test_a_token_that_is_none_is_refused(seen, token, reason):
    sessions = Sessions(f"t.{reason}")
    for ask in (sessions.verify, sessions.open):
        with pytest.raises(SessionRefused, match=reason) as refused:
            run(ask(token))
        assert refused.value.reason == reason
    assert seen.value("websocket.refused", sessions=f"t.{reason}", reason=reason) == 2


def test_verifying_changes_nothing_and_opening_spends_the_token():
    async def main():
        sessions = Sessions()
        made = await sessions.create(player="owl")
        assert (await sessions.verify(made.token)).data == {"player": "owl"}
        first = await sessions.open(made.token)
        assert (first.resumed, first.session_id, repr(first)) == (
            False,
            made.session_id,
            f"Session({made.session_id!r})",
        )
        await sessions.confirm(first)
        for ask in (sessions.verify, sessions.open):
            with pytest.raises(SessionRefused, match="replayed"):
                await ask(made.token)
        again = await sessions.open(first.token)
        assert again.resumed
        assert again.token != first.token
        assert await sessions.active() == 1
        await sessions.end(made.session_id)
        with pytest.raises(SessionRefused, match="unknown"):
            await sessions.open(again.token)
        assert await sessions.send(made.session_id, {}) == 0

    run(main())


def test_a_replayed_token_is_a_security_event_once_a_session(monkeypatch):
    heard = []
    monkeypatch.setattr(
        "roadworthy.log.security.log_security_event", lambda kind, *_, **more: heard.append((kind, more))
    )

    async def main():
        sessions = Sessions("t.audit")
        made = await sessions.create()
        await sessions.confirm(await sessions.open(made.token))
        for _ in range(3):
            with pytest.raises(SessionRefused, match="replayed"):
                await sessions.open(made.token)
        return made

    made = run(main())
    told = {"sessions": "t.audit", "session": made.session_id}
    assert heard == [("session_token_replayed", {"additional_data": told})]


@pytest.mark.parametrize("wrong", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_say_is_not_sent(wrong):
    with pytest.raises((TypeError, ValueError)):
        run(Sessions().send("s", wrong))


def test_an_expired_token_is_refused(monkeypatch):
    async def main():
        sessions = Sessions(lifetime="1m")
        made = await sessions.create()
        await sessions.open((await sessions.create()).token)
        monkeypatch.setattr(store, "_clock", SimpleNamespace(monotonic=lambda: _clock.monotonic() + 60))
        with pytest.raises(SessionRefused, match="expired"):
            await sessions.open(made.token)

    run(main())


def test_more_than_the_most_are_refused_and_what_is_no_json_too(seen):
    async def main():
        sessions = Sessions("t.full", most=1)
        await sessions.create()
        with pytest.raises(Exhausted):
            await sessions.create()
        with pytest.raises(BadArgument, match="JSON"):
            await sessions.create(player=object())
        with pytest.raises(BadArgument, match="4096"):
            await sessions.create(player="x" * 5000)
        await sessions.aclose()

    run(main())
    assert seen.value("websocket.refused", sessions="t.full", reason="full") == 1
    assert seen.gauge("sessions.active", sessions="t.full") == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "a b"}, "name"), ({"name": 1}, "name"), ({"lifetime": 0}, "lifetime"), ({"longest": "x"}, "longest"),
        ({"buffer": 0}, "buffer"), ({"buffer_bytes": 0}, "buffer_bytes"), ({"most": 0}, "most"), ({"ping": 0}, "ping"),
        ({"transports": ("cookie",)}, "transports"),
    ],
)  # fmt: skip
def test_an_impossible_setting_is_named(wrong, field):
    with pytest.raises(BadArgument, match=field):
        Sessions(**wrong)


def test_a_url_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="sessions 'sessions'"):
        Sessions(url="http://x")


def test_no_token_reaches_the_log(caplog):
    async def main():
        sessions = Sessions()
        made = await sessions.create()
        with pytest.raises(SessionRefused):
            await sessions.open(made.token + "x")
        return made.token

    with caplog.at_level(logging.DEBUG):
        token = run(main())
    assert token not in caplog.text


BOTH = ("subprotocol", "header")


@pytest.mark.parametrize(
    ("transports", "subprotocols", "authorization", "query", "token"),
    [
        (BOTH, ["roadworthy.session", "token.abc"], "", "", "abc"),
        (BOTH, ["token.abc"], "Bearer xyz", "", "abc"),
        (BOTH, ["roadworthy.session"], "bearer  xyz ", "", "xyz"),
        (BOTH, [], "Basic xyz", "token=q", ""),
        (("header",), ["token.abc"], "", "", ""),
        (("query",), ["token.abc"], "Bearer xyz", "a=1&token=q%2D1", "q-1"),
        (("query",), [], "", "", ""),
        ((), ["token.abc"], "Bearer xyz", "token=q", ""),
    ],
)
def test_a_token_is_taken_from_where_it_may_stand(transports, subprotocols, authorization, query, token):
    assert wire.token_of(transports, subprotocols, authorization, query) == token


def test_what_is_offered_chosen_and_foreign():
    assert wire.offered(" a, b ,,c") == ["a", "b", "c"]
    assert wire.chosen(["token.x", "roadworthy.session"]) == "roadworthy.session"
    assert wire.chosen(["other"]) is None
    assert not wire.foreign("https://a", ())
    assert not wire.foreign("", {"https://a"})
    assert not wire.foreign("https://a", {"https://a"})
    assert wire.foreign("https://b", {"https://a"})


def test_the_package_has_its_names_and_no_others():
    assert dir(package) == ["Channel", "Created", "Session", "SessionRefused", "Sessions"]
    assert package.Channel is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense
