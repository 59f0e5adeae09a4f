"""A policy as a whole: the order of its parts, its forms, what it counts and tells."""

import asyncio
import contextlib
import copy
import itertools
import pickle
import subprocess
import sys
from types import ModuleType

import pytest

from roadworthy import _clock
from roadworthy.resilience import (
    AdjustingTimeout,
    BreakerOpen,
    Budget,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    DeadlineExceeded,
    Fallback,
    Hedge,
    Policy,
    RateLimited,
    RateLimiter,
    Retry,
    chain,
    deadline,
    deadline_remaining,
    hook,
)
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.chance import chance
from roadworthy.testing import MovableClock

_names = itertools.count()


@pytest.fixture
def clock():
    with MovableClock() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_of_ours_failed(request):
    hook._noted.clear()
    yield
    assert bool(hook.failures()) == ("broken" in request.node.name or "predicate" in request.node.name)


def named(**parts):
    return Policy(f"policy-{next(_names)}", **parts)


def calls(policy):
    return {key: n for key, n in policy.snapshot()["calls"].items() if n}


def fails(*errors):
    """Return a function that raises these, one a call, and then answers."""
    waiting = list(errors)

    def work(*args, **kwargs):
        if waiting:
            raise waiting.pop(0)
        return "ok"

    return work


RETRY = {"on": (ConnectionError, TimeoutError), "backoff": (0, 0)}


# -- the canonical order, from the outside to the inside


def test_a_fallback_answers_for_everything_inside_it(clock):
    policy = named(
        fallback=Fallback.value("old"),
        deadline=5,
        retry=Retry(2, **RETRY),
        breaker=CircuitBreaker(consecutive=2),
        rate_limit=RateLimiter(100),
        bulkhead=Bulkhead(5),
    )
    guarded = policy(fails(*[ConnectionError()] * 9))
    assert [guarded() for _ in range(3)] == ["old"] * 3
    assert calls(policy) == {"failure": 2, "breaker_open": 2}


def test_the_deadline_holds_for_all_attempts_and_their_pauses(clock):
    policy = named(deadline=1.0, retry=Retry(100, on=ConnectionError, backoff=(0.4, 0.4), jitter="none"))
    seen = []

    @policy
    def work():
        seen.append(round(deadline_remaining(), 3))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        work()
    assert seen == [1.0, 0.6, 0.2]


def test_each_attempt_asks_breaker_limit_and_bulkhead_anew(clock):
    policy = named(
        retry=Retry(5, **RETRY), breaker=CircuitBreaker(consecutive=50), rate_limit=RateLimiter(3), bulkhead=Bulkhead(1)
    )
    with pytest.raises(ConnectionError):
        policy.call(fails(*[ConnectionError()] * 9))
    assert calls(policy) == {"failure": 3, "rate_limited": 1}
    assert policy.bulkhead.in_use == 0


def test_an_open_breaker_is_not_retried_and_the_last_real_error_comes_out(clock):
    policy = named(retry=Retry(50, on=ConnectionError, backoff=(1, 1)), breaker=CircuitBreaker(consecutive=2))
    with pytest.raises(ConnectionError):
        policy.call(fails(*[ConnectionError()] * 9))
    assert len(clock.pauses) == 2
    clock.pauses.clear()
    with pytest.raises(BreakerOpen):
        policy.call(fails())
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("parts", "refusal", "outcome"),
    [
        ({"rate_limit": RateLimiter(1, per=60)}, RateLimited, "rate_limited"),
        ({"bulkhead": Bulkhead(1)}, BulkheadFull, "bulkhead_full"),
    ],
)
def test_a_refusal_further_in_gives_the_probe_back(clock, parts, refusal, outcome):
    policy = named(breaker=CircuitBreaker(consecutive=1, open_for=1, probes=1), **parts)
    with policy.guard():
        pass
    if policy.bulkhead is not None:
        policy.bulkhead.enter(None)
    policy.breaker.force("half_open")
    for _ in range(3):
        with pytest.raises(refusal) as caught:
            policy.call(fails())
        assert caught.value.policy == policy.name
    assert policy.breaker.state == "half_open"
    assert calls(policy)[outcome] == 3
    if policy.bulkhead is not None:
        policy.bulkhead.leave()
    else:
        clock.move(60)
    assert policy.call(fails()) == "ok"
    assert policy.breaker.state == "closed"


