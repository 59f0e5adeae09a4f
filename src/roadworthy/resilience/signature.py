"""Wrappers with the very signature of what they wrap: parameter lists as source text, and what a function is like."""

# ruff: noqa: ANN401 - what is wrapped is the program's own, of whatever type it is

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any

VARARGS, VARKEYWORDS, GENERATOR, COROUTINE, ITERABLE, ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x100, 0x200
"""Bits of ``co_flags``."""

PREFIX = "_rw_"
_COPIED = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")


def parameters(code: CodeType, function: FunctionType, used: frozenset[str]) -> tuple[str, str, str, str] | None:
    """Return four pieces of source text; None when a parameter would hide a name that a wrapper uses.

    They are the parameter list, the arguments of a call that hands them on, and the same arguments as a tuple and a
    dict.
    """
    positional = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    rest = iter(code.co_varnames[code.co_argcount + code.co_kwonlyargcount :])
    with_default = len(positional) - len(function.__defaults__ or ())
    named = [f"{name}=None" if at >= with_default else name for at, name in enumerate(positional)]
    only = code.co_posonlyargcount
    listed = [*named[:only], *(["/"] if only else []), *named[only:]]
    args = list(positional)
    kwargs = [f"{name!r}: {name}" for name in keywords]
    call = list(positional)
    names = [*positional, *keywords]
    if code.co_flags & VARARGS:
        star = next(rest)
        names.append(star)
        listed.append(f"*{star}")
        args.append(f"*{star}")
        call.append(f"*{star}")
    elif keywords:
        listed.append("*")
    defaults = function.__kwdefaults__ or {}
    listed += [f"{name}=None" if name in defaults else name for name in keywords]
    call += [f"{name}={name}" for name in keywords]
    if code.co_flags & VARKEYWORDS:
        stars = next(rest)
        names.append(stars)
        listed.append(f"**{stars}")
        kwargs.append(f"**{stars}")
        call.append(f"**{stars}")
    if any(name.startswith(PREFIX) or name in used or not name.isidentifier() for name in names):
        return None
    return ", ".join(listed), ", ".join(call), f"({''.join(f'{one}, ' for one in args)})", f"{{{', '.join(kwargs)}}}"


def flags_behind(function: Any) -> int:
    """Return the ``co_flags`` of what stands behind a partial, a method or a callable object; 0 when unknown."""
    functools = sys.modules.get("functools")  # where it is not loaded nobody has a partial
    for _ in range(8):
        if functools is not None and isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        else:
            break
    code = getattr(function, "__code__", None)
    if code is None:
        call = next((vars(one)["__call__"] for one in type(function).__mro__ if "__call__" in vars(one)), None)
        code = getattr(call, "__code__", None)
    return int(getattr(code, "co_flags", 0))


def take_after(wrapper: FunctionType, function: Any) -> None:
    """Give a wrapper the name, the documentation and the attributes of what it wraps."""
    for attribute in _COPIED:
        try:
            setattr(wrapper, attribute, getattr(function, attribute))
        except (AttributeError, TypeError):
            continue
    if isinstance(function, type(wrapper)):
        wrapper.__dict__.update(function.__dict__)
    wrapper.__wrapped__ = function  # type: ignore[attr-defined]  # what inspect.signature follows
