"""What a breaker judges by: windows of calls and of time, against lists that simply remember everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.resilience.window import FAR, MOST, PARTS, CountWindow, TimeWindow

OUTCOMES = st.sampled_from(["good", "slow", "bad"])


@given(size=st.integers(1, 12), outcomes=st.lists(OUTCOMES, max_size=60))
def test_a_window_of_calls_holds_exactly_the_last_ones(size, outcomes):
    window = CountWindow(size)
    assert window.edge_ns == window.mark(0, 5) == FAR
    good, seen = 0, []
    for outcome in outcomes:
        if outcome == "bad":
            window.failed(good, 0)
        else:
            good += 1
            if outcome == "slow":
                window.slowed(good, 0)
        seen.append(outcome)
        last = seen[-size:]
        assert window.totals(good, 0) == (len(last), last.count("bad"), last.count("slow"))
    assert CountWindow(size).totals(0, 0) == (0, 0, 0)


def test_a_window_of_calls_is_never_to_be_told_the_time():
    assert CountWindow(5).edge_ns >= (1 << 63) - 1  # no clock in nanoseconds comes to that


SPAN = 64_000


@given(calls=st.lists(st.tuples(st.integers(1, SPAN // 3), OUTCOMES), max_size=80))
def test_a_window_of_time_holds_what_came_in_it_but_for_a_sixty_fourth(calls):
    window = TimeWindow(SPAN)
    now, good, edge, seen = 1_000_000, 0, window.edge_ns, []
    assert window.totals(0, now) == (0, 0, 0)
    for wait, outcome in calls:
        now += wait
        if outcome == "bad":
            window.failed(good, now)
        else:
            if now >= edge:
                edge = window.mark(good, now)
                assert edge == now + SPAN // PARTS
            good += 1
            if outcome == "slow":
                window.slowed(good, now)
        seen.append((now, outcome))
        within = [what for at, what in seen if at > now - SPAN]
        surely = [what for at, what in seen if at > now - SPAN + SPAN // PARTS]
        total, failures, slow = window.totals(good, now)
        assert failures == within.count("bad")
        answers = total - failures
        assert len(surely) - surely.count("bad") <= answers <= len(within) - within.count("bad")
        assert surely.count("slow") <= slow <= within.count("slow")
        assert slow <= answers


@given(outcomes=st.lists(OUTCOMES, min_size=1, max_size=30))
def test_a_window_of_time_forgets_everything_after_its_time(outcomes):
    window = TimeWindow(SPAN)
    now, good = 1_000_000, 0
    window.mark(0, now)
    for outcome in outcomes:
        if outcome == "bad":
            window.failed(good, now)
        else:
            good += 1
            if outcome == "slow":
                window.slowed(good, now)
    assert window.totals(good, now + SPAN - 1)[0] == len(outcomes)
    assert window.totals(good, now + SPAN) == (0, 0, 0)


def test_the_first_mark_of_a_window_of_time_is_due_from_the_beginning_of_the_clock():
    assert TimeWindow(SPAN).edge_ns == 0


def test_a_window_of_time_that_is_used_for_long_stays_small():
    window = TimeWindow(SPAN)
    now, good, edge = 1_000_000, 0, 0
    for _ in range(20_000):
        now += 100
        if now >= edge:
            edge = window.mark(good, now)
        good += 1
        window.failed(good, now)
        window.slowed(good, now)
    kept = len(window._marks) + len(window._bad) + len(window._slow)
    assert kept <= 2 * SPAN // 100 + 2 * PARTS + 2
    assert window.totals(good, now) == (
        len(range(now - SPAN + 100, now + 1, 100)) * 2 - _uncounted(window, now),
        640,
        640 - _uncounted(window, now),
    )


def _uncounted(window, now):
    """Return how many good calls of the window came before its first mark."""
    first = next(at for at, _ in window._marks if at > now - SPAN)
    return len(range(now - SPAN + 100, first, 100))


def test_a_window_of_time_that_is_full_of_failures_takes_bounded_memory_and_keeps_its_rate():
    window = TimeWindow(3600 * 10**9)
    due, now = 0, 0
    for number in range(3 * MOST):  # every second call fails, a millisecond apart
        now += 1_000_000
        if now >= due:
            due = window.mark(number, now)
        window.failed(number, now)
    calls, failures, _ = window.totals(3 * MOST, now)
    assert len(window._bad) == MOST == failures
    assert calls == 2 * MOST


LATE = 10**15
"""A clock as it is after days: later than any count of calls."""


def full(note):
    """Return a window of an hour that holds as many failures or slow calls as it remembers, a ms apart, and now."""
    window, now = TimeWindow(3600 * 10**9), LATE
    window.mark(0, now)
    for number in range(1, MOST + 1):
        now += 1_000_000
        note(window, number, now)
    return window, now


def test_a_window_of_time_that_is_full_of_slow_calls_counts_from_the_oldest_that_it_remembers():
    window, now = full(lambda window, number, now: window.slowed(number, now))
    for number in range(MOST + 1, MOST + 4):
        now += 1_000_000
        window.slowed(number, now)
    assert window.totals(MOST + 3, now) == (MOST, 0, MOST)


def test_a_window_of_time_that_is_full_and_passes_by_loses_one_after_the_other():
    window, now = full(lambda window, number, now: window.failed(0, now))
    first = LATE + 1_000_000 + window.span_ns
    assert window.totals(0, first - 1) == (MOST, MOST, 0)
    assert window.totals(0, first) == (MOST - 1, MOST - 1, 0)
    window, now = full(lambda window, number, now: window.slowed(number, now))
    assert window.totals(MOST, now) == (MOST, 0, MOST)


def test_nothing_counts_that_came_a_nanosecond_before_the_oldest_failure_of_a_full_window():
    window = TimeWindow(3600 * 10**9)
    window.mark(0, LATE - 10)
    window.slowed(1, LATE - 1)
    for number in range(MOST):
        window.failed(1, LATE + number)
    assert window.totals(4, LATE + MOST) == (MOST + 3, MOST, 0)
