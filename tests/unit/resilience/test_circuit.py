"""A live breaker: what it tells of its changes, and how one that is shared keeps up with the others."""

import pytest

from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy, hook
from roadworthy.resilience.circuit import Era
from roadworthy.resilience.outcome import FAILURE, NEUTRAL, SLOW, SUCCESS
from roadworthy.resilience.states import CLOSED
from roadworthy.resilience.store import ProcessStore
from roadworthy.resilience.window import FAR
from roadworthy.testing import MovableClock


class Host:
    """Listens, and gives policies of one name a word to share: each is like a process of the application."""

    def __init__(self, store=None):
        self.told = []
        self.store = lambda: store
        self.words = lambda _policy: None
        self.count = self.add = self.declared = lambda *_: None
        self.failed = lambda *_: False

    def changed(self, _policy, _kind, before, after, reason, fields):
        self.told.append((before, after, reason, fields))


@pytest.fixture
def clock():
    with MovableClock() as made:
        yield made


@pytest.fixture
def attached():
    """Return a function that attaches a listener for the time of the test."""
    before = hook._listener

    def attach(listener):
        hook.attach(listener)
        return listener

    yield attach
    hook.attach(before)


def fail():
    raise ConnectionError


def live(name="live", **parts):
    policy = Policy(name, breaker=CircuitBreaker(**{"consecutive": 2, "open_for": 5, "probes": 1, **parts}))
    return policy, policy.breaker


def fails(policy, times=1, function=fail):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            policy.call(function)


# -- what is told


def test_each_change_is_told_with_its_reason_and_the_length_of_a_break(clock, attached):
    told = attached(Host()).told
    policy, _ = live(slow_after=1)
    fails(policy, 2)
    clock.move(5)
    fails(policy)
    clock.move(10)
    policy.call(clock.move, 1)
    clock.move(20)
    policy.call(int)
    assert [(before, after, reason) for before, after, reason, _ in told] == [
        ("closed", "open", "2 failures in a row"),
        ("open", "half_open", "its break is over"),
        ("half_open", "open", "a probe failed"),
        ("open", "half_open", "its break is over"),
        ("half_open", "open", "a probe was slow"),
        ("open", "half_open", "its break is over"),
        ("half_open", "closed", "its probes were good"),
    ]
    assert [fields for _, after, _, fields in told if after == "open"] == [{"open_for": 5.0}] * 3
    assert not any(fields for _, after, _, fields in told if after != "open")


@pytest.mark.parametrize(
    ("state", "for_", "fields"),
    [
        ("open", 30, {"open_for": 30.0}),
        ("open", None, {"open_for": 5.0}),
        ("forced_open", 7.2504, {"open_for": 7.25}),
        ("forced_open", None, {}),
        ("disabled", 60.0004, {"for": 60.0}),
        ("disabled", None, {}),
        ("metrics_only", 0.5, {"for": 0.5}),
        ("metrics_only", None, {}),
        ("half_open", None, {}),
    ],
)
def test_what_somebody_forces_is_told_with_its_time(clock, attached, state, for_, fields):
    told = attached(Host()).told
    policy, breaker = live()
    breaker.force(state, for_, reason="for a test")
    assert told == [("closed", state, "for a test", fields)]
    if state in {"disabled", "metrics_only"} and for_:
        clock.move(for_)
        policy.call(int)
        assert told[1:] == [(state, "closed", "its break is over", {})]


def test_a_breaker_that_only_measures_tells_once_a_break_that_it_would_have_opened(clock, attached):
    told = attached(Host()).told
    policy, breaker = live()
    breaker.force("metrics_only")
    del told[:]
    would = ("metrics_only", "metrics_only", "would open: 2 failures in a row", {"would": "open", "policy": "live"})
    fails(policy, 5)
    assert told == [would]
    assert breaker.snapshot()["failures_in_row"] == breaker.snapshot()["failures"] == 1
    clock.move(4.999)
    fails(policy, 2)
    assert told == [would]
    clock.move(0.001)
    fails(policy, 2)
    assert told == [would] * 2


@pytest.mark.parametrize("scope", ["process", "host"])
def test_nothing_is_told_of_calls_that_change_no_state(clock, attached, scope):
    told = attached(Host(ProcessStore())).told
    policy, _ = live(scope=scope, ignore=KeyError, probes=2)
    fails(policy)
    policy.call(int)
    fails(policy)
    assert told == []
    fails(policy)
    clock.move(5)
    assert len(told) == 1
    for _ in range(3):
        with pytest.raises(KeyError):
            policy.call({}.__getitem__, "unknown")
    policy.call(int)
    assert [after for _, after, _, _ in told] == ["open", "half_open"]