def test_each_hedge_is_a_call_of_its_own():
    policy = named(hedge=Hedge(after=0.01), breaker=CircuitBreaker(), bulkhead=Bulkhead(2))
    inside = []

    @policy
    async def work():
        inside.append(policy.bulkhead.in_use)
        if len(inside) == 1:
            await asyncio.sleep(60)
        return len(inside)

    assert asyncio.run(work()) == 2
    assert inside == [1, 2]
    assert policy.bulkhead.in_use == 0
    assert calls(policy) == {"success": 1, "neutral": 1}


def test_another_order_is_a_chain():
    inner = named(retry=Retry(3, **RETRY))
    outer = named(breaker=CircuitBreaker(consecutive=2))
    both = chain(outer, inner)
    with pytest.raises(ConnectionError):
        both.call(fails(*[ConnectionError()] * 9))
    assert (calls(outer), calls(inner)) == ({"failure": 1}, {"failure": 3})
    assert both(fails(ConnectionError()))() == "ok"
    assert calls(outer) == {"failure": 1, "success": 1}

    async def later():
        return "ok"

    assert asyncio.run(both.acall(later)) == "ok"
    assert asyncio.run(both(later)()) == "ok"
    assert repr(both) == f"chain({outer.name!r}, {inner.name!r})"


@pytest.mark.parametrize("given", [(), (5,), (CircuitBreaker(),)])
def test_a_chain_of_something_else_is_refused(given):
    with pytest.raises(BadArgument):
        chain(*given)


# -- forms


def test_call_hands_on_arguments_and_refuses_a_coroutine_function():
    policy = named()
    assert policy.call(lambda a, /, *, function: (a, function), 1, function=2) == (1, 2)

    async def later():
        return 1

    with pytest.raises(BadArgument, match="acall"):
        policy.call(later)
    assert asyncio.run(policy.acall(later)) == 1


def test_a_block_is_one_attempt():
    policy = named(breaker=CircuitBreaker(consecutive=2, open_for=60), bulkhead=Bulkhead(1), retry=Retry(3, **RETRY))
    inside = []
    for _ in range(2):
        with pytest.raises(ConnectionError), policy.guard():
            inside.append(policy.bulkhead.in_use) or fails(ConnectionError())()
    with pytest.raises(BreakerOpen), policy.guard():
        pass
    assert inside == [1, 1]
    assert policy.bulkhead.in_use == 0
    assert calls(policy) == {"failure": 2, "breaker_open": 1}


def test_an_async_block_is_interrupted_when_its_time_is_up():
    policy = named(attempt_timeout=0.01, breaker=CircuitBreaker(consecutive=1))

    async def work():
        async with policy.guard():
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError, match="within"):
        asyncio.run(work())
    assert policy.breaker.state == "open"


def test_a_loop_goes_on_until_its_block_is_good():
    policy = named(retry=Retry(5, **RETRY), breaker=CircuitBreaker())
    numbers = []
    for attempt in policy:
        with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise ConnectionError
    assert numbers == [1, 2, 3]
    assert calls(policy) == {"success": 1, "failure": 2}


def test_a_loop_ends_with_the_last_real_error():
    policy = named(retry=Retry(9, **RETRY), breaker=CircuitBreaker(consecutive=3))
    rounds = []

    def work():
        for attempt in policy:
            with attempt:
                rounds.append(attempt.number)
                raise ConnectionError(attempt.number)

    with pytest.raises(ConnectionError, match="3"):
        work()
    assert rounds == [1, 2, 3]
    with pytest.raises(BreakerOpen):
        work()
    assert rounds == [1, 2, 3]


def test_an_error_that_is_not_to_be_retried_leaves_the_loop_at_once():
    policy = named(retry=Retry(9, **RETRY))

    def work():
        for attempt in policy:
            with attempt:
                raise KeyError

    with pytest.raises(KeyError):
        work()
    assert calls(policy) == {"failure": 1}


def test_a_loop_whose_attempt_is_not_entered_ends():
    assert [attempt.number for attempt in named(retry=Retry(9, **RETRY))] == [1]


