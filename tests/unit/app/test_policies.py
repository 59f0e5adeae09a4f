"""What policies tell goes into the arena, and what people set with the agent comes to them."""

import os

import pytest

from roadworthy import _clock
from roadworthy.app import policies, socket, start
from roadworthy.errors import Temporary
from roadworthy.resilience import (
    BreakerOpen,
    Budget,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    RateLimiter,
    Retry,
    hook,
)


def fail(*_):
    raise ConnectionError("no")


def shown(policy, **more):
    return Policy(policy, breaker=CircuitBreaker(**{"consecutive": 2, "open_for": 60, **more}))


def trip(policy):
    for _ in range(2):
        with pytest.raises(ConnectionError):
            policy.call(fail)


def page(policy, **entry):
    return {"resilience": {"policies": {policy.name: entry}}}


@pytest.fixture(autouse=True)
def listening(seen, monkeypatch):
    """Whatever another test has attached: here the runtime listens, and has seen no page."""
    monkeypatch.setattr(policies, "_wanted", None)
    if hook._listener is not policies.live:
        hook.attach(policies.live)


# -- what is counted


def test_every_outcome_is_counted_by_policy(seen):
    policy = Policy(
        "counted",
        breaker=CircuitBreaker(consecutive=2, open_for=60, ignore=KeyError),
        retry=Retry(2, on=TimeoutError, backoff=(0, 0)),
        fallback=Fallback.value("old", on=TimeoutError),
    )
    waiting = [None, KeyError(), None, TimeoutError(), TimeoutError(), None]

    @policy
    def work():
        error = waiting.pop(0)
        if error is not None:
            raise error

    work()
    with pytest.raises(KeyError):
        work()
    work()
    assert work() == "old"
    with pytest.raises(BreakerOpen):
        work()
    told = {
        outcome: seen.count("resilience.calls", policy="counted", outcome=outcome)
        for outcome in ("success", "failure", "neutral", "breaker_open", "slow")
    }
    assert told == {"success": 2, "failure": 2, "neutral": 1, "breaker_open": 1, "slow": 0}
    assert seen.count("resilience.retries", policy="counted") == 1
    assert seen.count("resilience.fallbacks", policy="counted") == 1


def test_a_success_is_one_word_of_the_arena_and_no_call(seen):
    policy = shown("one-word")
    guarded = policy(int)
    guarded()
    sequence, index = policy.meter.word
    arena = start.current()
    counter = arena.counter("resilience.calls", (("policy", "one-word"), ("outcome", "success")))
    assert sequence is counter._cell.d
    assert index == counter._index
    assert policy.snapshot()["calls"]["success"] == 1


def test_what_was_counted_before_the_runtime_listened_is_not_lost(seen):
    hook.attach(None)
    policy = shown("early")
    guarded = policy(int)
    for _ in range(3):
        guarded()
    with pytest.raises(ConnectionError):
        policy.call(fail)
    hook.attach(policies.live)
    guarded()
    assert seen.count("resilience.calls", policy="early", outcome="success") == 4
    assert seen.count("resilience.calls", policy="early", outcome="failure") == 1
    assert policy.snapshot()["calls"]["success"] == 4


def test_a_counter_that_shows_no_views_is_added_to():
    class Compiled:
        total = 0.0

        def add(self, n=1.0):
            self.total += n

    counter = Compiled()
    adder = policies._Adder(counter)
    adder[0] += 1
    adder[0] += 1
    assert counter.total == 2


def test_hedges_and_denied_retries_are_counted(seen):
    import asyncio

    hedged = Policy("hedged", hedge=Hedge(after=0.005))
    runs = []

    @hedged
    async def work():
        runs.append(1)
        if len(runs) == 1:
            await asyncio.Event().wait()  # never: only the hedge comes to an end

    asyncio.run(work())
    assert seen.count("resilience.hedges", policy="hedged") == 1
    denied = Policy("denied", retry=Retry(3, on=OSError, backoff=(0, 0), budget=Budget(ratio=0, minimum=1, per=3600)))
    with pytest.raises(ConnectionError):
        denied.call(fail)
    assert seen.count("resilience.retries", policy="denied") == 1
    assert seen.count("resilience.retries.denied", policy="denied") == 1


