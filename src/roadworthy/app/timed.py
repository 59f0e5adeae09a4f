"""``@timed("pathfinding.duration")``: a wrapper with the function's own signature, generated once, around every call.

The wrapper is written for the function it wraps: no ``*args, **kwargs`` in between, so that a wrong call fails as it
did before, and functions, methods, coroutines, generators and async generators stay what they are. It runs on the
globals of :mod:`roadworthy.app.sampling`, whose switches it reads.
"""

# ruff: noqa: ANN401 - what is wrapped is the program's own, of whatever type it is

from __future__ import annotations

import sys

from roadworthy.app import context as contexts
from roadworthy.app import guard, sampling, start
from roadworthy.app.recorder import BUCKET, Recorder
from roadworthy.arena.layout import BLOCK_SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
else:
    FunctionType = type(lambda: None)  # as in types

_VARARGS, _VARKEYWORDS, _GENERATOR, _COROUTINE, _ITERABLE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x100, 0x200
_USED = frozenset(
    {"_now", "on", "tick", "SKIPPED", "Exception", "BaseException", "GeneratorExit", "StopAsyncIteration"}
)
_COPIED = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")

_BEGIN = """\
        _rw_t = _now()
        if on:
            _rw_t = tick(_rw_t, _rw_turn)
"""
_END = """\
        _rw_n = _now() - _rw_t
        try:
            _rw_w = _rw_cell.q
            if _rw_w is _rw_q and _rw_n < 8192:
                _rw_w[_rw_base + _rw_bucket[_rw_n]] += 1
                _rw_d[_rw_sum] += _rw_n
                if _rw_n > _rw_top:
                    _rw_top = _rw_n
                    _rw_higher(_rw_n)
            elif _rw_n < SKIPPED:
                _rw_slow(_rw_n)
        except Exception as _rw_e:
            if _rw_trouble(_rw_e):
                raise
"""
_FAILED = """\
        except BaseException as _rw_e:
            _rw_failed(_now() - _rw_t, _rw_e)
            raise
"""
_CALL = f"""\
{_BEGIN}
        try:
            _rw_r = {{await_}}_rw_fn({{call}})
{_FAILED}
{_END}
        return _rw_r
"""
_GENERATE = f"""\
{_BEGIN}
        try:
            _rw_r = yield from _rw_fn({{call}})
{_FAILED}
{_END}
        return _rw_r
"""
# An async generator cannot delegate with ``yield from``: values, exceptions and the close are handed on by hand.
_GENERATE_ASYNC = f"""\
{_BEGIN}
        _rw_g = _rw_fn({{call}})
        try:
            try:
                _rw_v = await _rw_g.__anext__()
                while True:
                    try:
                        _rw_s = yield _rw_v
                    except GeneratorExit:
                        await _rw_g.aclose()
                        raise
                    except BaseException as _rw_e:
                        _rw_v = await _rw_g.athrow(_rw_e)
                    else:
                        _rw_v = await _rw_g.asend(_rw_s)
            except StopAsyncIteration:
                pass
{_FAILED}
{_END}
"""
_MAKE = """\
def _rw_make(_rw_fn, _rw_cell, _rw_slow_path, _rw_failed, _rw_trouble, _rw_bucket):
    _rw_q = _rw_d = None
    _rw_base = _rw_sum = _rw_top = 0
    _rw_higher = _rw_slow_path.higher
    _rw_turn = _rw_slow_path.turn

    def _rw_slow(n):
        nonlocal _rw_cell, _rw_q, _rw_d, _rw_base, _rw_sum, _rw_top
        _rw_slow_path.slow(n)
        _rw_cell, _rw_q, _rw_d = _rw_slow_path.cell, _rw_slow_path.q, _rw_slow_path.d
        _rw_base = _rw_slow_path.base
        _rw_sum = _rw_base + {block_sum}
        if n < 8192:
            _rw_top = 0

    {async_}def _rw_wrapper({parameters}):
        nonlocal _rw_top
{body}
    return _rw_wrapper
"""


def timed(name: str) -> Callable[[F], F]:
    """Time each call of a function under ``name``, in seconds: ``@timed("pathfinding.duration")``.

    Works on functions, methods, coroutine functions, generators and async generators (over their whole life). A call
    that raises is counted with the label ``error.type``, and the exception passes unchanged. Returns the function
    itself when roadworthy is switched off, or when it cannot be wrapped. Never raises.
    """

    def decorate(function: F) -> F:
        try:
            if not start.enabled():
                return function
            wrapped: F = _wrap(name, function)
            return wrapped
        except Exception as error:
            if guard.failed(f"timed({name!r})", error):
                raise
            return function

    return decorate


