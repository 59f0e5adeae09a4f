"""What every history store promises; each implementation runs through the same suite."""

from __future__ import annotations

import math
import sqlite3

import pytest

from roadworthy.agent.history.sqlite import MOST_NAMES, SqliteHistory
from roadworthy.types import ExitStatus, IncidentSummary

BASE = 1_800_000_000 - 1_800_000_000 % 3600


@pytest.fixture
def place(tmp_path):
    return tmp_path / "history"


def make(place, now=BASE):
    return SqliteHistory(place, now=now)


@pytest.fixture
def history(place):
    made = make(place)
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
def test_after_an_hour_the_coarser_tiers_hold_mean_and_maximum(history):
    fill(history, 3700, a=lambda s: 1000.0 if s == 1234 else 1.0)
    assert dict(history.db.execute("SELECT tier, count(DISTINCT start) FROM tiles GROUP BY tier")) == {0: 61, 1: 6, 2: 1}
    hour = history.query(["a", "a:max"], BASE, BASE + 3600, 60)
    assert hour["a:max"][20][1] == 1000.0
    assert hour["a"][20][1] == pytest.approx(1.0 + 999 / 60, rel=1e-3)
    assert all(value is not None for _, value in hour["a"])


def test_what_is_older_than_the_fine_tier_is_answered_from_the_coarse_one(history):
    fill(history, 3700, a=lambda s: 2.0)
    history.db.execute("DELETE FROM tiles WHERE tier = 0 AND start < ?", (BASE + 1800,))
    found = history.query(["a"], BASE, BASE + 3600, 3600)["a"]
    assert found[0] == (BASE, 2.0)
    assert found[-1] == (BASE + 3599, 2.0)


def test_a_restart_goes_on_where_the_last_one_was_killed(place):
    first = make(place)
    fill(first, 90, a=lambda s: s)
    # Killed: nothing is closed or flushed; another process maps the same file.
    second = make(place, now=BASE + 91)
    fill(second, 20, start=BASE + 91, a=lambda s: s + 91)
    found = second.query(["a"], BASE, BASE + 111, 111)["a"]
    assert [value for _, value in found] == [float(s) if s != 90 else None for s in range(111)]
    second.close()
    first.close()


def test_a_restart_after_a_long_pause_keeps_the_minute_that_was_open(place):
    first = make(place)
    fill(first, 30, a=lambda s: s)
    first.close()
    second = make(place, now=BASE + 7200)
    assert [value for _, value in second.query(["a"], BASE, BASE + 30, 30)["a"]] == [float(s) for s in range(30)]
    second.close()


def test_more_names_than_there_is_room_for_are_refused_and_listed(history):
    history.append(BASE, {f"n{number}": 1.0 for number in range(MOST_NAMES + 5)})
    assert len(history.refused) == 5
    assert history.query(["n7"], BASE, BASE + 1, 1)["n7"] == [(BASE, 1.0)]


def test_a_broken_database_is_set_aside_with_a_notice_and_history_goes_on(place):
    made = make(place)
    fill(made, 5, a=lambda s: s)
    made.close()
    (place / "history.db").write_bytes(b"this is no database" * 1000)
    again = make(place)
    assert "set aside" in again.notices[0]
    assert (place / "history.db.broken").exists()
    fill(again, 5, a=lambda s: s)
    assert again.query(["a"], BASE, BASE + 5, 5)["a"][4] == (BASE + 4, 4.0)
    again.close()


def test_a_database_that_breaks_while_in_use_is_replaced(history, place, monkeypatch):
    fill(history, 3, a=lambda s: s)

    class Broken:
        def execute(self, *_):
            raise sqlite3.DatabaseError("database disk image is malformed")

        def close(self):
            pass

    history.db.close()
    history._database.connection = Broken()
    assert history.incidents() == []
    assert history.notices


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


def test_old_tiles_and_names_that_are_gone_are_dropped(history):
    fill(history, 130, old=lambda s: s)
    later = BASE + 9 * 86_400
    fill(history, 130, start=later, new=lambda s: s)
    for _ in history._prune(later + 130):
        pass
    assert set(history._ids) == {"new"}
    (oldest,) = history.db.execute("SELECT min(start) FROM tiles").fetchone()
    assert oldest >= later