# -- states


def test_a_change_of_state_is_an_event_and_a_gauge(seen):
    policy = shown("told")
    assert seen.gauge("resilience.breaker.state", policy="told") == 0
    trip(policy)
    assert seen.gauge("resilience.breaker.state", policy="told") == 1
    policy.breaker.force("disabled", for_=30)
    assert seen.gauge("resilience.breaker.state", policy="told") == 4
    opened, disabled = (event for event in seen.events("state") if event.source == "policy:told")
    assert opened.text == "breaker told: closed -> open"
    assert opened.level == 30
    assert (opened.fields["from"], opened.fields["to"]) == ("closed", "open")
    assert opened.fields["reason"] == "2 failures in a row"
    assert float(opened.fields["open_for"]) == pytest.approx(60, abs=1)
    assert disabled.level == 20
    assert float(disabled.fields["for"]) == pytest.approx(30, abs=1), "what is left of it when it is told"


def test_shadow_mode_tells_once_that_it_would_have_opened(seen):
    policy = shown("shadow")
    policy.breaker.force("metrics_only")
    for _ in range(10):
        with pytest.raises(ConnectionError):
            policy.call(fail)
    told = [event for event in seen.events("state") if event.fields.get("would") == "open"]
    assert [event.fields["reason"] for event in told] == ["would open: 2 failures in a row"]


def test_the_gauges_follow_what_only_time_has_changed(seen):
    policy = Policy(
        "followed",
        breaker=CircuitBreaker(consecutive=2),
        retry=Retry(2, on=OSError, budget=Budget(minimum=7)),
    )
    policies.watch()
    assert seen.gauge("resilience.retry.budget", policy="followed") == 7
    policy.breaker.force("forced_open", for_=0.01)
    assert seen.gauge("resilience.breaker.state", policy="followed") == 3
    deadline = _clock.monotonic() + 30
    while policy.breaker.state != "closed" and _clock.monotonic() < deadline:
        _clock.sleep(0.005)
    policies.watch()
    assert seen.gauge("resilience.breaker.state", policy="followed") == 0


def test_policies_are_declared_to_the_agent():
    policy = shown("declared")
    assert socket.declares["policies"] is policies.described
    (found,) = [one for one in policies.described() if one["name"] == "declared"]
    assert found["breaker"]["state"] == "closed"
    del policy


# -- the control page


def test_what_people_force_is_done_once_for_each_epoch():
    policy = shown("steered")
    assert policies.told({}) is False
    policies.told(page(policy, force="forced_open", until_wall=None, epoch=1))
    assert policy.breaker.state == "forced_open"
    assert policy.breaker.reason == "by the operator"
    policy.breaker.force("closed")
    policies.told(page(policy, force="forced_open", until_wall=None, epoch=1))
    assert policy.breaker.state == "closed"
    policies.told(page(policy, force="metrics_only", until_wall=_clock.wall() + 60, epoch=2))
    assert policy.breaker.state == "metrics_only"
    assert policy.breaker.forced_for == pytest.approx(60, abs=5)
    policies.told(page(policy, reset=3))
    assert policy.breaker.state == "closed"


def test_what_is_over_is_not_forced_any_more():
    policy = shown("over")
    policies.told(page(policy, force="forced_open", until_wall=_clock.wall() - 1, epoch=1))
    assert policy.breaker.state == "closed"


def test_a_reset_from_before_this_process_listened_is_no_order_to_it():
    policy = shown("reset-before")
    trip(policy)
    policies.told(page(policy, reset=5))
    assert policy.breaker.state == "open"
    policies.told(page(policy, reset=6))
    assert policy.breaker.state == "closed"