def test_an_async_loop_is_one_too():
    policy = named(retry=Retry(5, **RETRY), attempt_timeout=0.01)
    numbers = []

    async def work():
        async for attempt in policy:
            async with attempt:
                numbers.append(attempt.number)
                if attempt.number < 3:
                    await asyncio.sleep(60)

    asyncio.run(work())
    assert numbers == [1, 2, 3]
    assert calls(policy) == {"success": 1, "failure": 2}


# -- time


def test_a_plain_call_that_took_longer_than_its_time_counts_as_failed_and_keeps_its_result(clock):
    policy = named(attempt_timeout=2, breaker=CircuitBreaker(consecutive=2))
    assert policy.call(lambda: clock.move(1.9) or "ok") == "ok"
    assert [policy.call(lambda: clock.move(2) or "late") for _ in range(2)] == ["late"] * 2
    assert calls(policy) == {"success": 1, "failure": 2}
    assert policy.breaker.state == "open"


def test_a_plain_call_knows_the_time_of_its_attempt_and_not_having_it_is_a_timeout(clock):
    policy = named(attempt_timeout=2, deadline=60, retry=Retry(2, **RETRY))
    inner = named(deadline=30)
    seen = []

    @policy
    def work():
        seen.append(deadline_remaining())
        clock.move(2)
        return inner.call(int)

    with pytest.raises(TimeoutError) as caught:
        work()
    assert not isinstance(caught.value, DeadlineExceeded)
    assert seen == [2, 2]
    assert calls(policy) == {"failure": 2}


@pytest.mark.parametrize(
    ("limit", "outer", "took", "error", "out"),
    [
        (2, None, 2, DeadlineExceeded, TimeoutError),
        (2, None, 1.999, DeadlineExceeded, DeadlineExceeded),
        (2, 3, 2, DeadlineExceeded, TimeoutError),
        (2, 3, 3, DeadlineExceeded, DeadlineExceeded),
        (None, None, 5, DeadlineExceeded, DeadlineExceeded),
        (2, None, 5, ConnectionError, ConnectionError),
        (2, None, 5, KeyError, KeyError),
        (None, None, 5, KeyError, KeyError),
    ],
)
def test_only_a_refusal_for_want_of_the_attempts_own_time_is_a_timeout(clock, limit, outer, took, error, out):
    def work():
        clock.move(took)
        raise error("no")

    policy = named(attempt_timeout=limit, deadline=outer)
    with pytest.raises(out) as caught:
        policy.call(work)
    assert caught.type is out


def test_a_deadline_that_is_over_refuses_the_call(clock):
    policy = named(retry=Retry(3, **RETRY))
    guarded = policy(fails())
    with deadline(1):
        clock.move(1)
        with pytest.raises(DeadlineExceeded) as caught:
            guarded()
    assert caught.value.policy == policy.name
    assert calls(policy) == {"deadline": 1}
    assert guarded() == "ok"


def test_a_deadline_interrupts_a_coroutine_and_counts_as_nobodys_failure():
    policy = named(deadline=0.02, retry=Retry(9, on=TimeoutError), breaker=CircuitBreaker(consecutive=1))

    @policy
    async def hang():
        await asyncio.sleep(60)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(hang())
    assert policy.breaker.state == "closed"
    assert "failure" not in calls(policy)


def test_a_call_waits_for_its_turn_under_a_rate_limit(clock):
    policy = named(rate_limit=RateLimiter(4, per=1, burst=1, wait=10))
    assert [policy.call(fails()) for _ in range(3)] == ["ok"] * 3
    assert clock.pauses == [0.25, 0.25]


def test_a_coroutine_waits_for_its_turn_under_a_rate_limit(clock, monkeypatch):
    policy = named(rate_limit=RateLimiter(4, per=1, burst=1, wait=10))
    waited = []

    async def asleep(_, seconds):
        waited.append(seconds)

    monkeypatch.setattr(Policy, "asleep", asleep)

    async def main():
        async def work():
            return "ok"

        return [await policy.acall(work) for _ in range(3)]

    assert asyncio.run(main()) == ["ok"] * 3
    assert waited == [0.25, 0.5]


