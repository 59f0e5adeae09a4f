"""Features are on until somebody has a reason to switch them off, and come back by themselves."""

import pytest

from roadworthy.resilience import outward
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.feature import Feature, feature, forget
from roadworthy.resilience.store import ProcessStore
from roadworthy.resilience.switch import OPERATOR, RECOVERY, Hold
from roadworthy.testing import MovableClock
from support.resilience_outside import Outside


@pytest.fixture(autouse=True)
def forgotten():
    """No feature is left over; what is called ``alone`` is the folder's, and holds here, too."""
    forget()
    yield
    forget()
    outward.attach(None)


@pytest.fixture
def clock():
    with MovableClock() as movable:
        yield movable


def test_a_feature_is_on_until_it_is_switched_off_and_on_again():
    assert feature("reports").is_on
    feature("reports").off(reason="high_load")
    assert feature("reports").is_off
    assert not feature("reports")
    assert feature("reports").reason == "high_load"
    assert feature("reports").on()
    assert feature("reports").is_on
    assert feature("reports").reason == ""


def test_the_same_name_is_the_same_feature():
    assert feature("reports") is feature("reports")
    assert feature("reports") is not feature("cache")


def test_it_comes_back_after_its_time(clock):
    feature("reports").off(reason="high_load", for_=300)
    clock.move(299)
    assert feature("reports").is_off
    clock.move(2)
    assert feature("reports").is_on


def test_switching_it_off_again_renews_time_and_reason_but_not_since(clock):
    reports = feature("reports")
    reports.off(reason="first", for_=300)
    since = reports.describe()["since"]
    clock.move(200)
    reports.off(reason="second", for_=300)
    clock.move(200)
    assert reports.is_off
    assert reports.reason == "second"
    assert reports.describe()["since"] == pytest.approx(since)


def test_it_comes_back_when_its_cause_has_been_gone_for_the_hold_time(clock):
    there = [True]
    feature("reports").off("pressure", while_=lambda: there[0], hold=10)
    for _ in range(60):
        clock.move(1)
        assert feature("reports").is_off
    there[0] = False
    for _ in range(5):
        clock.move(1)
        assert feature("reports").is_off
    there[0] = True  # back again: the hold time begins anew
    clock.move(1)
    assert feature("reports").is_off
    there[0] = False
    for _ in range(9):
        clock.move(1)
        assert feature("reports").is_off
    clock.move(1)
    assert feature("reports").is_on


def test_a_cause_that_cannot_be_asked_counts_as_still_there(clock):
    feature("reports").off("pressure", while_=lambda: 1 / 0, hold=1)
    for _ in range(10):
        clock.move(5)
        assert feature("reports").is_off


def test_nobodys_on_lifts_the_operators_off():
    feature("reports").operator("being repaired")
    feature("reports").off("high_load")
    assert not feature("reports").on()
    assert feature("reports").describe() | {"since": 0} == {
        "name": "reports", "off": True, "reason": "being repaired", "source": OPERATOR, "since": 0, "until": None,
        "by": "people",
    }  # fmt: skip
    feature("reports").operator(None)
    assert feature("reports").is_on


def test_each_change_is_told_once(clock):
    outside = Outside()
    outward.attach(outside)
    feature("reports").off("high_load", for_=10)
    until = feature("reports").describe()["until"]
    feature("reports").off("high_load", for_=10)
    clock.move(11)
    feature("reports").switch.look()
    feature("reports").switch.look()
    assert outside.of("changed") == [
        ("feature", "reports", "on", "off", "high_load", {"source": "program", "until": pytest.approx(until)}),
        ("feature", "reports", "off", "on", "its time is over", {"source": ""}),
    ]


def test_off_in_one_process_is_off_in_all_of_the_application():
    outward.attach(Outside())
    here, there = Feature("reports"), Feature("reports")
    here.off(reason="high_load ✓ with a reason of more than sixteen bytes")
    assert there.is_off
    assert there.reason == "high_load ✓ with a reason of more than sixteen bytes"
    assert there.on()
    assert here.is_on


def test_with_scope_process_it_is_off_in_this_process_only():
    outward.attach(Outside())
    here, there = Feature("reports", "process"), Feature("reports", "process")
    here.off(reason="high_load")
    assert here.is_off
    assert there.is_on


def test_what_is_shared_ends_for_all(clock):
    outward.attach(Outside())
    here, there = Feature("reports"), Feature("reports")
    here.off(reason="high_load", for_=300)
    clock.move(301)
    assert here.is_on
    assert there.is_on


def test_a_shared_off_from_before_the_machine_started_does_not_hold(clock):
    outward.attach(Outside())
    feature("reports").off(reason="high_load")
    clock._mono -= 10**12
    assert feature("reports").is_on


def test_a_reason_whose_writer_died_in_the_middle_is_unknown_and_still_off():
    outside = Outside()
    outward.attach(outside)
    feature("reports").off(reason="high_load")
    outside.shared.word("feature:reports#1").update(lambda *_: (99, 0, 0))
    assert Feature("reports").is_off
    assert Feature("reports").reason == "unknown"


def test_without_a_free_word_it_is_off_in_this_process_at_least():
    class Full:
        def word(self, name):
            from roadworthy.errors import Exhausted

            raise Exhausted("no shared word is free")

    outward.attach(Outside(store=Full()))
    feature("reports").off("high_load")
    assert feature("reports").is_off
    feature("reports").on()
    assert feature("reports").is_on


def test_a_store_that_cannot_be_asked_in_this_moment_is_asked_again():
    class Importing:
        """What a signal handler finds while the program imports what the store needs."""

        ready = False

        def __init__(self):
            self.words = ProcessStore()

        def word(self, name):
            if not self.ready:
                raise ImportError(name)
            return self.words.word(name)

    store = Importing()
    outward.attach(Outside(store=store))
    feature("reports").off("high_load")
    assert feature("reports").is_off
    feature("reports").on()
    store.ready = True
    feature("reports").off("high_load")
    assert Feature("reports").is_off


def test_a_listener_that_fails_does_not_keep_it_from_being_switched():
    outward.attach(object())
    before = outward.failures
    feature("reports").off("high_load")
    assert feature("reports").is_off
    assert outward.failures > before


def test_a_recovery_switches_off_in_this_process_only():
    outward.attach(Outside())
    feature("reports").off("memory", source=RECOVERY)
    assert Feature("reports").is_on


@pytest.mark.parametrize(
    ("options", "field"),
    [({"for_": 0}, "for_"), ({"for_": -1}, "for_"), ({"for_": float("nan")}, "for_"), ({"for_": "soon"}, "for_"),
     ({"hold": 0}, "hold"), ({"hold": -5}, "hold")],
)  # fmt: skip
def test_impossible_times_are_refused_by_name_and_change_nothing(options, field):
    with pytest.raises(BadArgument) as refused:
        feature("reports").off("why", **options)
    assert refused.value.field == field
    assert feature("reports").is_on


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", 7, None])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(BadArgument):
        feature(name)


def test_an_unknown_scope_is_refused():
    with pytest.raises(BadArgument, match="scope"):
        feature("reports", scope="fleet")


@pytest.mark.parametrize(
    ("now", "over"),
    [(0, False), (9_999_999_999, False), (10_000_000_000, True), (20_000_000_000, True)],
)
def test_a_hold_with_an_end_is_over_at_its_end(now, over):
    assert Hold("program", "why", 0, until_ns=10_000_000_000).over(now) is over