def test_what_another_process_of_the_host_has_forced_is_not_forced_again():
    policy = shown("twice", scope="host")
    policy.breaker.force("forced_open", for_=60)
    generation = policy.breaker.snapshot()["generation"]
    policies.told(page(policy, force="forced_open", until_wall=_clock.wall() + 60, epoch=1))
    assert policy.breaker.snapshot()["generation"] == generation


@pytest.mark.parametrize(
    "value",
    [
        {"resilience": None},
        {"resilience": {"policies": []}},
        {"resilience": {"policies": {"wrong": 5}}},
        {"resilience": {"policies": {"wrong": {"force": "ajar", "epoch": 1}}}},
        {"resilience": {"policies": {"wrong": {"force": None, "until_wall": "soon", "epoch": 2}}}},
        {"resilience": {"policies": {"wrong": {"force": "closed", "until_wall": 1e12, "epoch": 3}}}},
        {"resilience": {"policies": {"wrong": {"epoch": "x"}}}},
    ],
)
def test_a_page_that_says_something_impossible_changes_nothing(value):
    policy = shown("wrong")
    policies.told({})
    assert policies.told(value) is False
    assert policy.breaker.state == "closed"


def test_what_could_not_be_done_now_is_asked_for_again(monkeypatch):
    policy = shown("locked")
    policies.told({})
    wanted = page(policy, force="forced_open", until_wall=None, epoch=1)

    class Locked:
        def __init__(self, word):
            self.word, self.read = word, word.read

        def update(self, fn, patience=0.05):
            return None

    word = policy.breaker._word
    policy.breaker._word = Locked(word)
    with pytest.raises(Temporary):
        policy.breaker.force("forced_open")
    assert policies.told(wanted) is True
    policy.breaker._word = word
    assert policies.told(wanted) is False
    assert policy.breaker.state == "forced_open"


# -- sharing and forks


def test_breakers_of_scope_host_share_one_state_by_name():
    one, other = (shown("shared-by-name", scope="host") for _ in range(2))
    guarded = other(int)
    assert guarded() == 0
    trip(one)
    with pytest.raises(BreakerOpen):
        guarded()
    assert other.breaker.snapshot()["shared"] is True
    other.breaker.reset()
    assert one.call(int) == 0


def test_failures_in_a_row_are_counted_by_all_and_end_with_a_success_of_any():
    one, other = (shown("row-by-name", scope="host", consecutive=3) for _ in range(2))
    good = other(int)
    good()
    for policy in (one, one):
        with pytest.raises(ConnectionError):
            policy.call(fail)
    good()
    for policy in (one, other):
        with pytest.raises(ConnectionError):
            policy.call(fail)
    assert one.breaker.state == "closed"
    with pytest.raises(ConnectionError):
        one.call(fail)
    assert other.breaker.state == "open"


def test_successes_of_others_weigh_in_a_shared_rate():
    settings = {"scope": "host", "consecutive": None, "window": 100, "min_calls": 10, "failure_rate": 0.5}
    one, other = (shown("rate-by-name", **settings) for _ in range(2))
    good = other(int)
    for _ in range(30):
        good()
    with pytest.raises(ConnectionError):
        one.call(fail)
    good()
    for _ in range(15):
        with pytest.raises(ConnectionError):
            one.call(fail)
    found = one.breaker.snapshot()
    assert (found["state"], found["calls"], found["failures"]) == ("closed", 47, 16)


def test_limits_of_scope_host_are_shared_by_name():
    one, other = (Policy("limit-by-name", rate_limit=RateLimiter(1, per=3600, scope="host")) for _ in range(2))
    assert one.call(int) == 0
    from roadworthy.resilience import RateLimited

    with pytest.raises(RateLimited):
        other.call(int)


