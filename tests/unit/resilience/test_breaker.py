"""The breaker's transitions as tables, its settings, and what people may do to a live one."""

import pytest

from roadworthy.errors import Temporary
from roadworthy.resilience import BreakerOpen, CircuitBreaker, CircuitBreakerConfig, Policy, hook, states
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.outcome import FAILURE, NEUTRAL
from roadworthy.resilience.rejected import DeadlineExceeded
from roadworthy.resilience.states import (
    CLOSED,
    DISABLED,
    FORCED_OPEN,
    HALF_OPEN,
    METRICS_ONLY,
    OPEN,
    PASS,
    PROBE,
    REJECT,
    Rules,
    packed,
)
from roadworthy.resilience.store import Word
from roadworthy.testing import MovableClock

S = 1_000_000_000
RULES = Rules(probes=2, successes=2, lease_ns=5 * S, shortest_ns=5 * S, longest_ns=60 * S)


def state(values):
    return states.state_of(values[0])


def closed(generation=7):
    return packed(CLOSED, generation=generation), 0, 0


@pytest.fixture
def clock():
    with MovableClock() as made:
        yield made


# -- the first number


@pytest.mark.parametrize(
    "parts",
    [
        (CLOSED, 0, 0, 0, 0),
        (METRICS_ONLY, 63, 4095, (1 << 20) - 1, (1 << 22) - 1),
        (HALF_OPEN, 1, 2, 3, 4),
    ],
)
def test_the_first_number_holds_its_parts_and_fits_into_63_bits(parts):
    a = packed(*parts)
    assert 0 <= a < 1 << 63
    assert (
        states.state_of(a),
        states.opened_of(a),
        states.tally_of(a),
        states.slot_of(a),
        states.generation_of(a),
    ) == parts


def test_nothing_is_counted_in_a_number_that_says_only_its_state():
    for code in (CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY):
        assert packed(code) == code


def test_what_does_not_fit_stays_at_its_most_and_generations_begin_anew():
    a = packed(OPEN, 1000, 99999, 1 << 20, 1 << 22)
    assert states.opened_of(a) == 63
    assert states.tally_of(a) == states.MOST_TALLY
    assert states.slot_of(a) == 0
    assert states.generation_of(a) == 0


# -- what a call may do

ADMISSIONS = [
    # the state and its second number; seconds; what comes of it, and its number
    (CLOSED, 0, 100, PASS, 0),
    (DISABLED, 0, 100, PASS, 0),
    (METRICS_ONLY, 0, 100, PASS, 0),
    (FORCED_OPEN, 0, 100, REJECT, -1),
    (FORCED_OPEN, 130 * S, 100, REJECT, 30 * S),
    (FORCED_OPEN, 130 * S, 130, PASS, 0),
    (DISABLED, 130 * S, 131, PASS, 0),
    (OPEN, 105 * S, 100, REJECT, 5 * S),
    (OPEN, 105 * S, 105, PROBE, 0),
    (OPEN, 105 * S, 900, PROBE, 0),
]


@pytest.mark.parametrize(("code", "b", "now", "what", "number"), ADMISSIONS)
def test_a_call_passes_is_refused_or_is_a_probe(code, b, now, what, number):
    values = (packed(code, 1, generation=3), b, 0)
    got, n, made = states.admission(values, now * S, RULES)
    assert (got, n) == (what, number)
    if what == PROBE:
        assert state(made) == HALF_OPEN
        assert states.generation_of(made[0]) == 4
        assert states.opened_of(made[0]) == 1
    elif b and now * S >= b:
        assert state(made) == CLOSED
    else:
        assert made is values


@pytest.mark.parametrize("code", [FORCED_OPEN, DISABLED, METRICS_ONLY])
def test_a_forced_state_that_is_over_leaves_nothing_behind(code):
    values = (packed(code, 3, generation=7), 5, 9)
    assert states.current(values, 4) is values
    assert states.current(values, 5) == (packed(CLOSED, generation=8), 0, 0)
    assert states.current((values[0], 0, 9), 5) == (values[0], 0, 9)


