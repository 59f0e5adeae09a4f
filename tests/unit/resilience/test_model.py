"""The breaker, through the public policy, against a machine that is simple enough to be believed."""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy, hook
from roadworthy.resilience.store import ProcessStore
from roadworthy.testing import MovableClock
from support.guarded import Down

LEASE = 4.0
SHORTEST, LONGEST = 5.0, 20.0
MIN_CALLS, WINDOW, RATE = 5, 10, 0.5
LUCK = 1.25
COARSE = 1.0625
"""A lease ends within a sixteenth after its length."""

_names = itertools.count()


class Ignored(Exception):
    """What the owner says is no failure."""


class Host:
    """Listens to policies and gives them words to share: two of one name are like two processes of an application."""

    def __init__(self):
        self._store = ProcessStore()

    def store(self):
        return self._store

    def failed(self, place, error):
        return True

    def words(self, policy):
        return None

    def count(self, *_):
        pass

    add = changed = declared = count


class Reference:
    """What a breaker is; knows nothing of words, bits and threads."""

    def __init__(self, consecutive, rate, probes, successes):
        self.rate = rate
        self.consecutive = consecutive
        self.probes = probes
        self.successes = successes or probes
        self.generation = 0
        self.opened = 0
        self.enter("closed")

    def enter(self, state, until=None):
        self.state = state
        self.until = until
        self.generation += 1
        self.last = deque(maxlen=WINDOW)
        self.row = 0
        self.longest_row = 0
        self.failures = 0
        self.good = 0
        self.leases = {}
        if state == "closed":
            self.opened = 0

    def look(self, now):
        """Let time have its effect."""
        if self.state in ("forced_open", "disabled", "metrics_only") and self.until is not None and now >= self.until:
            self.enter("closed")

    def failed(self):
        """Whether it opens after this failure."""
        self.last.append(False)
        self.row += 1
        self.longest_row += 1
        self.failures += 1
        bad = self.last.count(False)
        return (self.consecutive is not None and self.row >= self.consecutive) or (
            self.rate is not None and len(self.last) >= MIN_CALLS and bad >= self.rate * len(self.last)
        )