def test_a_call_that_the_deadline_ended_was_slow_if_it_took_so_long():
    policy = named(deadline=0.05, breaker=CircuitBreaker(slow_after=0.01))

    async def hang():
        await asyncio.sleep(60)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(policy.acall(hang))
    assert policy.breaker.snapshot()["slow"] in {0, 1}


def test_a_call_that_the_deadline_ended_sooner_says_nothing(clock):
    policy = named(breaker=CircuitBreaker(slow_after=1, slow_rate=0.5))

    def ended(seconds):
        clock.move(seconds)
        raise DeadlineExceeded("no time")

    for seconds in (0.999, 1):
        with pytest.raises(DeadlineExceeded):
            policy.call(ended, seconds)
    found = policy.breaker.snapshot()
    assert (found["calls"], found["failures"], found["slow"]) == (1, 0, 1)
    assert calls(policy) == {"slow": 1, "deadline": 1}


def test_a_timeout_that_adjusts_itself_hears_of_every_attempt(clock):
    limit = AdjustingTimeout(1, 8, 2)
    policy = named(attempt_timeout=limit)
    policy.call(clock.move, 1)
    assert limit.seconds == 2
    policy.call(clock.move, 1.9)
    assert limit.seconds == 2
    policy.call(clock.move, 2)
    assert limit.seconds == 4
    assert policy.snapshot()["attempt_timeout"] == 4


@pytest.mark.parametrize(
    ("error", "seconds"), [(None, 1), (ConnectionError, 1), (KeyboardInterrupt, 2), (asyncio.CancelledError, 2)]
)
def test_a_timeout_that_adjusts_itself_takes_answers_and_errors_for_answers_but_no_interruption(clock, error, seconds):
    limit = AdjustingTimeout(1, 8, 2, calm=1)
    limit.timed_out()

    def work():
        if error is not None:
            raise error

    with contextlib.suppress(BaseException):
        named(attempt_timeout=limit).call(work)
    assert limit.seconds == seconds


def test_an_attempt_timeout_outside_of_a_task_says_so():
    policy = named(attempt_timeout=1)

    async def later():
        return 1

    with pytest.raises(RuntimeError):
        policy(later)().send(None)


# -- what it is asked to repeat


def test_a_result_may_be_no_answer(clock):
    policy = named(retry=Retry(3, on=OSError, on_result=lambda status: status == 503, backoff=(0, 0)))
    answers = [503, 503, 200, 503, 503, 503]
    guarded = policy(lambda: answers.pop(0))
    assert guarded() == 200
    assert guarded() == 503
    assert calls(policy) == {"success": 6}


def test_a_budget_bounds_what_all_calls_together_may_repeat(clock):
    policy = named(retry=Retry(3, on=ConnectionError, backoff=(0, 0), budget=Budget(ratio=0.1, minimum=2, per=10)))
    attempts = 0

    @policy
    def work():
        nonlocal attempts
        attempts += 1
        raise ConnectionError

    for _ in range(50):
        with pytest.raises(ConnectionError):
            work()
    assert attempts == 52
    assert policy.snapshot()["budget_left"] < 1


def test_a_predicate_of_the_retry_that_fails_lets_the_error_out():
    def on(error):
        raise RuntimeError

    policy = named(retry=Retry(3, on=on))
    with pytest.raises(ConnectionError):
        policy.call(fails(ConnectionError()))
    failures = hook.failures()
    assert any(policy.name in place for place in failures)


# -- settings and what it tells of itself

BAD = [
    ({"name": ""}, "name"),
    ({"name": None}, "name"),
    ({"name": "two\nlines"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"deadline": 0}, "deadline"),
    ({"deadline": -1}, "deadline"),
    ({"deadline": "soon"}, "deadline"),
    ({"attempt_timeout": 0}, "attempt_timeout"),
    ({"attempt_timeout": float("inf")}, "attempt_timeout"),
    ({"retry": 3}, "retry"),
    ({"breaker": True}, "breaker"),
    ({"breaker": Retry(2, on=OSError)}, "breaker"),
    ({"rate_limit": 50}, "rate_limit"),
    ({"bulkhead": 20}, "bulkhead"),
    ({"hedge": "p95"}, "hedge"),
    ({"fallback": lambda: 1}, "fallback"),
]


