"""What every history store promises; each implementation runs through the same suite."""

from __future__ import annotations

import math
import sqlite3
import time

import pytest

from roadworthy.agent.history.postgres import PostgresHistory
from roadworthy.agent.history.sqlite import MOST_NAMES, SqliteHistory
from roadworthy.errors import Unavailable
from roadworthy.types import ExitStatus, IncidentSummary
from support.running import wait_for
from support.servers import Postgres

BASE = 1_800_000_000 - 1_800_000_000 % 3600


@pytest.fixture(scope="module")
def postgres(service):
    with Postgres(service("postgresql")) as server:
        yield server


@pytest.fixture
def place(tmp_path):
    return tmp_path / "history"


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request, place):
    """Return what opens the history in a place as an agent would after a start at ``now``."""
    if request.param == "sqlite":
        return lambda now=BASE, where=place: SqliteHistory(where, now=now)
    server = request.getfixturevalue("postgres")
    source = f"{request.node.name}@here"
    return lambda now=BASE, where=place: PostgresHistory(
        server.url, where, "demo", source=source, now=now, carry_every=0.05
    )


@pytest.fixture
def history(make):
    made = make()
    yield made
    made.close()


@pytest.fixture
def in_sqlite(place):
    made = SqliteHistory(place, now=BASE)
    yield made
    made.close()


def fill(history, seconds, start=BASE, **figures):
    for second in range(seconds):
        history.append(start + second + 0.3, {name: float(f(second)) for name, f in figures.items()})


def test_what_was_appended_a_second_ago_is_answered(history):
    fill(history, 5, a=lambda s: s)
    assert history.query(["a"], BASE, BASE + 5, 5)["a"] == [(BASE + s, float(s)) for s in range(5)]


def test_a_second_without_a_sample_is_a_gap_and_not_zero(history):
    history.append(BASE, {"a": 1.0})
    history.append(BASE + 2, {"a": 3.0, "b": 1.0})
    found = history.query(["a", "b"], BASE, BASE + 3, 3)
    assert found["a"] == [(BASE, 1.0), (BASE + 1, None), (BASE + 2, 3.0)]
    assert found["b"] == [(BASE, None), (BASE + 1, None), (BASE + 2, 1.0)]


def test_a_name_that_was_never_kept_has_no_pairs(history):
    fill(history, 2, a=lambda s: s)
    assert history.query(["other"], BASE, BASE + 2, 2)["other"] == []


def test_figures_that_are_not_finite_are_gaps(history):
    history.append(BASE, {"a": math.nan, "b": math.inf})
    found = history.query(["a", "b"], BASE, BASE + 1, 1)
    assert [value for pairs in found.values() for _, value in pairs] in ([], [None, None], [None], [None, None])


def test_whole_numbers_are_exact_after_compression_and_others_within_a_ten_thousandth(history):
    fill(history, 200, count=lambda s: 123_456_789_012 + 7 * s, share=lambda s: 0.001 * (1 + s % 17))
    found = history.query(["count", "share"], BASE, BASE + 200, 200)
    assert [value for _, value in found["count"]] == [123_456_789_012.0 + 7 * s for s in range(200)]
    assert [value for _, value in found["share"]] == pytest.approx([0.001 * (1 + s % 17) for s in range(200)], rel=1e-4)


def test_fewer_points_are_means_and_the_maximum_can_be_asked_for(history):
    fill(history, 120, a=lambda s: 500.0 if s == 65 else s % 10)
    assert history.query(["a"], BASE, BASE + 120, 12)["a"][0] == (BASE, 4.5)
    assert max(value for _, value in history.query(["a:max"], BASE, BASE + 120, 12)["a:max"]) == 500.0


@pytest.mark.timeout(240)
def test_after_an_hour_the_coarser_tiers_hold_mean_and_maximum(in_sqlite):
    fill(in_sqlite, 3700, a=lambda s: 1000.0 if s == 1234 else 1.0)
    assert dict(in_sqlite.db.execute("SELECT tier, count(DISTINCT start) FROM tiles GROUP BY tier")) == {
        0: 61,
        1: 6,
        2: 1,
    }
    hour = in_sqlite.query(["a", "a:max"], BASE, BASE + 3600, 60)
    assert hour["a:max"][20][1] == 1000.0
    assert hour["a"][20][1] == pytest.approx(1.0 + 999 / 60, rel=1e-3)
    assert all(value is not None for _, value in hour["a"])