# -- what a call meets


def test_a_closed_breaker_lets_calls_begin_at_once_and_an_open_one_asks(clock):
    policy, breaker = live()
    assert breaker.look() is breaker.era is not None
    fails(policy, 2)
    assert breaker.look() is None
    clock.move(5)
    policy.call(int)
    assert breaker.look() is breaker.era is not None
    breaker.hold(+1)
    assert breaker.look() is None
    assert policy.call(int) == 0
    breaker.hold(-1)
    assert breaker.look() is breaker.era is not None


@pytest.mark.parametrize("scope", ["process", "host"])
def test_what_says_nothing_is_not_counted_and_ends_no_row(attached, scope):
    attached(Host(ProcessStore()))
    policy, breaker = live(scope=scope, ignore=KeyError)
    fails(policy)
    for _ in range(3):
        with pytest.raises(KeyError):
            policy.call({}.__getitem__, "unknown")
    found = breaker.snapshot()
    assert (found["calls"], found["failures"], found["slow"], found["failures_in_row"]) == (1, 1, 0, 1)
    fails(policy)
    assert breaker.state == "open"


@pytest.mark.parametrize(("state", "for_", "at_once"), [
    ("disabled", None, True), ("disabled", 5, False), ("metrics_only", None, True), ("metrics_only", 5, False),
    ("forced_open", None, False), ("forced_open", 5, False), ("open", 5, False), ("half_open", None, False),
])  # fmt: skip
def test_calls_begin_at_once_only_in_a_state_that_passes_them_and_does_not_end_by_itself(clock, state, for_, at_once):
    _, breaker = live()
    breaker.force(state, for_)
    assert (breaker.look() is not None) is at_once


def test_a_snapshot_says_how_it_stands_in_every_state(clock):
    policy, breaker = live(successes=2, window=10)
    policy.call(int)
    assert breaker.snapshot()["failure_rate"] == 0.0
    fails(policy)
    found = breaker.snapshot()
    assert (found["calls"], found["failures"], found["slow"], found["failures_in_row"]) == (2, 1, 0, 1)
    assert (found["good_probes"], found["opened"], found["retry_after"], found["shared"]) == (None, 0, None, False)
    fails(policy)
    found = breaker.snapshot()
    assert (found["state"], found["retry_after"], found["opened"]) == ("open", 5.0, 1)
    assert found["calls"] is found["failures"] is found["slow"] is found["failures_in_row"] is None
    assert found["failure_rate"] is found["good_probes"] is None
    before = found["generation"]
    clock.move(5)
    assert breaker.snapshot()["retry_after"] == breaker.retry_after == 0.0
    policy.call(int)
    found = breaker.snapshot()
    assert (found["state"], found["good_probes"], found["generation"]) == ("half_open", 1, before + 1)
    assert found["retry_after"] is found["calls"] is None
    for opened in (2, 3, 4):
        assert breaker.snapshot()["opened"] == opened - 1
        fails(policy)
        assert breaker.snapshot()["opened"] == opened
        clock.move(5)
        policy.call(int)


def test_a_snapshot_tells_what_was_seen_in_the_open_after_a_forced_time_as_nothing_yet(clock):
    policy, breaker = live()
    breaker.force("disabled", 5)
    policy.call(int)
    assert breaker.snapshot()["calls"] is None
    clock.move(5)
    assert breaker.snapshot()["state"] == "closed"
    assert breaker.snapshot()["calls"] is None


def test_a_probe_that_says_nothing_makes_room_for_the_next_one(clock):
    policy, breaker = live(ignore=KeyError)
    fails(policy, 2)
    clock.move(5)
    for _ in range(3):
        with pytest.raises(KeyError):
            policy.call({}.__getitem__, "unknown")
    assert breaker.state == "half_open"
    policy.call(int)
    assert breaker.state == "closed"


def test_while_it_is_disabled_nothing_is_even_noted(clock):
    policy, breaker = live(slow_after=1, window=10)
    breaker.force("disabled")
    era, word = breaker.era, breaker._word.read()
    fails(policy, 5)
    policy.call(clock.move, 1)
    assert (era.streak, era.window.totals(era.n, 0)) == (0, (1, 0, 0))
    assert breaker._word.read() == word


def test_a_refusal_changes_nothing_for_anybody(clock):
    policy, breaker = live()
    fails(policy, 2)
    word = breaker._word.read()
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            policy.call(int)
    assert breaker._word.read() == word


def test_an_era_without_a_breaker_counts_successes_and_nothing_else():
    era = Era(None, CLOSED, 0)
    for outcome in (SUCCESS, FAILURE, NEUTRAL, SLOW, SUCCESS):
        era.settle(outcome, 5)
    era.mark(5)
    era.pay()
    assert (era.n, era.window, era.edge, era.owing) == (2, None, FAR, False)