def test_only_so_many_probes_go_at_once_and_a_lease_that_is_over_makes_room():
    values = (packed(OPEN, 1), 100 * S, 0)
    places = []
    for now in (100, 101):
        what, place, values = states.admission(values, now * S, RULES)
        assert what == PROBE
        places.append(place)
    assert sorted(places) == [0, 1]
    what, wait, same = states.admission(values, 102 * S, RULES)
    assert (what, same) == (REJECT, values)
    assert wait == pytest.approx(3 * S, abs=100)
    what, place, values = states.admission(values, 105 * S + 100, RULES)
    assert (what, place) == (PROBE, 0)
    assert states.admission(values, 105 * S + 200, RULES)[0] == REJECT
    assert states.admission(values, 106 * S + 100, RULES)[:2] == (PROBE, 1)


@pytest.mark.parametrize("probes", range(1, states.MOST_PROBES + 1))
@pytest.mark.parametrize("lease", [1, 1000, S // 10, 5 * S, 86_400 * S])
def test_a_lease_is_never_over_early_and_soon_after_its_end(probes, lease):
    rules = Rules(probes=probes, lease_ns=lease, successes=probes)
    start = 1000 * S
    values = (packed(OPEN, 1), start, 0)
    for _ in range(probes):
        what, _, values = states.admission(values, start, rules)
        assert what == PROBE
    assert all(0 <= one < 1 << 63 for one in values)
    assert states.admission(values, start + lease - 1, rules)[0] == REJECT
    end = start + lease + 2 * rules.tick_ns
    assert rules.tick_ns <= max(1, lease / 29)
    assert states.admission(values, end, rules)[0] == PROBE
    what, wait, _ = states.admission(values, start + lease // 2, rules)
    assert what == REJECT
    assert 0 < wait <= lease - lease // 2 + 2 * rules.tick_ns


@pytest.mark.parametrize("probes", range(2, states.MOST_PROBES + 1))
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_lease_that_begins_within_a_tick_is_not_over_early_either(probes, part):
    rules = Rules(probes=probes, lease_ns=5 * S, successes=probes)
    start = 1000 * S
    _, _, values = states.admission((packed(OPEN, 1), start, 0), start, rules)
    later = start + int(rules.tick_ns * part)
    for _ in range(probes - 1):
        what, _, values = states.admission(values, later, rules)
        assert what == PROBE
    assert states.admission(values, later + 5 * S - 1, rules)[0] == REJECT


@pytest.mark.parametrize("probes", range(1, states.MOST_PROBES + 1))
@pytest.mark.parametrize("lease", [7, 1000, S // 10, 5 * S, 86_400 * S])
def test_who_is_refused_while_others_probe_is_told_to_the_nanosecond_when_there_is_room(probes, lease):
    rules = Rules(probes=probes, lease_ns=lease, successes=probes)
    values = (packed(OPEN, 1), 1000 * S, 0)
    for _ in range(probes):
        _, _, values = states.admission(values, 1000 * S, rules)
    for part in (0, 0.3, 0.5, 0.99):
        now = 1000 * S + int(lease * part)
        what, wait, _ = states.admission(values, now, rules)
        assert what == REJECT
        assert states.admission(values, now + wait - 1, rules)[:2] == (REJECT, 1)
        assert states.admission(values, now + wait, rules)[0] == PROBE


def test_rules_without_more_are_those_of_a_breaker_without_more():
    plain, made = Rules(), CircuitBreaker().rules()
    assert {name: getattr(plain, name) for name in Rules.__slots__} == {
        name: getattr(made, name) for name in Rules.__slots__
    }


def test_leases_grow_no_younger_for_who_looks_with_an_older_clock():
    assert states.aged(100 * S, 5, 99 * S, RULES) == (100 * S, 5)
    assert states.aged(100 * S, 5, 100 * S, RULES) == (100 * S, 5)
    assert states.aged(100 * S, 5, 100 * S + RULES.tick_ns, RULES) == (100 * S + RULES.tick_ns, 6)
    assert states.aged(100 * S, 5, 101 * S, RULES) == (101 * S, 5 + S // RULES.tick_ns)


# -- what probes come to


def half_open(generation=9):
    values = (packed(OPEN, 1, generation=generation - 1), 100 * S, 0)
    for _ in range(2):
        _, _, values = states.admission(values, 100 * S, RULES)
    return values


def back(values, good, *, place=0, generation=9, held=True, now=101):
    return states.probed(values, now * S, generation, place, held=held, good=good, rules=RULES, luck=0.0)


def test_enough_good_probes_close_it():
    values = back(half_open(), good=True)
    assert values[0] == packed(HALF_OPEN, opened=1, tally=1, generation=9)
    values = back(values, good=True, place=1)
    assert (state(values), states.opened_of(values[0]), values[1:]) == (CLOSED, 0, (0, 0))
    assert states.generation_of(values[0]) == 10


def test_one_bad_probe_opens_it_again_for_twice_as_long():
    values = back(half_open(), good=False)
    assert state(values) == OPEN
    assert values[1] == 111 * S
    assert states.opened_of(values[0]) == 2


@pytest.mark.parametrize("good", [None, True])
@pytest.mark.parametrize("place", [0, 1])
def test_a_probe_that_is_back_gives_its_own_place_back(place, good):
    for now in (100, 101):
        values = back(half_open(), good=good, place=place, now=now)
        assert (state(values), states.tally_of(values[0])) == (HALF_OPEN, int(good is True))
        what, number, values = states.admission(values, now * S, RULES)
        assert (what, number) == (PROBE, place)
        assert states.admission(values, now * S, RULES)[0] == REJECT


def test_a_probe_whose_lease_is_over_leaves_the_place_to_its_successor():
    values = half_open()
    what, place, values = states.admission(values, 106 * S, RULES)
    assert (what, place) == (PROBE, 0)
    late = back(values, good=None, held=False, now=107)
    assert states.admission(late, 107 * S, RULES)[:2] == (PROBE, 1)
    assert states.admission(states.admission(late, 107 * S, RULES)[2], 107 * S, RULES)[0] == REJECT


@pytest.mark.parametrize("good", [True, False, None])
@pytest.mark.parametrize("generation", [8, 10, 0])
def test_a_probe_of_another_generation_changes_nothing(good, generation):
    values = half_open()
    assert back(values, good, generation=generation) == values


@pytest.mark.parametrize("code", [CLOSED, OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY])
def test_a_probe_that_comes_back_into_another_state_changes_nothing(code):
    values = (packed(code, 1, generation=9), 500 * S, 0)
    assert back(values, good=False) == values
    assert back(values, good=True) == values


# -- opening


@pytest.mark.parametrize(
    ("opened", "luck", "seconds"),
    [
        (1, 0.0, 5),
        (2, 0.0, 10),
        (3, 0.0, 20),
        (4, 0.0, 40),
        (5, 0.0, 60),
        (1, 1.0, 6.25),
        (2, 0.5, 11.25),
        (4, 1.0, 50),
        (5, 1.0, 48),
        (63, 0.0, 60),
        (10_000, 0.0, 60),
    ],
)
def test_a_break_takes_twice_as_long_each_time_up_to_the_longest(opened, luck, seconds):
    assert states.break_ns(opened, RULES, luck) == int(seconds * S)


def test_a_break_that_comes_to_the_longest_is_spread_below_it():
    rules = Rules(shortest_ns=15 * S, longest_ns=60 * S)
    assert [states.break_ns(3, rules, luck) for luck in (0.0, 0.5, 1.0)] == [60 * S, 54 * S, 48 * S]
    assert states.break_ns(2, rules, 1.0) == 37.5 * S


@pytest.mark.parametrize(
    ("code", "opened"), [(OPEN, 1), (HALF_OPEN, 1), (CLOSED, 0), (FORCED_OPEN, 0), (DISABLED, 0), (METRICS_ONLY, 0)]
)
def test_a_break_that_is_forced_is_the_first_of_its_row(code, opened):
    a, b, c = states.forced((packed(OPEN, 9, generation=7), 5, 6), code, 11)
    assert (states.state_of(a), states.opened_of(a), states.generation_of(a), b, c) == (code, opened, 8, 11, 0)


@pytest.mark.parametrize("luck", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("opened", [1, 2, 9, 70])
def test_one_number_is_exactly_that_long(opened, luck):
    rules = Rules(shortest_ns=300 * S, longest_ns=300 * S)
    assert states.break_ns(opened, rules, luck) == 300 * S


@pytest.mark.parametrize("code", [OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY])
def test_only_a_closed_breaker_of_this_generation_is_tripped(code):
    assert states.tripped(closed(), 100 * S, 7, RULES, 0.0) == (packed(OPEN, 1, generation=8), 105 * S, 0)
    assert states.tripped(closed(), 100 * S, 6, RULES, 0.0) == closed()
    values = (packed(code, generation=7), 0, 0)
    assert states.tripped(values, 100 * S, 7, RULES, 0.0) == values


VERDICTS = [
    # calls, failures, slow, in a row, rules, why
    (20, 10, 0, 0, {"failure_rate": 0.5}, "10 of 20 calls failed"),
    (20, 9, 0, 0, {"failure_rate": 0.5}, ""),
    (19, 19, 0, 19, {"failure_rate": 0.5}, ""),
    (20, 20, 0, 0, {"failure_rate": None}, ""),
    (20, 20, 0, 0, {"failure_rate": 1.0}, "20 of 20 calls failed"),
    (20, 0, 0, 0, {"failure_rate": 0.5}, ""),
    (20, 1, 16, 0, {"failure_rate": 0.5, "slow_rate": 0.8}, "16 of 20 calls were slow"),
    (20, 1, 15, 0, {"failure_rate": 0.5, "slow_rate": 0.8}, ""),
    (20, 1, 20, 0, {"failure_rate": 0.5, "slow_rate": None}, ""),
    (3, 3, 0, 3, {"consecutive": 3}, "3 failures in a row"),
    (3, 3, 0, 2, {"consecutive": 3}, ""),
]


@pytest.mark.parametrize(("calls", "failures", "slow", "row", "rules", "why"), VERDICTS)
def test_it_is_judged_by_rates_and_by_failures_in_a_row(calls, failures, slow, row, rules, why):
    assert states.verdict(calls, failures, slow, row, Rules(min_calls=20, **rules)) == why


# -- a window that processes share


def counted(values, calls, failures, slow=0, now=100, generation=7, rules=None):
    return states.counted(values, now * S, generation, calls, failures, slow, rules or Rules(half_calls=50))


def test_a_shared_window_of_calls_is_counted_in_two_halves():
    values = counted(closed(), 40, 4)
    assert states.totals(values) == (40, 4, 0)
    values = counted(values, 10, 1, 1)
    assert states.totals(values) == (50, 5, 1)
    values = counted(values, 10, 2)
    assert states.totals(values) == (60, 7, 1)
    values = counted(values, 45, 0)
    assert states.totals(values) == (55, 2, 0)


def test_a_shared_window_of_time_forgets_by_halves():
    rules = Rules(half_calls=0, half_ns=15 * S)
    values = counted(closed(), 10, 5, now=150, rules=rules)
    values = counted(values, 10, 5, now=164, rules=rules)
    assert states.totals(values) == (20, 10, 0)
    values = counted(values, 1, 1, now=165, rules=rules)
    assert states.totals(values) == (21, 11, 0)
    values = counted(values, 1, 1, now=180, rules=rules)
    assert states.totals(values) == (2, 2, 0)
    values = counted(values, 1, 1, now=225, rules=rules)
    assert states.totals(values) == (1, 1, 0)


def test_failures_in_a_row_are_counted_over_processes_and_end_with_a_success():
    values = counted(closed(), 1, 1)
    values = counted(values, 2, 2)
    assert states.tally_of(values[0]) == 3
    values = counted(values, 5, 1)
    assert states.tally_of(values[0]) == 1
    values = counted(values, 3, 0)
    assert states.tally_of(values[0]) == 0


def test_counts_of_another_generation_or_state_are_dropped():
    assert counted(closed(), 5, 5, generation=6) == closed()
    for code in (OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY):
        values = (packed(code, generation=7), 1, 2)
        assert counted(values, 5, 5) == values


def test_counts_that_just_fit_are_kept():
    full = states.MOST_COUNT, states.MOST_COUNT, states.MOST_COUNT
    assert states.counts(states.packed_counts(*full)) == full
    assert states.packed_counts(*full) < 1 << 63


def test_counts_that_do_not_fit_keep_their_proportions():
    calls, failures, slow = states.counts(states.packed_counts(states.MOST_COUNT * 3, states.MOST_COUNT, 9))
    assert calls <= states.MOST_COUNT
    assert failures / calls == pytest.approx(1 / 3, rel=1e-4)
    assert slow == 2


# -- settings

BAD = [
    ({"failure_rate": 1.5}, "failure_rate"),
    ({"failure_rate": 0}, "failure_rate"),
    ({"failure_rate": "half"}, "failure_rate"),
    ({"slow_rate": -0.1}, "slow_rate"),
    ({"window": 0}, "window"),
    ({"window": -5}, "window"),
    ({"window": "30 parsecs"}, "window"),
    ({"window": "0s"}, "window"),
    ({"window": 1.5}, "window"),
    ({"min_calls": 0}, "min_calls"),
    ({"window": 10, "min_calls": 11}, "min_calls"),
    ({"consecutive": 0}, "consecutive"),
    ({"consecutive": True}, "consecutive"),
    ({"slow_after": -1}, "slow_after"),
    ({"open_for": -1}, "open_for"),
    ({"open_for": (60, 5)}, "open_for"),
    ({"open_for": (1, 2, 3)}, "open_for"),
    ({"open_for": float("nan")}, "open_for"),
    ({"probes": 0}, "probes"),
    ({"probes": 13}, "probes"),
    ({"probe_lease": 0}, "probe_lease"),
    ({"successes": 0}, "successes"),
    ({"failure_on": KeyboardInterrupt}, "failure_on"),
    ({"failure_on": "ConnectionError"}, "failure_on"),
    ({"failure_if": 5}, "failure_if"),
    ({"ignore": (ValueError, 3)}, "ignore"),
    ({"scope": "fleet"}, "scope"),
    ({"failure_rate": None}, "failure_rate"),
]


@pytest.mark.parametrize(("given", "field"), BAD)
def test_an_impossible_setting_is_refused_by_name(given, field):
    with pytest.raises(BadArgument) as caught:
        CircuitBreaker(**given)
    assert caught.value.field.startswith(field)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("field", ["failure_threshold", "success_threshold", "timeout", "recovery_timeout"])
def test_the_four_numbers_are_refused_by_their_names(field):
    with pytest.raises(BadArgument) as caught:
        CircuitBreakerConfig(**{field: -1})
    assert caught.value.field == field


def test_fewer_calls_are_needed_in_a_smaller_window():
    assert CircuitBreaker(window=5).min_calls == 5
    assert CircuitBreaker(window=500).min_calls == 20
    assert CircuitBreaker(window="10s").min_calls == 20


class Missing(KeyError):
    pass


JUDGED = [
    ({}, ValueError(), FAILURE),
    ({}, KeyboardInterrupt(), NEUTRAL),
    ({}, GeneratorExit(), NEUTRAL),
    ({}, BreakerOpen("x"), NEUTRAL),
    ({}, DeadlineExceeded("x"), NEUTRAL),
    ({}, TimeoutError(), FAILURE),
    ({"failure_on": (OSError, KeyError)}, ValueError(), NEUTRAL),
    ({"failure_on": (OSError, KeyError)}, ConnectionError(), FAILURE),
    ({"failure_on": KeyError, "ignore": Missing}, Missing(), NEUTRAL),
    ({"failure_on": KeyError, "ignore": Missing}, KeyError(), FAILURE),
    ({"failure_on": lambda error: "bad" in str(error)}, ValueError("bad"), FAILURE),
    ({"failure_on": lambda error: "bad" in str(error)}, ValueError("good"), NEUTRAL),
    ({"ignore": lambda error: error.args == (404,)}, OSError(404), NEUTRAL),
    ({"ignore": lambda error: error.args == (404,)}, OSError(500), FAILURE),
]


@pytest.mark.parametrize(("given", "error", "outcome"), JUDGED)
def test_an_exception_is_a_failure_or_says_nothing(given, error, outcome):
    assert CircuitBreaker(**given).judge(error) == outcome


# -- a live one


def fail():
    raise ConnectionError


def live(**parts):
    policy = Policy("live", breaker=CircuitBreaker(**{"consecutive": 2, "open_for": 5, "probes": 1, **parts}))
    return policy, policy.breaker


def trip(policy, times=2):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            policy.call(fail)


def test_the_four_numbers_mean_what_they_say(clock):
    policy = Policy("c-11", breaker=CircuitBreakerConfig(5, 3, 60, 300))
    trip(policy, 4)
    assert policy.breaker.state == "closed"
    trip(policy, 1)
    assert policy.breaker.state == "open"
    clock.move(299)
    with pytest.raises(BreakerOpen) as caught:
        policy.call(int)
    assert caught.value.retry_after == pytest.approx(1)
    clock.move(1)
    for expected in ("half_open", "half_open", "closed"):
        policy.call(int)
        assert policy.breaker.state == expected
    slow = policy(lambda: clock.move(60))
    for _ in range(5):
        slow()
    assert policy.breaker.state == "open"


def test_a_trial_that_fails_opens_it_again(clock):
    policy = Policy("c-11", breaker=CircuitBreakerConfig())
    trip(policy, 5)
    clock.move(300)
    policy.call(int)
    trip(policy, 1)
    assert policy.breaker.state == "open"
    assert policy.breaker.retry_after == pytest.approx(300)


FORCED = ["forced_open", "disabled", "metrics_only"]


@pytest.mark.parametrize("state", FORCED)
def test_a_forced_state_stays_for_its_time_and_then_it_is_closed(clock, state):
    _, breaker = live()
    breaker.force(state, for_=60)
    assert breaker.state == state
    assert breaker.forced_for == pytest.approx(60)
    clock.move(59.9)
    assert breaker.state == state
    clock.move(0.1)
    assert breaker.state == "closed"
    assert breaker.forced_for is None


@pytest.mark.parametrize("state", FORCED)
def test_a_forced_state_without_a_time_stays_until_it_is_reset(clock, state):
    _, breaker = live()
    breaker.force(state)
    clock.move(1_000_000)
    assert breaker.state == state
    breaker.reset()
    assert breaker.state == "closed"


def test_forced_open_lets_nothing_through_and_nobody_knows_for_how_long():
    policy, breaker = live()
    guarded = policy(int)
    assert guarded() == 0
    breaker.force("forced_open")
    with pytest.raises(BreakerOpen) as caught:
        guarded()
    assert caught.value.retry_after is None
    assert caught.value.policy == "live"
    breaker.reset()
    assert guarded() == 0


def test_disabled_lets_everything_through_and_judges_nothing():
    policy, breaker = live()
    breaker.force("disabled")
    trip(policy, 50)
    assert breaker.state == "disabled"
    breaker.reset()
    trip(policy, 2)
    assert breaker.state == "open"


@pytest.mark.parametrize("for_", [None, 100])
def test_metrics_only_lets_everything_through_and_counts(clock, for_):
    policy, breaker = live(consecutive=None, window=10, min_calls=10)
    breaker.force("metrics_only", for_=for_)
    for _ in range(6):
        policy.call(int)
    trip(policy, 3)
    found = breaker.snapshot()
    assert (found["state"], found["calls"], found["failures"]) == ("metrics_only", 9, 3)
    trip(policy, 30)
    assert breaker.state == "metrics_only"


def test_it_may_be_opened_and_half_opened_by_hand(clock):
    policy, breaker = live()
    breaker.force("open", for_=30)
    with pytest.raises(BreakerOpen) as caught:
        policy.call(int)
    assert caught.value.retry_after == pytest.approx(30)
    breaker.force("half_open")
    policy.call(int)
    assert breaker.state == "closed"
    breaker.force("open")
    clock.move(5)
    policy.call(int)
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    ("state", "for_", "field"),
    [("ajar", None, "state"), (None, None, "state"), ("forced_open", -1, "for_"), ("disabled", "soon", "for_"),
     ("closed", 5, "for_"), ("half_open", 5, "for_")],
)  # fmt: skip
def test_an_impossible_force_changes_nothing(state, for_, field):
    _, breaker = live()
    with pytest.raises(BadArgument) as caught:
        breaker.force(state, for_=for_)
    assert caught.value.field == field
    assert breaker.state == "closed"


def test_what_is_forced_while_a_call_is_under_way_is_not_undone_by_it():
    policy, breaker = live(consecutive=1)

    @policy
    def work():
        breaker.force("forced_open")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        work()
    assert breaker.state == "forced_open"


def test_a_state_that_others_hold_is_not_forced_and_says_so():
    _, breaker = live()

    class Locked:
        def read(self):
            return 0, 0, 0, 0

        def update(self, fn, patience=0.05):
            return None

    breaker._word = Locked()
    with pytest.raises(Temporary):
        breaker.force("forced_open")


def test_slow_calls_open_it_and_a_slow_probe_opens_it_again(clock):
    policy, breaker = live(consecutive=None, window=10, min_calls=5, slow_after=1.0, slow_rate=0.6)
    guarded = policy(clock.move)
    for seconds in (1, 0.9, 1, 0.1):
        guarded(seconds)
    assert breaker.state == "closed"
    guarded(1)
    assert breaker.state == "open"
    assert breaker.reason == "3 of 5 calls were slow"
    clock.move(10)
    guarded(1)
    assert breaker.state == "open"
    clock.move(10)
    guarded(0.5)
    assert breaker.state == "closed"
    assert policy.snapshot()["calls"]["slow"] == 4


def test_a_result_may_be_a_failure():
    policy, breaker = live(failure_if=lambda status: status >= 500)
    guarded = policy(lambda status: status)
    assert [guarded(status) for status in (500, 200, 503, 500)] == [500, 200, 503, 500]
    assert breaker.state == "open"


def test_a_predicate_that_fails_says_nothing_and_the_result_is_not_lost():
    policy, breaker = live(failure_if=lambda result: result.status >= 500)
    assert policy.call(int) == 0
    assert policy.snapshot()["calls"]["neutral"] == 1
    assert breaker.state == "closed"


def test_a_snapshot_says_what_the_window_holds(clock):
    policy, breaker = live(consecutive=None, window="30s", min_calls=20)
    for _ in range(5):
        policy.call(int)
    trip(policy, 3)
    found = breaker.snapshot()
    assert (found["calls"], found["failures"], found["failure_rate"]) == (8, 3, 0.375)
    assert found["failures_in_row"] == 3
    clock.move(30)
    assert breaker.snapshot()["calls"] == 0
    assert breaker.snapshot()["failure_rate"] is None


def test_settings_are_plain_values():
    described = CircuitBreaker(failure_on=(OSError, KeyError), ignore=Missing, window="30s").describe()
    assert described["failure_on"] == ["OSError", "KeyError"]
    assert described["ignore"] == "Missing"
    assert described["window"] == "30s"


# -- a shared word that others hold, or that fails


class Stubborn:
    """A store of one word without a stamp of its own, which may be locked by somebody else."""

    def __init__(self):
        self.kept = Word()
        self.locked = False
        self.read = self.kept.read

    def word(self, _name):
        return self

    def update(self, fn, patience=0.05):
        return None if self.locked else self.kept.update(fn, patience)


class Outside:
    def __init__(self, store):
        self.store = lambda: store
        self.changed = self.count = self.add = self.declared = lambda *_: None
        self.words = lambda _policy: None
        self.failed = lambda *_: False


@pytest.fixture
def stubborn():
    before, store = hook._listener, Stubborn()
    hook.attach(Outside(store))
    yield store
    hook.attach(before)


def test_a_break_that_cannot_be_ended_now_goes_on_a_moment(clock, stubborn):
    policy, breaker = live(scope="host")
    assert breaker.snapshot()["shared"] is True
    trip(policy)
    clock.move(5)
    stubborn.locked = True
    with pytest.raises(BreakerOpen) as caught:
        policy.call(int)
    assert caught.value.retry_after == pytest.approx(0.05)
    stubborn.locked = False
    assert policy.call(int) == 0
    assert breaker.state == "closed"


def test_who_cannot_tell_the_others_of_its_failures_stops_alone(clock, stubborn):
    policy, breaker = live(scope="host")
    guarded = policy(int)
    guarded()
    stubborn.locked = True
    trip(policy)
    assert breaker.state == "closed"
    with pytest.raises(BreakerOpen) as caught:
        guarded()
    assert caught.value.retry_after == pytest.approx(5)
    clock.move(5)
    assert guarded() == 0
    stubborn.locked = False
    assert guarded() == 0
    assert breaker.state == "closed"


def test_a_probe_that_cannot_be_given_back_is_over_with_its_lease(clock, stubborn):
    policy, breaker = live(scope="host")
    trip(policy)
    clock.move(5)

    @policy
    def probe():
        stubborn.locked = True

    probe()
    stubborn.locked = False
    assert breaker.state == "half_open"
    with pytest.raises(BreakerOpen):
        policy.call(int)
    clock.move(5.001)
    assert policy.call(int) == 0
    assert breaker.state == "closed"


def test_successes_that_cannot_be_told_now_are_told_later(clock, stubborn):
    settings = {"scope": "host", "consecutive": None, "window": 100, "min_calls": 100}
    (one, _), (other, breaker) = live(**settings), live(**settings)
    good = other(int)
    for _ in range(7):
        good()
    trip(one, 1)
    stubborn.locked = True
    good()
    assert breaker.snapshot()["calls"] == 1
    stubborn.locked = False
    good()
    assert breaker.snapshot()["calls"] == 10


def test_a_state_that_others_set_is_seen_by_the_next_call(stubborn):
    (one, breaker), (other, _) = live(scope="host"), live(scope="host")
    good = other(int)
    good()
    breaker.force("forced_open")
    with pytest.raises(BreakerOpen):
        good()
    breaker.reset()
    assert good() == 0
    slow = one(int)
    assert slow() == 0


def test_slow_calls_of_all_open_a_shared_one(clock, stubborn):
    settings = {"scope": "host", "consecutive": None, "window": 10, "min_calls": 4, "slow_after": 1, "slow_rate": 0.5}
    (one, _), (other, breaker) = live(**settings), live(**settings)
    for policy in (one, other, one):
        policy.call(clock.move, 1)
    assert breaker.state == "closed"
    other.call(clock.move, 1)
    assert breaker.state == "open"