def test_what_is_older_than_the_fine_tier_is_answered_from_the_coarse_one(in_sqlite):
    fill(in_sqlite, 3700, a=lambda s: 2.0)
    in_sqlite.db.execute("DELETE FROM tiles WHERE tier = 0 AND start < ?", (BASE + 1800,))
    found = in_sqlite.query(["a"], BASE, BASE + 3600, 3600)["a"]
    assert found[0] == (BASE, 2.0)
    assert found[-1] == (BASE + 3599, 2.0)


def test_a_restart_goes_on_where_the_last_one_was_killed(make):
    first = make()
    fill(first, 90, a=lambda s: s)
    # Killed: nothing is closed or flushed; another process maps the same file.
    second = make(now=BASE + 91)
    fill(second, 20, start=BASE + 91, a=lambda s: s + 91)
    found = second.query(["a"], BASE, BASE + 111, 111)["a"]
    assert [value for _, value in found] == [float(s) if s != 90 else None for s in range(111)]
    second.close()
    first.close()


def test_a_restart_after_a_long_pause_keeps_the_minute_that_was_open(make):
    first = make()
    fill(first, 30, a=lambda s: s)
    first.close()
    second = make(now=BASE + 7200)
    assert [value for _, value in second.query(["a"], BASE, BASE + 30, 30)["a"]] == [float(s) for s in range(30)]
    second.close()


def test_more_names_than_there_is_room_for_are_refused_and_listed(history):
    history.append(BASE, {f"n{number}": 1.0 for number in range(MOST_NAMES + 5)})
    assert len(history.refused) == 5
    assert history.query(["n7"], BASE, BASE + 1, 1)["n7"] == [(BASE, 1.0)]


def test_a_broken_database_is_set_aside_with_a_notice_and_history_goes_on(place):
    made = SqliteHistory(place, now=BASE)
    fill(made, 5, a=lambda s: s)
    made.close()
    (place / "history.db").write_bytes(b"this is no database" * 1000)
    again = SqliteHistory(place, now=BASE)
    assert "set aside" in again.notices[0]
    assert (place / "history.db.broken").exists()
    fill(again, 5, a=lambda s: s)
    assert again.query(["a"], BASE, BASE + 5, 5)["a"][4] == (BASE + 4, 4.0)
    again.close()


def test_a_database_that_breaks_while_in_use_is_replaced(in_sqlite, place, monkeypatch):
    fill(in_sqlite, 3, a=lambda s: s)

    class Broken:
        def execute(self, *_):
            raise sqlite3.DatabaseError("database disk image is malformed")

        def close(self):
            pass

    in_sqlite.db.close()
    in_sqlite._database.connection = Broken()
    assert in_sqlite.incidents() == []
    assert in_sqlite.notices


def test_incidents_come_newest_first_with_their_bundles(history):
    for number in range(3):
        summary = IncidentSummary(
            f"i{number}", BASE + number, "death", "it died", 0, 42, ExitStatus(signal=9, words="killed")
        )
        history.add_incident(summary, {"events": [{"text": f"last {number}"}]})
    assert [one.id for one in history.incidents(2)] == ["i2", "i1"]
    assert history.incidents(1)[0].exit == ExitStatus(signal=9, words="killed")
    assert history.incident("i1") == {"events": [{"text": "last 1"}]}
    assert history.incident("none") is None


def test_old_tiles_and_names_that_are_gone_are_dropped(in_sqlite):
    fill(in_sqlite, 130, old=lambda s: s)
    later = BASE + 9 * 86_400
    fill(in_sqlite, 130, start=later, new=lambda s: s)
    for _ in in_sqlite._prune(later + 130):
        pass
    assert set(in_sqlite._ids) == {"new"}
    (oldest,) = in_sqlite.db.execute("SELECT min(start) FROM tiles").fetchone()
    assert oldest >= later


# -- PostgreSQL: shared, and away


def opened(server, place, source="demo@here", **options):
    return PostgresHistory(server.url, place, "demo", source=source, now=BASE, carry_every=0.05, **options)


def carried(history):
    """Wait until nothing is left to carry, and the database is known to be there."""

    def all_there():
        (left,) = history._local.work(lambda db: db.execute("SELECT count(*) FROM outbox").fetchone())
        return left == 0 and history.trouble is None and history._up.is_set()

    wait_for(all_there, "everything was carried to the database")