def test_a_state_that_is_over_is_not_kept(clock):
    policy, breaker = live()
    for _ in range(5):
        fails(policy, 2)
        clock.move(5)
        policy.call(int)
    assert list(breaker._eras.values()) == [breaker.era]


def test_a_window_of_time_begins_with_its_first_call_though_it_is_slow(clock):
    policy, breaker = live(window="640s", slow_after=1)
    policy.call(clock.move, 1)
    found = breaker.snapshot()
    assert (found["calls"], found["slow"], found["failures_in_row"]) == (1, 1, 0)
    for _ in range(3):
        policy.call(clock.move, 1)
    assert (breaker.snapshot()["calls"], len(breaker.era.window._marks)) == (4, 1)
    clock.move(6)
    policy.call(clock.move, 1)
    assert len(breaker.era.window._marks) == 2


def test_a_success_is_marked_in_each_sixty_fourth_of_a_window_of_time(clock):
    policy, breaker = live(window="64s")
    for _ in range(4):
        policy.call(int)
        policy.call(int)
        clock.move(1)
    assert [good for _, good in breaker.era.window._marks] == [0, 2, 4, 6]


def test_a_slow_call_is_no_failure_in_a_row(clock):
    policy, breaker = live(consecutive=1, slow_after=1)
    for _ in range(5):
        policy.call(clock.move, 1)
    assert breaker.state == "closed"


def test_only_what_was_forced_for_a_time_is_forced_for_one(clock):
    policy, breaker = live()
    assert breaker.forced_for is None
    for state in ("forced_open", "disabled", "metrics_only"):
        breaker.force(state)
        assert breaker.forced_for is None
        breaker.force(state, 7)
        assert breaker.forced_for == 7.0
    breaker.reset()
    fails(policy, 2)
    assert (breaker.forced_for, breaker.retry_after) == (None, 5.0)


# -- shared with others


def shared(attached, **parts):
    attached(Host(ProcessStore()))
    return live(scope="host", **parts), live(scope="host", **parts)


def test_without_anybody_who_shares_a_breaker_works_alone(attached):
    attached(Host(None))
    policy, breaker = live(scope="host")
    assert breaker.snapshot()["shared"] is False
    fails(policy, 2)
    assert breaker.state == "open"


def test_one_that_is_not_to_be_shared_is_not(clock, attached):
    attached(Host(ProcessStore()))
    (one, _), (_, other) = live(), live()
    fails(one, 2)
    assert other.state == "closed"


def test_a_word_is_taken_once_and_what_was_counted_stays(clock, attached):
    (policy, breaker), (_, other) = shared(attached)
    fails(policy)
    era = breaker.era
    breaker.attach()
    assert breaker.era is era
    fails(policy)
    assert breaker.state == other.state == "open"


def test_a_word_that_shows_its_updates_is_watched_without_reading_it(attached):
    class Shown(ProcessStore):
        def word(self, name):
            self.kept, self.stamp = super().word(name), ([4], 0)
            return self

        def read(self):
            return self.kept.read()

        def watch(self):
            return self.stamp

    store = Shown()
    attached(Host(store))
    policy, breaker = live(scope="host")
    assert breaker.watch is store.stamp
    assert breaker.era.stamp == 4
    store.stamp[0][0] = 5
    assert policy.call(int) == 0
    assert breaker.era.stamp == 5


def test_what_others_change_while_it_looks_is_seen(attached):
    class Racing(ProcessStore):
        then = None

        def word(self, name):
            self.kept = super().word(name)
            return self

        def update(self, fn, patience=0.05):
            return self.kept.update(fn, patience)

        def watch(self):
            return [7], 0

        def read(self):
            values = self.kept.read()
            then, self.then = self.then, None
            if then is not None:
                then()
            return values

    store = Racing()
    attached(Host(store))
    _, breaker = live(scope="host")
    (_, other) = live(scope="host")
    assert breaker.look() is not None
    store.then = lambda: other.force("forced_open")
    assert breaker.look() is None


class Lockable(ProcessStore):
    """One word, which may be locked by somebody else; it notes how long each would wait for it."""

    def __init__(self):
        super().__init__()
        self.locked = False
        self.waits = []

    def word(self, name):
        self.kept = super().word(name)
        self.read = self.kept.read
        return self

    def update(self, fn, patience=0.05):
        self.waits.append(patience)
        return None if self.locked else self.kept.update(fn, patience)


