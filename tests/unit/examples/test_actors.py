"""The parts of examples/actors: what is remembered, what is read out of a text, who answers by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from contextlib import closing

import pytest

from actors import reading
from actors.cast import CAST
from actors.keys import NO_KEY, UNREADABLE, Keys
from actors.providers import KINDS, Local, Request, transient, why
from actors.store import Exchange, Store
from roadworthy.errors import ConfigurationError
from roadworthy.resilience import DeadlineExceeded


def said(text, character="maren", answered="so", at=1.0, *, complete=True):
    return Exchange(character, text, answered, "m", complete, at)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "data" / "player_memory.db")
    made.prepare()
    return made


def test_tables_and_indexes_are_made_at_the_first_start_and_a_second_changes_nothing(store):
    def schema():
        with closing(sqlite3.connect(store.path)) as connection:
            query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
            return connection.execute(query).fetchall(), connection.execute("PRAGMA journal_mode").fetchone()

    rows, mode = schema()
    player = store.player("k", 1.0)
    store.prepare()
    assert schema() == (rows, mode)
    assert store.player("k", 2.0) == player
    assert mode == ("wal",)
    made = {(kind, name): (table, sql) for kind, name, table, sql in rows}
    tables = {name for kind, name in made if kind == "table"}
    assert tables == {"players", "sessions", "scene_attempts", "personality_profiles", "relationships"}
    assert made["index", "idx_player_id"][1].endswith("ON scene_attempts(player_id)")
    assert made["index", "idx_session_id"][1].endswith("ON sessions(player_id, started_at)")


def test_what_was_said_trusted_and_thought_of_a_player_is_remembered(store):
    one, other = store.player("one", 1.0), store.player("other", 1.0)
    assert one != other
    for number in range(3):
        exchange = said(f"q{number}", at=10.0 + number, complete=number != 2)
        store.keep(one, "s1", "saltmarsh", exchange, ms=5.0, warmth=1, trait="curious" if number else "kind")
    store.keep(one, "s1", "saltmarsh", said("hm", "ines"), ms=5.0, warmth=-2, trait="")
    assert [one_.said for one_ in store.history(one)] == ["q0", "q1", "q2", "hm"]
    assert [one_.said for one_ in store.history(one, 2)] == ["q2", "hm"]
    assert store.history(one)[2].complete is False
    assert store.trust(one) == {"maren": 6, "ines": 1}
    assert store.traits(one, least=1) == ["curious", "kind"]
    assert store.traits(one) == []
    assert store.history(other) == []
    assert store.trust(other) == {}
    assert store.healthy() == "2 players"


def test_trust_stays_between_nothing_and_ten(store):
    player = store.player("k", 1.0)
    for _ in range(12):
        store.keep(player, "s", "x", said("a"), ms=1.0, warmth=1, trait="")
    assert store.trust(player) == {"maren": 10}
    for _ in range(12):
        store.keep(player, "s", "x", said("a"), ms=1.0, warmth=-2, trait="")
    assert store.trust(player) == {"maren": 0}


def test_playing_time_grows_by_at_most_a_minute_at_once(store):
    player = store.player("k", 1.0)
    for now in (100.0, 110.0, 1000.0):
        store.seen("s1", player, now)
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT id, playtime_seconds FROM sessions").fetchall() == [("s1", 70.0)]
    assert store.player_of("s1") == player
    assert store.player_of("s2") == 0


def test_two_writers_wait_for_each_other_and_no_database_is_locked(store):
    player, failed = store.player("k", 1.0), []

    def write():
        try:
            for _ in range(40):
                store.keep(player, "s", "x", said("a"), ms=1.0, warmth=0, trait="kind")
        except sqlite3.Error as error:
            failed.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert len(store.history(player, 1000)) == 80


@pytest.mark.parametrize(
    ("text", "warmth", "trait"),
    [
        ("Thank you, Maren", 1, "kind"), ("Why is it dark?", 1, "curious"), ("You are a liar", -2, "harsh"),
        ("I will row out tonight", 0, "brave"), ("The sea.", 0, ""), ("", 0, ""),
    ],
)  # fmt: skip
def test_how_a_text_lands(text, warmth, trait):
    assert (reading.warmth(text), reading.trait(text)) == (warmth, trait)


def test_trust_has_three_bands_so_that_a_repeated_question_is_the_same_for_a_while():
    words = "little little little somewhat somewhat somewhat somewhat much much much much"
    assert [reading.band(n) for n in range(11)] == words.split()


def test_what_was_said_before_about_the_same_is_recalled_but_not_the_question_itself():
    history = [
        said("Tell me of the ferry"), said("The ferry again"), said("the FERRY, again!"), said("Of the ferry", "ines"),
        said("And the storm?"),
    ]  # fmt: skip
    assert reading.recalled("Where is the ferry?", "maren", history) == [
        "the FERRY, again!",
        "The ferry again",
        "Tell me of the ferry",
    ]
    assert reading.recalled("the ferry again", "maren", history) == ["Tell me of the ferry"]
    assert reading.recalled("Anything?", "maren", history) == []


def answer(text, character="maren", **more):
    return Local(0).text(Request(character, "", text, **more))


def test_the_local_generator_answers_the_same_question_the_same():
    assert answer("Why is the lamp dark?") == answer("why is the LAMP dark") in CAST["maren"].topics["lamp"]
    assert answer("Why is the lamp dark?", "tobias") != answer("Why is the lamp dark?")
    assert "Ask me about the" in answer("Hm.")
    assert "“And the lamp?”" in answer("The lamp", recalled=("And the lamp?",))
    assert answer("The lamp", trust=8).startswith(tuple(CAST["maren"].warm))


def test_its_pieces_are_its_answer():
    async def pieces():
        return [piece async for piece in Local(0).stream(Request("ines", "", "Is that a map?"))]

    assert "".join(asyncio.run(pieces())) == answer("Is that a map?", "ines")


def test_every_character_has_instructions_with_what_is_known_of_the_player():
    for one in CAST.values():
        text = one.system(7, ["kind"], ["And the lamp?"])
        for part in (one.name, one.nature, "trust the player much", "kind", "- And the lamp?"):
            assert part in text
        assert "remember" not in one.system(3, [], [])


class Answered(Exception):
    def __init__(self, status):
        super().__init__()
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "again", "reason"),
    [
        (Answered(429), True, "the provider asks for a pause"),
        (Answered(503), True, "the provider is down"),
        (Answered(529), True, "the provider is down"),
        (Answered(401), False, "the API key is refused"),
        (Answered(400), False, "the provider answered 400"),
        (ConnectionError(), True, "the provider failed (ConnectionError)"),
        (DeadlineExceeded("late"), True, "the provider is too slow"),
        (ValueError(), False, "the provider failed (ValueError)"),
    ],
)
def test_what_may_be_tried_again_and_what_the_player_is_told(error, again, reason):
    assert (transient(error), why(error)) == (again, reason)


def test_without_a_key_there_is_no_provider(tmp_path):
    assert Keys({}, tmp_path).provider() == (None, NO_KEY, None)


class Client:
    """Stands in for a company's client, which takes seconds to import: tests/live has the real ones."""

    def __init__(self, key, model, base_url):
        self.key, self.model, self.base_url = key.reveal(), model, base_url