def test_what_an_earlier_agent_kept_is_answered_though_its_files_are_gone(postgres, tmp_path):
    first = opened(postgres, tmp_path / "first", "moved@here")
    fill(first, 150, a=lambda s: s, b=lambda s: 1.0)
    first.add_incident(IncidentSummary("old", BASE, "death", "it died"), {"events": [1]})
    carried(first)
    first.close()
    second = opened(postgres, tmp_path / "second", "moved@here")
    fill(second, 10, start=BASE + 200, b=lambda s: 2.0, a=lambda s: s + 200)
    carried(second)
    found = second.query(["a", "a:max", "b"], BASE, BASE + 210, 210)
    # The last minute of the first was not finished and lay in its files alone.
    expected = [float(s) if s < 120 or s >= 200 else None for s in range(210)]
    assert [value for _, value in found["a"]] == expected
    assert [value for _, value in found["a:max"]] == expected
    assert [value for _, value in found["b"]][:2] == [1.0, 1.0]
    assert [one.id for one in second.incidents()] == ["old"]
    assert second.incident("old") == {"events": [1]}
    second.close()


def test_agents_that_share_a_database_see_each_its_own(postgres, tmp_path):
    one = opened(postgres, tmp_path / "one", "shop@one")
    other = opened(postgres, tmp_path / "other", "shop@other")
    fill(one, 130, a=lambda s: 1.0)
    fill(other, 130, b=lambda s: 0.0, a=lambda s: 2.0)
    other.add_incident(IncidentSummary("i", BASE, "death", "it died"), {})
    carried(one)
    carried(other)
    for history, value in ((one, 1.0), (other, 2.0)):
        assert {value for _, value in history.query(["a"], BASE, BASE + 130, 130)["a"]} == {value}
    assert one.query(["b"], BASE, BASE + 130, 130)["b"] == []
    assert one.incidents() == []
    one.close()
    other.close()


def test_a_database_that_is_away_is_told_and_nothing_is_lost(service, tmp_path, pace):
    with Postgres(service("postgresql")) as server:
        history = opened(server, tmp_path / "history")
        fill(history, 61, a=lambda s: s)
        carried(history)
        server.stop()

        told = []

        def keep(second):
            began = time.monotonic()
            try:
                history.append(BASE + second, {"a": float(second)})
            except Unavailable as error:
                told.append((error.what, len(list(frames(error)))))
            assert pace.spent(began) < 2.0

        for second in range(61, 130):
            keep(second)
        wait_for(lambda: history.trouble, "that it is away")
        told.clear()
        keep(130)
        keep(131)
        assert [what for what, _ in told] == ["the history's database cannot be used"] * 2
        assert max(depth for _, depth in told) < 10
        found = history.query(["a"], BASE, BASE + 132, 132)["a"]
        assert [value for _, value in found] == [float(s) for s in range(132)]
        server.start()
        carried(history)
        history.append(BASE + 132, {"a": 132.0})
        history.close()
        again = opened(server, tmp_path / "elsewhere")
        carried(again)
        found = again.query(["a"], BASE, BASE + 120, 120)["a"]
        assert [value for _, value in found] == [float(s) for s in range(120)]
        again.close()


def frames(error):
    at = error.__traceback__
    while at is not None:
        yield at
        at = at.tb_next


def test_a_database_that_never_was_there_does_not_hinder_a_start(tmp_path):
    history = PostgresHistory("postgresql://rw@127.0.0.1:1/none", tmp_path, "demo", now=BASE, carry_every=0.05)
    wait_for(lambda: history.trouble, "that it is away")
    with pytest.raises(Unavailable) as caught:
        history.append(BASE, {"a": 1.0})
    assert len(list(frames(caught.value))) < 10
    assert history.query(["a"], BASE, BASE + 1, 1)["a"] == [(BASE, 1.0)]
    history.close()


def test_a_password_is_not_told_when_the_database_refuses(service, tmp_path):
    with Postgres(service("postgresql"), password="very-secret-word") as server:
        url = server.url.replace("very-secret-word", "other-secret-word")
        history = PostgresHistory(url, tmp_path / "history", "demo", now=BASE, carry_every=0.05)
        wait_for(lambda: history.trouble, "that it is refused")
        assert "password authentication failed" in str(history.trouble)
        assert "secret-word" not in str(history.trouble)
        history.close()
        history = opened(server, tmp_path / "right")
        carried(history)
        history.close()
