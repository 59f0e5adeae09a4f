"""Makes a function that goes through a policy: with the function's own signature, generated once.

What a successful call costs is what is written out below: one attribute, that stands for "everything may pass", the
call, and the counts. Everything else (an open breaker, a deadline, a failure, parts that wait) goes the long way,
through :mod:`roadworthy.resilience.run` and its relatives. Functions, methods, coroutine functions, generators and
async generators stay what they are; a wrong call fails as it did before.
"""

# ruff: noqa: ANN401 - what is wrapped is the program's own, of whatever type it is

from __future__ import annotations

from roadworthy import _clock
from roadworthy.resilience import hook, run, signature, stream, timeout
from roadworthy.resilience.attempt import good
from roadworthy.resilience.outcome import SUCCESS
from roadworthy.resilience.signature import ASYNC_GENERATOR, COROUTINE, GENERATOR, ITERABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType
    from typing import Any

    from roadworthy.resilience.circuit import Era
    from roadworthy.resilience.policy import Policy
else:
    FunctionType = type(lambda: None)  # as in types

_USED = frozenset({"Exception", "BaseException", "GeneratorExit", "StopAsyncIteration"})

_MAKE = """\
def _rw_make(
    _rw_fn, _rw_p, _rw_g, _rw_m, _rw_call, _rw_failed, _rw_again, _rw_late, _rw_slow, _rw_earned, _rw_clock,
    _rw_in_use, _rw_deadline, _rw_begin, _rw_end, _rw_trouble,
):
    {async_}def _rw_wrapper({parameters}):
{body}
    return _rw_wrapper
"""
_SHARED = """\
        if _rw_e is not None:
            _rw_q, _rw_i = _rw_g.watch
            if _rw_q[_rw_i] != _rw_e.stamp:
                _rw_e = _rw_g.look()
"""
_TIMED = """\
            _rw_n = _rw_clock.monotonic_ns()
            if _rw_n - _rw_t >= _rw_slow:
                _rw_late(_rw_e, _rw_n, _rw_n - _rw_t)
                return _rw_r
"""
_MARKED = """\
            if _rw_n >= _rw_e.edge:
                _rw_e.mark(_rw_n)
"""
_BREAKER = """\
            _rw_e.n += 1
            if _rw_e.streak:
                _rw_e.streak = 0
"""
_PAID = """\
            if _rw_e.owing:
                _rw_e.pay()
"""
_FAST = """\
        _rw_e = _rw_g.era
{shared}        if _rw_e is None or (_rw_in_use and _rw_deadline() is not None):
            return {await_}_rw_call(_rw_p, _rw_fn, {args}, {kwargs})
{begin}        try:
            _rw_r = {await_}_rw_fn({call})
        except BaseException as _rw_x:
            _rw_a = _rw_failed(_rw_x, _rw_e, {begun}, {watch})
            if _rw_a is None:
                raise
        else:
{end}{timed}            try:
{good}                _rw_s, _rw_i = _rw_m.word
                _rw_s[_rw_i] += 1
            except Exception as _rw_x:
                if _rw_trouble("policy", _rw_x):
                    raise
            return _rw_r
        return {await_}_rw_again(_rw_p, _rw_fn, {args}, {kwargs}, _rw_a)
"""
_LONG = """\
        return {await_}_rw_call(_rw_p, _rw_fn, {args}, {kwargs})
"""
_STREAM = """\
        return (yield from _rw_call(_rw_p, _rw_fn, {args}, {kwargs}))
"""
# An async generator cannot delegate with ``yield from``: values, exceptions and the close are handed on by hand.
_ASYNC_STREAM = """\
        _rw_o = await _rw_call(_rw_p, _rw_fn, {args}, {kwargs})
        if _rw_o.is_over:
            return
        _rw_v = _rw_o.first
        _rw_o.first = None
        try:
            while True:
                try:
                    _rw_s = yield _rw_v
                except GeneratorExit:
                    await _rw_o.aclose()
                    raise
                except BaseException as _rw_x:
                    _rw_v = await _rw_o.athrow(_rw_x)
                else:
                    _rw_v = await _rw_o.asend(_rw_s)
        except StopAsyncIteration:
            pass
"""


