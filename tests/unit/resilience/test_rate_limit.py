"""The rate limiter admits what its limit says, in threads, and on words that fail it."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import _clock
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.rate_limit import RateLimiter
from roadworthy.resilience.rejected import RateLimited
from roadworthy.resilience.store import Word

NS = 1_000_000_000


def admitted(limiter, now_ns, most=10_000):
    count = 0
    while count < most:
        try:
            limiter.acquire(now_ns)
        except RateLimited:
            break
        count += 1
    return count


def test_a_burst_passes_at_once_and_then_one_in_each_space():
    limiter = RateLimiter(5, per=1)
    assert admitted(limiter, 100 * NS) == 5
    assert admitted(limiter, 100 * NS + NS // 10) == 0
    assert admitted(limiter, 100 * NS + NS // 5) == 1
    assert admitted(limiter, 101 * NS) == 4
    assert admitted(limiter, 1000 * NS) == 5


def test_a_burst_of_one_spaces_calls_evenly():
    limiter = RateLimiter(10, per="1m", burst=1)
    assert [admitted(limiter, second * NS) for second in (0, 1, 5, 6, 11, 12, 60)] == [1, 0, 0, 1, 0, 1, 1]


def test_a_refusal_says_when_the_call_might_pass():
    limiter = RateLimiter(2, per=10)
    assert admitted(limiter, 0) == 2
    with pytest.raises(RateLimited, match=r"more than 2 calls in 10 s") as refused:
        limiter.acquire(NS)
    assert refused.value.retry_after == 4.0
    assert admitted(limiter, 5 * NS - 1) == 0
    assert admitted(limiter, 5 * NS) == 1


def test_a_call_that_may_wait_has_its_turn_in_order():
    limiter = RateLimiter(10, per=1, burst=1, wait=0.25)
    assert [limiter.acquire(0) for _ in range(3)] == [0.0, 0.1, 0.2]
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(0)
    assert refused.value.retry_after == pytest.approx(0.3)
    assert limiter.acquire(NS // 10) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("left", "passes"), [(NS, True), (NS // 10, True), (NS // 20, False), (0, False), (-NS, False)]
)
def test_no_turn_is_taken_that_the_deadline_cannot_hold(left, passes):
    for now in (0, 100 * NS):
        limiter = RateLimiter(10, per=1, burst=1, wait=5)
        assert limiter.acquire(now) == 0.0
        if passes:
            assert limiter.acquire(now, now + left) == 0.1
        else:
            with pytest.raises(RateLimited):
                limiter.acquire(now, now + left)
            assert limiter.acquire(now) == 0.1


def test_a_deadline_that_is_over_leaves_not_a_nanosecond_to_wait():
    limiter = RateLimiter(10, per=1, burst=1, wait=5)
    limiter.acquire(0)
    for now in (NS // 10 - 1, NS // 10 - 1000):
        with pytest.raises(RateLimited):
            limiter.acquire(now, now - NS)
    assert limiter.acquire(NS // 10, 0) == 0.0


@given(
    limit=st.integers(1, 50),
    per=st.sampled_from([0.01, 0.3, 1, 7, 60]),
    burst=st.one_of(st.none(), st.integers(1, 80)),
    wait=st.sampled_from([0.0, 0.05, 2.0]),
    gaps=st.lists(st.integers(0, 2_000_000_000), min_size=1, max_size=150),
)
def test_in_no_window_begin_more_than_the_burst_and_the_limit(limit, per, burst, wait, gaps):
    limiter = RateLimiter(limit, per=per, burst=burst, wait=wait)
    now, begun = 10**15, []
    for gap in gaps:
        now += gap
        try:
            after = limiter.acquire(now)
        except RateLimited:
            continue
        assert 0 <= after <= wait + 1e-9
        begun.append(now + round(after * NS))
    begun.sort()
    space = per * NS / limit
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            window = begun[last] - begun[first]
            allowed = (burst or limit) + (window + 2 * len(begun)) / space
            assert last - first + 1 <= allowed + 1e-6


@given(limit=st.integers(1, 20), gaps=st.lists(st.integers(0, NS), max_size=60))
def test_a_caller_that_keeps_to_the_limit_is_never_refused(limit, gaps):
    limiter = RateLimiter(limit, per=1, burst=1)
    now = 0
    for gap in gaps:
        assert limiter.acquire(now) == 0.0
        now += limiter._space_ns + gap


def test_threads_together_get_no_more_than_one_would():
    limiter = RateLimiter(40, per=3600)
    passed = []
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        passed.append(admitted(limiter, 5 * NS))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 40


def test_two_processes_share_a_limit_by_sharing_its_word():
    word = Word()
    limiters = [RateLimiter(4, per=1, scope="host") for _ in range(2)]
    for limiter in limiters:
        limiter.bind(word)
    assert admitted(limiters[0], NS, 3) == 3
    assert admitted(limiters[1], NS) == 1
    assert admitted(limiters[0], NS) == 0


class Stuck(Word):
    """A shared word that can be read and never be had."""

    def update(self, fn, patience=0.05):
        return None


def test_a_shared_word_that_cannot_be_had_leaves_each_process_its_own_limit():
    word = Stuck()
    limiter = RateLimiter(4, per=1, scope="host")
    limiter.bind(word)
    assert admitted(limiter, NS) == 4
    assert admitted(limiter, NS) == 0
    assert admitted(limiter, 3 * NS) == 4


def test_when_not_even_its_own_count_can_be_had_a_call_is_refused():
    limiter = RateLimiter(4, per=1)
    limiter.bind(Stuck())
    limiter._local = Stuck()
    with pytest.raises(RateLimited):
        limiter.acquire(NS)


def test_it_goes_on_from_what_it_last_saw_of_the_shared_word():
    word = Stuck()
    Word.update(word, lambda a, b, c: (NS + 3 * NS // 4, b, c))  # three of four are taken
    limiter = RateLimiter(4, per=1)
    limiter.bind(word)
    assert admitted(limiter, NS) == 1


@pytest.mark.parametrize("stale", [10**18, 2**62])
def test_a_point_in_time_that_no_call_can_have_set_does_not_refuse_for_ever(stale):
    limiter = RateLimiter(4, per=1, wait=0.5)
    limiter._word.update(lambda a, b, c: (stale, b, c))
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(NS)
    assert refused.value.retry_after < 2
    assert limiter.acquire(3 * NS) == 0.0


@given(
    late=st.integers(0, 3600 * NS), limit=st.integers(1, 50), burst=st.integers(1, 50), wait=st.sampled_from([0.0, 2.0])
)
def test_a_thread_that_was_stopped_since_it_read_the_clock_gives_nothing_back(late, limit, burst, wait):
    limiter = RateLimiter(limit, per=1, burst=burst, wait=wait)
    now = _clock.monotonic_ns()
    admitted(limiter, now)
    taken = limiter._word.read()
    with pytest.raises(RateLimited):
        limiter.acquire(now - late)
    assert limiter._word.read() == taken


def test_a_point_in_time_of_another_boot_is_taken_back():
    word = Word()
    limiter = RateLimiter(4, per=1)
    limiter.bind(word)
    another = _clock.monotonic_ns() + 10**15
    word._near = (another + NS // 2, 0, 0, another, {})
    now = _clock.monotonic_ns()
    with pytest.raises(RateLimited):
        limiter.acquire(now)
    assert limiter.acquire(now + 2 * NS) == 0.0


def test_the_other_numbers_of_the_word_are_left_alone():
    limiter = RateLimiter(4)
    limiter._word.update(lambda a, b, c: (0, 7, 9))
    limiter.acquire(NS)
    assert limiter._word.read()[1:3] == (7, 9)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": -3}, "limit"),
        ({"per": 0}, "per"),
        ({"per": -1}, "per"),
        ({"per": "often"}, "per"),
        ({"burst": 0}, "burst"),
        ({"burst": 2**31, "limit": 1, "per": "1h"}, "burst * per / limit"),
        ({"burst": 10**7, "limit": 1, "per": "1h"}, "burst * per / limit"),
        ({"wait": -1}, "wait"),
        ({"wait": float("inf")}, "wait"),
        ({"scope": "galaxy"}, "scope"),
        ({"scope": "fleet"}, "scope"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(options, field):
    with pytest.raises(BadArgument) as refused:
        RateLimiter(**{"limit": 5, **options})
    assert refused.value.field == field


def test_a_limit_of_many_calls_in_a_long_time_is_one():
    limiter = RateLimiter(10**6, per="1h")
    assert limiter.acquire(NS) == 0.0
    assert limiter._word.read()[0] == NS + 3_600_000
    for limit in (10**9, 2**31):  # no two in the same nanosecond
        limiter = RateLimiter(limit)
        limiter.acquire(NS)
        assert limiter._word.read()[0] == NS + 1


def test_it_describes_itself():
    assert RateLimiter(5).describe() == {"limit": 5, "per": 1, "burst": 5, "wait": 0, "scope": "process"}
    limiter = RateLimiter(50, per="10s", wait=1)
    assert limiter.describe() == {"limit": 50, "per": 10, "burst": 50, "wait": 1, "scope": "process"}
    assert repr(limiter) == "RateLimiter(50, per=10, burst=50, wait=1)"