def test_a_forked_child_counts_in_an_arena_of_its_own(seen):
    policy = shown("forked")
    guarded = policy(int)
    for _ in range(3):
        guarded()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            guarded()
            guarded()
            os.write(writing, repr(policy.snapshot()["calls"]["success"]).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    assert os.read(reading, 100) == b"2"
    os.close(reading)
    guarded()
    assert policy.snapshot()["calls"]["success"] == 4


def test_a_program_that_made_its_policies_first_is_listened_to_from_the_start(program):
    done = program(
        """
        import sys
        from roadworthy.resilience import CircuitBreaker, Policy
        policy = Policy("first", breaker=CircuitBreaker())
        guarded = policy(int)
        guarded()
        assert "roadworthy.app.policies" not in sys.modules
        import roadworthy as rw
        rw.start("first")
        guarded()
        from roadworthy.app import start
        print(start.current().counter("resilience.calls", (("policy", "first"), ("outcome", "success"))) is not None)
        sequence, index = policy.meter.word
        print(sequence[index])
        """
    )
    assert done.stdout.split() == ["True", "2.0"]


def test_a_program_without_policies_does_not_load_what_shows_them(program):
    done = program(
        """
        import sys
        import roadworthy as rw
        rw.start("none")
        print("roadworthy.app.policies" in sys.modules, "roadworthy.resilience.policy" in sys.modules)
        from roadworthy.resilience import Policy
        Policy("now")
        print("roadworthy.app.policies" in sys.modules)
        """
    )
    assert done.stdout.split() == ["False", "False", "True"]


def test_a_program_that_is_switched_off_keeps_its_policies(program):
    done = program(
        """
        import roadworthy as rw
        rw.start("off")
        from roadworthy.resilience import CircuitBreaker, Policy
        policy = Policy("off", breaker=CircuitBreaker(scope="host"))
        print(policy(int)(), policy.snapshot()["calls"]["success"], policy.breaker.snapshot()["shared"])
        """,
        ROADWORTHY_ENABLED="0",
    )
    assert done.stdout.split() == ["0", "1", "False"]


# -- many policies, and those that are gone


def test_a_policy_that_is_gone_is_not_shown_as_open_for_ever(seen):
    policy = shown("gone")
    trip(policy)
    policies.watch()
    assert seen.gauge("resilience.breaker.state", policy="gone") == 1
    del policy
    policies.watch()
    assert seen.gauge("resilience.breaker.state", policy="gone") is None
    again = shown("gone")
    assert seen.gauge("resilience.breaker.state", policy="gone") == 0
    del again


def test_of_policies_with_one_name_the_worst_is_shown(seen):
    first, second = shown("namesakes"), shown("namesakes")
    trip(first)
    policies.watch()
    assert second.breaker.state == "closed"
    assert seen.gauge("resilience.breaker.state", policy="namesakes") == 1


def test_names_without_end_take_no_memory_without_end(seen):
    policies.watch()
    before = len(policies.live._counters), len(policies.live._gauges), len(policies._applied)
    for number in range(300):
        policies.told(page(shown(f"once-{number}"), force="disabled", until_wall=None, epoch=number + 1))
    policies.watch()
    assert len(policies.live._counters) <= before[0] + 12 * len(hook.living())
    assert (len(policies.live._gauges), len(policies._applied)) <= (before[1], len(hook.living()))


def test_making_a_policy_looks_at_no_other(seen, monkeypatch):
    others = [shown(f"other-{number}") for number in range(5)]
    policies.told({})
    looked = []
    monkeypatch.setattr(policies, "_measured", lambda policy, now_ns: looked.append(policy.name) or [])
    made = shown("the-new-one")
    trip(made)
    assert looked == ["the-new-one"]
    assert len(others) == 5


def test_a_policy_that_is_made_later_is_steered_as_the_page_says():
    first = shown("late")
    wanted = page(first, force="forced_open", until_wall=None, epoch=8)
    policies.told(wanted)
    number = id(first)
    del first
    second = shown("late")
    policies._applied.setdefault(number, 8)
    assert second.breaker.state == "forced_open"
    policies.told({})