def wrapped(policy: Policy, function: Any) -> Any:
    """Return the function that goes through the policy."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrapped(policy, function.__func__))
    is_function = isinstance(function, FunctionType)
    flags = function.__code__.co_flags if is_function else signature.flags_behind(function)
    texts = signature.parameters(function.__code__, function, _USED) if is_function else None
    wrapper = _generated(policy, function, flags, texts or ("*args, **kwargs", "*args, **kwargs", "args", "kwargs"))
    if is_function:
        code = function.__code__
        wrapper.__code__ = wrapper.__code__.replace(co_name=code.co_name, co_qualname=code.co_qualname)
        if texts is not None:
            wrapper.__defaults__ = function.__defaults__
            wrapper.__kwdefaults__ = function.__kwdefaults__
    signature.take_after(wrapper, function)
    if flags & ITERABLE:  # types.coroutine: a generator that may be awaited
        import types

        return types.coroutine(wrapper)
    return wrapper


def _generated(policy: Policy, function: Any, flags: int, texts: tuple[str, str, str, str]) -> FunctionType:
    parameters, call, args, kwargs = texts
    is_async = bool(flags & (COROUTINE | ASYNC_GENERATOR))
    again: Any = run.repeated
    through: Any = run.call
    parts = _parts(policy, is_coroutine=bool(flags & COROUTINE))
    body = _LONG if parts is None else _FAST
    if flags & ASYNC_GENERATOR:
        body, parts, through = _ASYNC_STREAM, None, stream.aopened
    elif flags & (GENERATOR | ITERABLE):
        body, parts, through = _STREAM, None, stream.opened
    elif is_async:
        from roadworthy.resilience import arun

        again, through = arun.repeated, arun.call
    given = {"args": args, "kwargs": kwargs, "call": call, "await_": "await " if flags & COROUTINE else ""}
    source = _MAKE.format(
        parameters=parameters, async_="async " if is_async else "", body=body.format(**given, **(parts or {}))
    )
    timer = policy.timers()[1] if parts is not None and parts["end"] else None
    made: dict[str, Any] = {}
    exec(_compiled(source), {"__name__": __name__}, made)  # noqa: S102 - our own text
    wrapper: FunctionType = made["_rw_make"](
        function,
        policy,
        policy.gate,
        policy.meter,
        through,
        _failure_of(policy, timer),
        again,
        _late_of(policy),
        min(policy.slow_ns, policy.fail_ns),
        None if policy.retry is None or policy.retry.budget is None else policy.retry.budget.earned,
        _clock,
        timeout.in_use,
        timeout.deadline_ns,
        None if timer is None else timer.begin,
        None if timer is None else timer.end,
        hook.failed,
    )
    return wrapper


def _parts(policy: Policy, *, is_coroutine: bool) -> dict[str, str] | None:
    """Return the pieces of a short way through this policy; None when it has parts for which there is none."""
    retry, breaker = policy.retry, policy.breaker
    if (
        policy.fallback is not None
        or policy.deadline is not None
        or policy.rate_limit is not None
        or policy.bulkhead is not None
        or policy.hedge is not None
        or policy.failure_if is not None
        or (retry is not None and retry.on_result is not None)
        or (policy.attempt_timeout is not None and not (is_coroutine and policy.is_fixed_timeout))
    ):
        return None
    interrupted = policy.attempt_timeout is not None
    by_time = breaker is not None and isinstance(breaker.settings.window, str)
    timed = by_time or policy.is_timed
    begun = interrupted or timed or (retry is not None and retry.total is not None)
    shared = breaker is not None and breaker.settings.scope == "host"
    good_text = ""
    if by_time:
        good_text += _MARKED
    if breaker is not None:
        good_text += _BREAKER
    if shared:
        good_text += _PAID
    if retry is not None and retry.budget is not None:
        good_text += "            _rw_earned()\n"
    return {
        "shared": _SHARED if shared else "",
        "begin": ("        _rw_t = _rw_clock.monotonic_ns()\n" if begun else "")
        + ("        _rw_w = _rw_begin(_rw_t)\n" if interrupted else ""),
        "begun": "_rw_t" if begun else "0",
        "watch": "_rw_w" if interrupted else "None",
        "end": "            _rw_end(_rw_w)\n" if interrupted else "",
        "timed": _TIMED if timed else "",
        "good": "".join(f"    {line}\n" for line in good_text.splitlines()),
    }


_MOST_COMPILED = 256
_codes: dict[str, CodeType] = {}


def _compiled(source: str) -> CodeType:
    """Return the code of a wrapper; functions with the same parameters and policies of one shape share it."""
    found = _codes.get(source)
    if found is None:
        found = compile(source, "<roadworthy policy>", "exec")
        if len(_codes) < _MOST_COMPILED:
            _codes[source] = found
    return found


def _failure_of(policy: Policy, timer: Any) -> Callable[[BaseException, Era, int, Any], list[Any] | None]:
    def failed(error: BaseException, era: Era, begun_ns: int, watch: Any) -> list[Any] | None:
        """Count a failed first attempt; return what :func:`run.repeated` goes on with, None when the error stands."""
        ended = None if timer is None else timer.end(watch, error)
        try:
            now_ns = _clock.monotonic_ns()
            outcome = policy.judge(ended or error)
            era.settle(outcome, now_ns)
            policy.meter.count(outcome)
            pause = policy.pause(1, ended or error, None, begun_ns or now_ns)
            if ended is not None:
                ended.__cause__ = error
                return [pause, begun_ns or now_ns, ended]
            return None if pause is None else [pause, begun_ns or now_ns, error]
        except Exception as broken:
            if hook.failed("policy.failed", broken):
                raise
            return None
        finally:
            ended = None

    return failed


def _late_of(policy: Policy) -> Callable[[Era, int, int], None]:
    def late(era: Era, now_ns: int, took_ns: int) -> None:
        """Count a good call that took longer than it should."""
        try:
            outcome = good(policy, None, took_ns)
            era.settle(outcome, now_ns)
            policy.meter.count(outcome)
            if outcome != SUCCESS:
                return
        except Exception as broken:
            if hook.failed("policy.late", broken):
                raise

    return late