def test_a_success_never_waits_to_be_told(clock, attached):
    store = Lockable()
    attached(Host(store))
    (one, _), (two, _) = live(scope="host"), live(scope="host")
    fails(one)
    del store.waits[:]
    two.call(int)
    assert store.waits == [0.0]


def test_successes_before_a_failure_that_could_not_be_told_are_told_with_the_next(clock, attached):
    store = Lockable()
    attached(Host(store))
    policy, breaker = live(scope="host", consecutive=9)
    for _ in range(5):
        policy.call(int)
    store.locked = True
    fails(policy)
    store.locked = False
    fails(policy)
    found = breaker.snapshot()
    assert (found["calls"], found["failures"]) == (6, 1)


def test_a_success_that_could_not_be_told_in_time_still_ends_the_row(clock, attached):
    store = Lockable()
    attached(Host(store))
    (one, breaker), (two, _) = live(scope="host", consecutive=3), live(scope="host", consecutive=3)
    fails(two)
    store.locked = True
    one.call(int)
    store.locked = False
    fails(two)
    fails(one)
    assert breaker.snapshot()["failures_in_row"] == 1


def test_who_cannot_tell_the_others_stops_alone_after_as_many_failures_as_are_judged(clock, attached):
    class Locked(ProcessStore):
        def word(self, name):
            self.read = super().word(name).read
            return self

        def update(self, fn, patience=0.05):
            return None

    attached(Host(Locked()))
    policy, breaker = live(scope="host", consecutive=None, min_calls=3, window=10)
    fails(policy, 2)
    policy.call(int)
    fails(policy, 3)
    with pytest.raises(BreakerOpen) as caught:
        policy.call(int)
    assert caught.value.retry_after == 5.0
    clock.move(5)
    assert policy.call(int) == 0
    assert breaker.state == "closed"


def test_a_failure_that_others_had_during_a_call_is_in_the_same_row(clock, attached):
    (one, breaker), (two, _) = shared(attached)
    for _ in range(3):
        one.call(int)

    def meanwhile():
        fails(two)
        fail()

    fails(one, function=meanwhile)
    assert breaker.state == "open"
    assert breaker.reason == "2 failures in a row"


def test_a_success_after_the_failure_of_others_ends_the_row(clock, attached):
    (one, breaker), (two, _) = shared(attached)
    fails(two)
    one.call(int)
    fails(two)
    assert breaker.state == "closed"
    assert breaker.snapshot()["failures_in_row"] == 1
    fails(one)
    assert breaker.state == "open"


def test_successes_are_told_to_others_once_there_is_a_failure_and_only_once(clock, attached):
    (one, breaker), (two, other) = shared(attached, consecutive=None, failure_rate=0.5, window=100, min_calls=100)
    for _ in range(7):
        one.call(int)
    assert other.snapshot()["calls"] == 0
    fails(two)
    one.call(int)
    assert other.snapshot()["calls"] == 9
    one.call(int)
    fails(one)
    one.call(int)
    found = other.snapshot()
    assert (found["calls"], found["failures"]) == (12, 2)
    assert breaker.snapshot() == found


def test_who_has_told_its_successes_counts_on_by_itself(clock, attached):
    (one, breaker), (two, _) = shared(attached)
    fails(two)
    one.call(int)
    word = breaker._word.read()
    for _ in range(3):
        one.call(int)
    assert breaker._word.read() == word


def test_a_failure_counts_for_others_also_when_its_row_has_ended_already(clock, attached):
    (one, _), (two, breaker) = shared(attached, consecutive=None, window=100, min_calls=100)
    for _ in range(5):
        two.call(int)
    fails(one)
    one.call(int)
    assert breaker.snapshot()["calls"] == 2
    two.call(int)
    found = breaker.snapshot()
    assert (found["calls"], found["failures"], found["slow"]) == (8, 1, 0)


def test_a_slow_call_is_one_slow_call_for_all(clock, attached):
    (one, breaker), (two, other) = shared(attached, slow_after=1)
    one.call(int)
    two.call(clock.move, 1)
    one.call(clock.move, 0.5)
    one.call(clock.move, 1)
    found = other.snapshot()
    assert (found["calls"], found["failures"], found["slow"], found["failures_in_row"]) == (4, 0, 2, 0)
    assert breaker.snapshot() == found


def test_a_break_that_others_begin_is_kept_and_ended_together(clock, attached):
    (one, breaker), (two, other) = shared(attached)
    guarded = two(int)
    guarded()
    fails(one, 2)
    with pytest.raises(BreakerOpen) as caught:
        guarded()
    assert caught.value.retry_after == 5.0
    clock.move(5)
    assert guarded() == 0
    assert breaker.state == other.state == "closed"
    assert one.call(int) == 0