@pytest.mark.parametrize(("given", "field"), BAD)
def test_an_impossible_policy_is_refused_by_field(given, field):
    before = hook.living()  # kept, so that the collector takes none of them meanwhile
    with pytest.raises(BadArgument) as caught:
        Policy(**{"name": "bad", **given})
    assert caught.value.field == field
    assert len(hook.living()) == len(before)


def test_a_call_imports_nothing_that_a_signal_handler_could_come_upon():
    program = """if True:
        import sys
        from roadworthy.resilience import Policy, Retry, CircuitBreaker, Bulkhead, Fallback, RateLimiter
        policy = Policy("ready", deadline=5, retry=Retry(2, on=OSError, backoff=(0, 0)), breaker=CircuitBreaker(),
                        bulkhead=Bulkhead(2), rate_limit=RateLimiter(50), fallback=Fallback.value(3))
        before = set(sys.modules)
        policy.call(abs, -1)
        decorated = policy(lambda: 1)
        decorated()
        with policy.guard():
            pass
        for attempt in policy:
            with attempt:
                pass
        policy.call(lambda: {}[1])
        print(sorted(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_there_is_a_chance_while_random_is_being_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "random", ModuleType("random"))
    assert all(0 <= chance() < 1 for _ in range(100))


class Wordless:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize("given", [Wordless(), 10**5000, "x" * 10_000], ids=["wordless", "digits", "long"])
def test_a_refusal_names_the_field_whatever_was_given(given):
    for make in (lambda: Retry(given, on=OSError), lambda: Policy("odd", deadline=given)):
        with pytest.raises(BadArgument) as caught:
            make()
        assert caught.value.field in {"attempts", "deadline"}
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: CircuitBreaker(probe_lease=1e-10), "probe_lease"),
        (lambda: CircuitBreaker(open_for="0.0000001ms"), "open_for"),
        (lambda: RateLimiter(5, per=1e-320), "per"),
        (lambda: Policy("short", deadline=1e-320), "deadline"),
    ],
)
def test_a_time_below_a_tick_of_the_clock_is_none(make, field):
    with pytest.raises(BadArgument) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 - our own
def test_a_refused_argument_comes_back_from_another_process(copied):
    with pytest.raises(BadArgument) as caught:
        Retry(0, on=OSError)
    again = copied(caught.value)
    assert (type(again), again.field, again.value, str(again)) == (BadArgument, "attempts", 0, str(caught.value))


def test_it_describes_itself_by_plain_values():
    policy = Policy(
        "described",
        deadline=10,
        attempt_timeout=AdjustingTimeout(1, 2),
        retry=Retry(3, on=OSError, budget=Budget()),
        breaker=CircuitBreaker(),
        rate_limit=RateLimiter(50),
        bulkhead=Bulkhead(20, wait=0.1),
        hedge=Hedge(),
        fallback=Fallback.last_good(ttl=300),
    )
    import json

    described = json.loads(json.dumps(policy.describe()))
    assert list(described) == [
        "name", "fallback", "deadline", "retry", "breaker", "rate_limit", "bulkhead", "hedge", "attempt_timeout",
    ]  # fmt: skip
    assert all(described.values())
    assert described["breaker"]["state"] == "closed"
    assert repr(policy).startswith("Policy('described', fallback=…, deadline=…")
    assert repr(Policy("bare")) == "Policy('bare')"


def test_policies_of_one_name_have_states_of_their_own():
    one, other = (Policy("same", breaker=CircuitBreaker(consecutive=1)) for _ in range(2))
    with pytest.raises(ConnectionError):
        one.call(fails(ConnectionError()))
    assert (one.breaker.state, other.breaker.state) == ("open", "closed")


def test_a_policy_that_nobody_has_any_more_is_gone():
    policy = named()
    assert policy in hook.living()
    name = policy.name
    del policy
    assert name not in [one.name for one in hook.living()]


# -- the listener


class Listener:
    def __init__(self, name=""):
        self.name = name
        self.sequence = [0.0] * 4
        self.told = []
        self.counted = {}

    def words(self, policy):
        return (self.sequence, 2) if policy == self.name else ([0.0], 0)

    def count(self, policy, outcome, n):
        if policy == self.name:
            self.counted[outcome] = self.counted.get(outcome, 0) + n

    def add(self, series, policy, n):
        self.told.append(series)

    def changed(self, policy, kind, before, after, reason, fields):
        self.told.append((kind, before, after, reason))

    def declared(self, policy):
        self.told.append(policy.name)

    def store(self):
        return None

    def failed(self, place, error):
        return False


class Broken(Listener):
    def __getattribute__(self, name):
        def fail(*arguments):
            raise RuntimeError("a listener that is broken")

        return fail


@pytest.fixture
def attached():
    """Return a function that attaches a listener for the time of the test."""
    before = hook._listener
    yield hook.attach
    hook.attach(before)


def test_a_listener_is_told_of_what_was_before_it_and_what_comes(attached):
    attached(None)
    policy = named(breaker=CircuitBreaker(consecutive=2), retry=Retry(2, on=OSError, backoff=(0, 0)))
    guarded = policy(fails())
    guarded()
    with pytest.raises(KeyError):
        policy.call(fails(KeyError()))
    listener = Listener(policy.name)
    attached(listener)
    assert policy.name in listener.told
    guarded()
    guarded()
    assert (listener.sequence[2], listener.counted) == (2.0, {0: 1, 1: 1})
    with pytest.raises(ConnectionError):
        policy.call(fails(ConnectionError(), ConnectionError()))
    assert ("breaker", "closed", "open", "2 failures in a row") in listener.told
    assert "retries" in listener.told
    assert calls(policy)["success"] == 3
    attached(None)
    policy.breaker.reset()
    guarded()
    assert calls(policy)["success"] == 4
    assert listener.sequence[2] == 2.0
    told = dict(listener.counted)
    attached(listener)
    assert listener.counted == {**told, 0: told[0] + 1}


def test_a_listener_that_is_broken_changes_nothing_for_the_program(attached):
    policy = named(breaker=CircuitBreaker(consecutive=1), retry=Retry(2, **RETRY), fallback=Fallback.value("old"))
    attached(Broken())
    assert policy.call(fails()) == "ok"
    assert policy.call(fails(ConnectionError(), ConnectionError())) == "old"
    late = named(breaker=CircuitBreaker(scope="host"))
    assert late.call(fails()) == "ok"
    assert late.breaker.snapshot()["shared"] is False


def test_of_what_is_broken_only_the_programs_own_passes(attached, monkeypatch):
    policy = named(breaker=CircuitBreaker(), bulkhead=Bulkhead(1))

    def broken(*_):
        raise OSError

    monkeypatch.setattr(type(policy.breaker), "failed", broken)
    for own, raised in ((False, ConnectionError), (True, OSError)):
        listener = Listener()
        listener.failed = lambda place, error, own=own: own
        attached(listener)
        with pytest.raises(raised) as caught:
            policy.call(fails(ConnectionError()))
        assert (caught.type is OSError) is own
        assert policy.bulkhead.in_use == 0


def test_of_a_predicate_that_fails_only_the_programs_own_error_passes(attached):
    policy = named(breaker=CircuitBreaker(failure_if=lambda result: result.status))
    listener = Listener()
    attached(listener)
    assert policy.call(fails()) == "ok"
    listener.failed = lambda place, error: isinstance(error, AttributeError)
    with pytest.raises(AttributeError):
        policy.call(fails())


def test_the_first_policy_calls_whoever_waits_for_one(attached, monkeypatch):
    called = []
    monkeypatch.setattr(hook, "_living", {})
    hook.when_used(lambda: called.append("used"))
    assert called == []
    policy = named()
    assert called == ["used"]
    hook.when_used(lambda: called.append("at once"))
    assert called == ["used", "at once"]
    del policy


def test_time_is_only_read_where_a_part_needs_it(monkeypatch):
    def no_clock():
        raise AssertionError

    guarded = named(breaker=CircuitBreaker(), retry=Retry(3, on=OSError, budget=Budget()))(fails())
    monkeypatch.setattr(_clock, "monotonic_ns", no_clock)
    assert guarded() == "ok"
