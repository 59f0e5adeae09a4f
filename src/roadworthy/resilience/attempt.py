"""One attempt: what it must pass before the call, and what is made of how that ended.

Inner order of a policy: breaker, rate limit, bulkhead. What was taken is given back however the attempt ends; a refusal
on the way counts as neutral for whoever had let it pass before.
"""

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import hook, timeout
from roadworthy.resilience.outcome import (
    BREAKER_OPEN,
    BULKHEAD_FULL,
    DEADLINE,
    FAILURE,
    NEUTRAL,
    RATE_LIMITED,
    SLOW,
    SUCCESS,
)
from roadworthy.resilience.rejected import BreakerOpen, BulkheadFull, DeadlineExceeded, RateLimited, Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.resilience.circuit import Era, Probe
    from roadworthy.resilience.policy import Policy

    Ticket = Era | Probe

_REFUSALS = (
    (BreakerOpen, BREAKER_OPEN),
    (RateLimited, RATE_LIMITED),
    (BulkheadFull, BULKHEAD_FULL),
    (DeadlineExceeded, DEADLINE),
)


def enter(policy: Policy) -> Ticket:
    """Take what an attempt needs, waiting as long as the parts allow; raises what is :class:`Rejected`."""
    ticket = _admitted(policy)
    try:
        limit = policy.rate_limit
        if limit is not None:
            wait = limit.acquire(_clock.monotonic_ns(), timeout.deadline_ns())
            if wait > 0:
                policy.sleep(wait)
        if policy.bulkhead is not None:
            policy.bulkhead.enter(timeout.deadline_ns())
    except BaseException as error:
        _refused(policy, ticket, error)
        raise
    return ticket


async def aenter(policy: Policy) -> Ticket:
    """Take what an attempt needs, as :func:`enter`."""
    ticket = _admitted(policy)
    try:
        limit = policy.rate_limit
        if limit is not None:
            wait = limit.acquire(_clock.monotonic_ns(), timeout.deadline_ns())
            if wait > 0:
                await policy.asleep(wait)
        if policy.bulkhead is not None:
            await policy.bulkhead.aenter(timeout.deadline_ns())
    except BaseException as error:
        _refused(policy, ticket, error)
        raise
    return ticket


def settle(
    policy: Policy,
    ticket: Ticket,
    begun_ns: int,
    error: BaseException | None,
    result: object = None,
    *,
    overdue: bool = False,
) -> None:
    """Give back what the attempt had, and count what it came to; ``overdue``: its own time was up."""
    try:
        now_ns = _clock.monotonic_ns()
        took_ns = now_ns - begun_ns
        if policy.adjusting is not None:
            if overdue:
                policy.adjusting.timed_out()
            elif error is None or isinstance(error, Exception):
                policy.adjusting.answered(took_ns)
        if error is None:
            outcome = FAILURE if overdue else good(policy, result, took_ns)
        else:
            outcome = policy.judge(error)
            # A deadline that ended the call says nothing by itself; that it was slow until then does.
            if outcome == NEUTRAL and took_ns >= policy.slow_ns and isinstance(error, DeadlineExceeded):
                outcome = policy.late
        ticket.settle(outcome, now_ns)
        if outcome == NEUTRAL and isinstance(error, DeadlineExceeded):
            outcome = DEADLINE
        policy.meter.count(outcome)
    except Exception as broken:
        if hook.failed("policy.settle", broken):
            raise
    finally:
        if policy.bulkhead is not None:
            policy.bulkhead.leave()


def good(policy: Policy, result: object, took_ns: int) -> int:
    """Return what a call came to that returned ``result``."""
    if policy.failure_if is not None:
        try:
            if policy.failure_if(result):
                return FAILURE
        except Exception as broken:  # a predicate of the program's that fails says nothing about the other side
            if hook.failed(f"policy {policy.name}: failure_if", broken):
                raise
            return NEUTRAL
    if took_ns >= policy.fail_ns:
        return FAILURE
    return SLOW if took_ns >= policy.slow_ns else SUCCESS


def check_deadline(policy: Policy) -> None:
    """Raise DeadlineExceeded when there is no time left for an attempt."""
    at = timeout.deadline_ns()
    if at is not None and _clock.monotonic_ns() >= at:
        policy.meter.count(DEADLINE)
        raise timeout.spent(policy.name)


def cut(policy: Policy, error: BaseException, begun_ns: int) -> TimeoutError | None:
    """Return what to raise instead of ``error`` if it is a refusal for want of this attempt's own time; else None."""
    limit = policy.attempt_seconds
    if limit is None or not isinstance(error, DeadlineExceeded):
        return None
    now_ns = _clock.monotonic_ns()
    outer = timeout.deadline_ns()
    if now_ns < begun_ns + int(limit * NS) or (outer is not None and now_ns >= outer):
        return None
    return TimeoutError(f"no answer within {limit:g} s")


def _admitted(policy: Policy) -> Ticket:
    breaker = policy.breaker
    if breaker is None:
        return policy.gate.admit(0)
    try:
        return breaker.admit(_clock.monotonic_ns())
    except BreakerOpen:
        policy.meter.count(BREAKER_OPEN)
        raise


def _refused(policy: Policy, ticket: Ticket, error: BaseException) -> None:
    ticket.settle(NEUTRAL, _clock.monotonic_ns())
    if not isinstance(error, Rejected):
        policy.meter.count(NEUTRAL)
        return
    error.policy = error.policy or policy.name
    for kind, outcome in _REFUSALS:
        if isinstance(error, kind):
            policy.meter.count(outcome)
            return
