"""A call of a coroutine function through all parts of a policy; for others see :mod:`roadworthy.resilience.run`.

Timeouts and deadlines interrupt here. A cancellation from outside is nobody's failure and passes at once, from any
line.
"""

# ruff: noqa: ANN401 - what is called is the program's own, of whatever type it is

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import timeout
from roadworthy.resilience.attempt import aenter, check_deadline, settle
from roadworthy.resilience.rejected import Rejected
from roadworthy.resilience.tries import Tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from roadworthy.resilience.policy import Policy
    from roadworthy.resilience.timer import Timer
    from roadworthy.resilience.tries import Pending


async def call(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Await ``fn(...)`` through the whole policy."""
    fallback = policy.fallback
    if fallback is None:
        return await _in_time(policy, fn, args, kwargs)
    try:
        result = await _in_time(policy, fn, args, kwargs)
    except Exception as error:  # noqa: BLE001 - the fallback answers, or raises it again
        answer: Any = fallback.answer(error, args, kwargs)
        if hasattr(answer, "__await__"):
            answer = await answer
        policy.meter.add("fallbacks")
        return answer
    fallback.good(args, kwargs, result)
    return result


async def _in_time(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if policy.deadline is None:
        return await repeated(policy, fn, args, kwargs)
    outer = timeout.deadline_ns()
    now_ns = _clock.monotonic_ns()
    token = timeout.set_until(now_ns + int(policy.deadline * NS))
    ended: BaseException | None = None
    try:
        timer: Timer = policy.deadline_timer or policy.timers()[0]
        watch = timer.begin(now_ns, outer)
        try:
            result = await repeated(policy, fn, args, kwargs)
        except BaseException as error:
            ended = timer.end(watch, error)
            if ended is None:
                raise
            raise ended from error
        timer.end(watch)
        return result
    finally:
        ended = None
        timeout.reset(token)


async def repeated(
    policy: Policy,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    pending: Pending | None = None,
) -> Any:
    """Attempt the call until its outcome stands; ``pending``: a first attempt was made, and another is to follow."""
    tries = Tries(policy, pending)
    try:
        if pending is not None:
            await policy.asleep(tries.next())
        while True:
            try:
                check_deadline(policy)
                result = await hedged(policy, fn, args, kwargs)
            except BaseException as error:
                if not tries.failed(error):
                    raise
            else:
                if not tries.unsatisfied(result):
                    return result
            await policy.asleep(tries.next())
    finally:
        tries.over()


async def hedged(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Make one attempt, and more beside it where the policy hedges."""
    if policy.hedge is None:
        return await attempt(policy, fn, args, kwargs)
    return await policy.hedge.run(lambda: attempt(policy, fn, args, kwargs))


async def attempt(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Make one attempt, interrupted when its time is up."""
    ticket = await aenter(policy)
    # No call stands between what was taken and this try: what a signal handler raises comes up at calls.
    begun_ns, watch, ended = 0, None, None
    timer: Timer | None = policy.attempt_timer
    try:
        begun_ns = _clock.monotonic_ns()
        # A deadline of the policy's own, or an earlier one around it, is watched for all attempts together.
        deadline_ns = None if policy.deadline is not None else timeout.deadline_ns()
        if timer is None and (policy.attempt_timeout is not None or deadline_ns is not None):
            timer = policy.timers()[1]
        if timer is not None:
            watch = timer.begin(begun_ns, deadline_ns)
        if policy.fault is not None:
            await policy.fault.astrike(policy)
        result = await fn(*args, **kwargs)
    except BaseException as error:
        ended = None if timer is None else timer.end(watch, error)
        overdue = ended is not None and not isinstance(ended, Rejected)
        settle(policy, ticket, begun_ns, ended or error, overdue=overdue)
        if ended is None:
            raise
        try:
            raise ended from error
        finally:
            ended = None
    if timer is not None:
        timer.end(watch)
    settle(policy, ticket, begun_ns, None, result)
    return result
