"""A call of a plain function through all parts of a policy; what the generated wrappers do not do themselves.

Whoever keeps an exception across an attempt drops it before it leaves: an exception refers to the frames that it came
through, and a frame that refers to the exception would be garbage that only the collector finds.
"""

# ruff: noqa: ANN401 - what is called is the program's own, of whatever type it is

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import timeout
from roadworthy.resilience.attempt import check_deadline, cut, enter, settle
from roadworthy.resilience.tries import Tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from roadworthy.resilience.policy import Policy
    from roadworthy.resilience.tries import Pending


def call(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call ``fn`` through the whole policy."""
    fallback = policy.fallback
    if fallback is None:
        return _in_time(policy, fn, args, kwargs)
    try:
        result = _in_time(policy, fn, args, kwargs)
    except Exception as error:  # noqa: BLE001 - the fallback answers, or raises it again
        answer = fallback.answer(error, args, kwargs)
        policy.meter.add("fallbacks")
        return answer
    fallback.good(args, kwargs, result)
    return result


def _in_time(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if policy.deadline is None:
        return repeated(policy, fn, args, kwargs)
    token = timeout.set_until(_clock.monotonic_ns() + int(policy.deadline * NS))
    try:
        return repeated(policy, fn, args, kwargs)
    finally:
        timeout.reset(token)


def repeated(
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
            policy.sleep(tries.next())
        while True:
            try:
                check_deadline(policy)
                result = hedged(policy, fn, args, kwargs)
            except BaseException as error:
                if not tries.failed(error):
                    raise
            else:
                if not tries.unsatisfied(result):
                    return result
            policy.sleep(tries.next())
    finally:
        tries.over()


def hedged(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Make one attempt, and more beside it where the policy hedges."""
    if policy.hedge is None:
        return attempt(policy, fn, args, kwargs)
    return policy.hedge.call(lambda: attempt(policy, fn, args, kwargs))


def attempt(policy: Policy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Make one attempt. A plain function cannot be interrupted: its time is only told to those that it calls."""
    ticket = enter(policy)
    # No call stands between what was taken and this try: what a signal handler raises comes up at calls.
    begun_ns, overdue, limit, token, ended = 0, False, None, None, None
    try:
        try:
            begun_ns = _clock.monotonic_ns()
            limit = policy.attempt_seconds
            if limit is not None:
                token = timeout.set_until(begun_ns + int(limit * NS))
            if policy.fault is not None:
                policy.fault.strike(policy)
            result = fn(*args, **kwargs)
            overdue = limit is not None and _clock.monotonic_ns() - begun_ns >= limit * NS
        finally:
            if token is not None:
                timeout.reset(token)
    except BaseException as error:
        ended = cut(policy, error, begun_ns)
        settle(policy, ticket, begun_ns, ended or error, overdue=ended is not None)
        if ended is None:
            raise
        try:
            raise ended from error
        finally:
            ended = None
    settle(policy, ticket, begun_ns, None, result, overdue=overdue)
    return result