class Breaker(RuleBasedStateMachine):
    @initialize(
        consecutive=st.sampled_from([None, 3]),
        probes=st.integers(1, 3),
        successes=st.sampled_from([None, 1, 4]),
        processes=st.sampled_from([1, 1, 2]),
    )
    def make(self, consecutive, probes, successes, processes):
        self.listened = hook._listener
        hook.attach(Host())
        self.clock = MovableClock()
        self.clock.__enter__()
        # Processes share their failures in a row exactly, and their window by halves: only the former is modelled.
        rate = RATE if processes == 1 else None
        consecutive = consecutive if processes == 1 else 3
        name = f"model-{next(_names)}"
        self.policies = [
            self.guarded_by(name, consecutive, rate, probes, successes, processes) for _ in range(processes)
        ]
        self.policy = self.policies[0]
        self.reference = Reference(consecutive, rate, probes, successes)
        self.under_way = []

    def guarded_by(self, name, consecutive, rate, probes, successes, processes):
        return Policy(
            name,
            breaker=CircuitBreaker(
                window=WINDOW,
                failure_rate=rate,
                min_calls=MIN_CALLS,
                consecutive=consecutive,
                open_for=(SHORTEST, LONGEST),
                probes=probes,
                probe_lease=LEASE,
                successes=successes,
                failure_on=Exception,
                ignore=Ignored,
                scope="process" if processes == 1 else "host",
            ),
        )

    def teardown(self):
        if hasattr(self, "clock"):
            self.clock.__exit__()
            hook.attach(self.listened)

    # -- calls

    @rule(who=st.integers(0, 1))
    def begin(self, who=0):
        reference, now = self.reference, self.clock.monotonic()
        reference.look(now)
        expected = self.expected(now)
        guard = self.policies[who % len(self.policies)].guard()
        refused = None
        try:
            guard.__enter__()
        except BreakerOpen as error:
            refused = error
        if refused is not None:
            assert expected != "pass", "refused what must pass"
            assert refused.policy == self.policy.name
            self.check_hint(refused.retry_after, now)
            return
        assert expected != "refuse", "let through what must be refused"
        if reference.state == "open":
            reference.enter("half_open")
        if reference.state == "half_open":
            for call, began in list(reference.leases.items()):
                if now - began >= LEASE:
                    del reference.leases[call]
            reference.leases[id(guard)] = now
        self.under_way.append((guard, reference.generation, reference.failures))

    def expected(self, now):
        """Return what must happen to a call now: pass, refuse, or "" where both are right."""
        reference = self.reference
        if reference.state in ("closed", "disabled", "metrics_only"):
            return "pass"
        if reference.state == "forced_open":
            return "refuse"
        if reference.state == "open":
            return "refuse" if now < reference.until else "pass"
        ages = [now - began for began in reference.leases.values()]
        surely_held = sum(age < LEASE for age in ages)
        maybe_held = sum(age < LEASE * COARSE for age in ages)
        if surely_held >= reference.probes:
            return "refuse"
        if maybe_held < reference.probes:
            return "pass"
        return ""

    def check_hint(self, retry_after, now):
        reference = self.reference
        if reference.state == "half_open":
            assert 0 < retry_after <= LEASE * COARSE
        elif reference.until is None:
            assert retry_after is None
        else:
            assert retry_after == pytest.approx(reference.until - now, abs=1e-6)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1000), outcome=st.sampled_from(["success", "failure", "ignored", "interrupt"]))
    def end(self, which, outcome):
        guard, generation, failures = self.under_way.pop(which % len(self.under_way))
        reference, now = self.reference, self.clock.monotonic()
        error = {"success": None, "failure": Down("refused"), "ignored": Ignored(), "interrupt": KeyboardInterrupt()}[
            outcome
        ]
        assert not guard.__exit__(type(error) if error else None, error, None)
        reference.look(now)
        reference.leases.pop(id(guard), None)
        if generation != reference.generation:
            return
        if reference.state == "closed":
            if outcome == "success":
                reference.last.append(True)
                reference.row = 0
                if failures == reference.failures:
                    reference.longest_row = 0
            elif outcome == "failure" and (reference.failed() or self.may_open()):
                self.open(now)
        elif reference.state == "half_open":
            if outcome == "failure":
                self.open(now)
            elif outcome == "success":
                reference.good += 1
                if reference.good >= reference.successes:
                    reference.enter("closed")

    def may_open(self):
        """Tell whether it opened though a success had ended the row.

        A process tells others of a success only if its call began after the failure: then it knew of that.
        """
        reference = self.reference
        shared = len(self.policies) > 1 and reference.longest_row >= reference.consecutive
        return shared and self.policy.breaker.state == "open"

    def open(self, now):
        reference = self.reference
        reference.opened += 1
        exact = min(LONGEST, SHORTEST * 2 ** (reference.opened - 1))
        opened = reference.opened
        with pytest.raises(BreakerOpen) as caught, self.policy.guard():
            pass
        after = caught.value.retry_after
        assert min(exact, LONGEST * 0.8) - 1e-6 <= after <= min(LONGEST, exact * LUCK) + 1e-6
        reference.enter("open", now + after)
        reference.opened = opened

    # -- time and hands

    @rule(seconds=st.sampled_from([0.001, 0.3, 1.0, LEASE, LEASE * COARSE + 0.001, SHORTEST, 13.0, 50.0, 100_000.0]))
    def wait(self, seconds):
        self.clock.move(seconds + 0.000_01)

    @rule(hours=st.sampled_from([-1, 1]))
    def correct_the_wall_clock(self, hours):
        self.clock.move_wall(hours * 3600)

    @precondition(lambda self: self.reference.state == "open")
    @rule()
    def wait_for_the_end_of_the_break(self):
        left = self.reference.until - self.clock.monotonic()
        if left > 0.002:
            self.clock.move(left - 0.001)
            self.begin()
        self.clock.move(0.002)

    @rule(state=st.sampled_from(["forced_open", "disabled", "metrics_only"]), for_=st.sampled_from([None, 7.0]))
    def force(self, state, for_):
        self.policy.breaker.force(state, for_=for_)
        self.reference.enter(state, None if for_ is None else self.clock.monotonic() + for_)

    @rule()
    def reset(self):
        self.policy.breaker.reset()
        self.reference.enter("closed")

    @invariant()
    def same_state(self):
        if not hasattr(self, "reference"):
            return
        reference = self.reference
        reference.look(self.clock.monotonic())
        seen = self.policies[-1].breaker.state
        assert seen == self.policy.breaker.state
        if reference.state == "open" and self.clock.monotonic() >= reference.until:
            assert seen in ("open", "half_open")  # nobody has asked yet
        else:
            assert seen == reference.state


Breaker.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestBreaker = Breaker.TestCase