@pytest.fixture
def clients(monkeypatch):
    monkeypatch.setattr("actors.keys.FRESH", 0.0)
    for kind, (name, model, _) in tuple(KINDS.items()):
        monkeypatch.setitem(KINDS, kind, (name, model, Client))


def put(folder, text):
    (folder / ".env").write_text(text)
    (folder / ".env").chmod(0o600)


def test_a_key_that_is_put_there_rotated_and_taken_away_is_followed_without_a_restart(tmp_path, clients):
    keys = Keys({"ACTORS_OPENAI_MODEL": "gpt-x", "ACTORS_ANTHROPIC_BASE_URL": "http://x"}, tmp_path)
    assert keys.provider()[0] is None
    put(tmp_path, "OPENAI_API_KEY=first-key-of-the-test\n")
    first, _, none = keys.provider()
    assert (first.key, first.model, none) == ("first-key-of-the-test", "gpt-x", None)
    assert keys.provider() == (first, "", None)
    put(tmp_path, "OPENAI_API_KEY=second-key-of-the-test\n")
    second, _, before = keys.provider()
    assert (second.key, before) == ("second-key-of-the-test", first)
    put(tmp_path, "ANTHROPIC_API_KEY=third-key-of-the-test\n")
    third, _, before = keys.provider()
    assert (third.model, third.base_url, before) == ("claude-haiku-4-5", "http://x", second)
    (tmp_path / ".env").unlink()
    assert keys.provider() == (None, NO_KEY, third)


def test_the_environment_has_keys_too_and_one_provider_may_be_asked_for(tmp_path, clients):
    keys = {"ANTHROPIC_API_KEY": "key-a-of-the-test", "OPENAI_API_KEY": "key-o-of-the-test"}
    made = [Keys(keys, tmp_path).provider()[0], Keys({**keys, "ACTORS_PROVIDER": "openai"}, tmp_path).provider()[0]]
    assert [one.key for one in made] == ["key-a-of-the-test", "key-o-of-the-test"]


def test_a_client_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)
    assert Keys({"ANTHROPIC_API_KEY": "key-a-of-the-test"}, tmp_path).provider() == (
        None,
        "anthropic is not installed",
        None,
    )


def test_a_key_that_cannot_be_read_is_logged_and_is_none(tmp_path, caplog):
    keys = Keys({}, tmp_path)
    put(tmp_path, "OPENAI_API_KEY='unfinished\n")
    for _ in range(2):
        assert keys.provider() == (None, UNREADABLE, None)
    assert caplog.text.count("key_not_read") == 1
    put(tmp_path, "OPENAI_API_KEY=a-key-that-others-may-read\n")
    (tmp_path / ".env").chmod(0o644)
    assert Keys({}, tmp_path).provider() == (None, UNREADABLE, None)
    with pytest.raises(ConfigurationError):
        Keys({"SECRETS_BACKEND": "nonsense"}, tmp_path)
