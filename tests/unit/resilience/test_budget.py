"""A budget lets pass a share of the successes and a few, and no more."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.budget import Budget

NS = 1_000_000_000


def spent(budget, now_ns, most=10_000):
    count = 0
    while count < most and budget.spend(now_ns):
        count += 1
    return count


def earn(budget, times):
    for _ in range(times):
        budget.earned()


def test_without_any_success_the_minimum_passes_in_each_period():
    budget = Budget(0.1, 3, per=10)
    start = budget._looked_ns
    assert spent(budget, start) == 3
    assert spent(budget, start + 3 * NS) == 0
    assert spent(budget, start + 10 * NS) == 3
    assert spent(budget, start + 1000 * NS) == 3


def test_successes_earn_their_share():
    budget = Budget(0.1, 0, per=10)
    now = budget._looked_ns
    assert spent(budget, now) == 0
    earn(budget, 9)
    assert spent(budget, now) == 0
    earn(budget, 1)
    assert spent(budget, now) == 1
    earn(budget, 1000)
    assert spent(budget, now) == 100
    assert spent(budget, now) == 0


def test_looking_earns_nothing():
    budget = Budget(1.0, 0, per=10)
    now = budget._looked_ns
    for _ in range(100):
        assert budget.left(now) == 0
        assert not budget.spend(now)


def test_what_was_earned_long_ago_is_no_credit():
    budget = Budget(0.1, 3, per=10)
    start = budget._looked_ns
    earn(budget, 100_000)
    assert spent(budget, start + 3600 * NS) == 30  # 3 and a tenth of what came, on average, in the last 10 s


@pytest.mark.parametrize(("after", "left"), [(5, 33), (10, 33), (15, 23), (20, 18), (30, 13)])
def test_what_was_earned_counts_as_if_spread_over_the_time_since_the_last_look(after, left):
    budget = Budget(0.1, 3, per=10)
    earn(budget, 300)
    assert budget.left(budget._looked_ns + after * NS) == pytest.approx(left)


def test_without_any_success_no_more_than_the_minimum_gathers():
    budget = Budget(1.0, 3, per=10)
    start = budget._looked_ns
    for after in (0, 1, 5, 10, 15, 100):
        assert budget.left(start + after * NS) == 3


def test_credit_that_is_not_used_ends_with_the_period():
    budget = Budget(0.1, 3, per=10)
    now = budget._looked_ns
    earn(budget, 1000)
    assert budget.left(now) == pytest.approx(103)
    assert budget.left(now + 10 * NS) == pytest.approx(3)


def test_a_clock_that_stands_still_or_is_read_late_gives_nothing():
    budget = Budget(0.0, 2, per=10)
    start = budget._looked_ns
    assert spent(budget, start + 5 * NS) == 2
    assert spent(budget, start) == 0
    assert spent(budget, start + 5 * NS) == 0
    quick = Budget(0.0, 1e9, per=1)  # one in each nanosecond
    start = quick._looked_ns
    assert [quick.spend(start) for _ in range(5)] == [True] * 5
    assert quick.left(start) == quick.left(start - 1) == 1e9 - 5
    assert quick.left(start + 2) == pytest.approx(1e9 - 3, abs=0.1)


@given(
    ratio=st.floats(0, 1),
    minimum=st.integers(0, 20),
    per=st.sampled_from([0.5, 1, 10, 600]),
    events=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500), st.integers(0, 50)), max_size=40),
)
def test_over_any_time_no_more_pass_than_the_ratio_and_the_minimum(ratio, minimum, per, events):
    budget = Budget(ratio, minimum, per=per)
    now = start = budget._looked_ns
    earned = passed = 0
    for wait, successes, tries in events:
        now += int(wait * NS)
        earn(budget, successes)
        earned += successes
        passed += spent(budget, now, tries)
        allowed = minimum * (1 + (now - start) / NS / per) + ratio * earned
        assert passed <= allowed + 1e-6 * (1 + len(events))


def test_threads_together_get_no_more_than_there_is():
    budget = Budget(0.0, 50, per=10_000)
    now = budget._looked_ns
    passed = []
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        passed.append(sum(budget.spend(now) for _ in range(100)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 50


def test_who_comes_in_between_is_refused_instead_of_waiting_for_ever():
    budget = Budget(0.1, 3)
    with budget._lock:  # as a signal handler would find it
        assert budget.spend(budget._looked_ns) is False
        assert budget.left(budget._looked_ns) is None
    assert budget.spend(budget._looked_ns) is True


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"ratio": 1.1}, "ratio"),
        ({"ratio": -0.1}, "ratio"),
        ({"ratio": "0.1"}, "ratio"),
        ({"minimum": -1}, "minimum"),
        ({"minimum": 1e9 + 1}, "minimum"),
        ({"per": 0}, "per"),
        ({"per": "ten"}, "per"),
        ({"per": "10 parsecs"}, "per"),
        ({"per": None}, "per"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(options, field):
    with pytest.raises(BadArgument) as refused:
        Budget(**options)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("per", "seconds"), [("10s", 10), ("500ms", 0.5), ("2m", 120), ("1 h", 3600), (0.25, 0.25), ("1.5s", 1.5)]
)
def test_a_period_is_seconds_or_a_text_with_a_unit(per, seconds):
    assert Budget(per=per).per == seconds


def test_it_describes_itself():
    assert Budget().describe() == {"ratio": 0.1, "minimum": 3, "per": 10}
    assert repr(Budget(0.2, 5, per="1m")) == "Budget(ratio=0.2, minimum=5, per=60)"