def _wrap(name: str, function: Any) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_wrap(name, function.__func__))
    recorder = Recorder(contexts.label_value(name), contexts.label_value(name), ())
    if isinstance(function, FunctionType):
        code = function.__code__
        parameters, call = _parameters(code, function)
        kind = code.co_flags
        wrapper = _generate(kind, parameters, call, function, recorder)
        wrapper.__code__ = wrapper.__code__.replace(co_name=code.co_name, co_qualname=code.co_qualname)
        wrapper.__defaults__ = function.__defaults__
        wrapper.__kwdefaults__ = function.__kwdefaults__
    else:
        wrapper = _generate(_flags_behind(function), "*args, **kwargs", "*args, **kwargs", function, recorder)
    for attribute in _COPIED:
        try:
            setattr(wrapper, attribute, getattr(function, attribute))
        except (AttributeError, TypeError):
            continue
    wrapper.__dict__.update(getattr(function, "__dict__", {}) if isinstance(function, FunctionType) else {})
    wrapper.__wrapped__ = function  # type: ignore[attr-defined]  # what inspect.signature follows
    return wrapper


def _generate(flags: int, parameters: str, call: str, function: Any, recorder: Recorder) -> FunctionType:
    if flags & _ASYNC_GENERATOR:
        body, async_ = _GENERATE_ASYNC, "async "
    elif flags & _COROUTINE:
        body, async_ = _CALL, "async "
    elif flags & (_GENERATOR | _ITERABLE):
        body, async_ = _GENERATE, ""
    else:
        body, async_ = _CALL, ""
    source = _MAKE.format(
        parameters=parameters,
        async_=async_,
        block_sum=BLOCK_SUM,
        body=body.format(call=call, await_="await " if async_ and body is _CALL else ""),
    )
    made: dict[str, Any] = {}
    exec(_compiled(source), vars(sampling), made)  # noqa: S102 - our own text
    failed = _failure_of(recorder)
    wrapper: FunctionType = made["_rw_make"](function, recorder.cell, recorder, failed, _trouble, BUCKET)
    if flags & _ITERABLE:  # types.coroutine: a generator that may be awaited
        import types

        return types.coroutine(wrapper)  # type: ignore[return-value]  # it returns the function it was given
    return wrapper


_MOST_COMPILED = 256
_codes: dict[str, CodeType] = {}


def _compiled(source: str) -> CodeType:
    """Return the code of a wrapper; functions with the same parameters share it."""
    found = _codes.get(source)
    if found is None:
        found = compile(source, "<roadworthy timed>", "exec")
        if len(_codes) < _MOST_COMPILED:
            _codes[source] = found
    return found


def _failure_of(recorder: Recorder) -> Callable[[int, BaseException], None]:
    def failed(n: int, error: BaseException) -> None:
        try:
            if isinstance(error, GeneratorExit):
                recorder.slow(n)  # the consumer had enough: that is no failure
            else:
                kind = type(error)
                module = kind.__module__
                recorder.failed(n, kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}")
        except Exception as broken:
            if guard.failed("timed", broken):
                raise

    return failed


def _trouble(error: Exception) -> bool:
    return guard.failed("timed", error)


def _parameters(code: CodeType, function: FunctionType) -> tuple[str, str]:
    """Return the parameter list of a code object as source text, and the arguments of a call that hands them on."""
    positional = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    rest = iter(code.co_varnames[code.co_argcount + code.co_kwonlyargcount :])
    with_default = len(positional) - len(function.__defaults__ or ())
    named = [f"{name}=None" if at >= with_default else name for at, name in enumerate(positional)]
    only = code.co_posonlyargcount
    parameters = [*named[:only], *(["/"] if only else []), *named[only:]]
    call = list(positional)
    if code.co_flags & _VARARGS:
        star = next(rest)
        parameters.append(f"*{star}")
        call.append(f"*{star}")
    elif keywords:
        parameters.append("*")
    defaults = function.__kwdefaults__ or {}
    parameters += [f"{name}=None" if name in defaults else name for name in keywords]
    call += [f"{name}={name}" for name in keywords]
    if code.co_flags & _VARKEYWORDS:
        stars = next(rest)
        parameters.append(f"**{stars}")
        call.append(f"**{stars}")
    names = code.co_varnames[: len(positional) + len(keywords) + 2]
    if any(name.startswith("_rw_") or name in _USED or not name.isidentifier() for name in names):
        return "*args, **kwargs", "*args, **kwargs"  # a name of its own would hide one of ours
    return ", ".join(parameters), ", ".join(call)


def _flags_behind(function: Any) -> int:
    """Return what kind of function stands behind a partial or a callable object; plain when it cannot be told."""
    functools = sys.modules.get("functools")  # where it is not loaded nobody has a partial
    for _ in range(8):
        if functools is not None and isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        else:
            break
    code = getattr(function, "__code__", None) or getattr(_call_of(function), "__code__", None)
    return int(getattr(code, "co_flags", 0))


def _call_of(function: Any) -> Any:
    return vars(type(function)).get("__call__")
