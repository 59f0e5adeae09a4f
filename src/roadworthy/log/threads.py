"""Identifiers go along into threads: those of who starts a thread, or hands a pool something to do.

Only our identifiers do, not the whole context: what else a program keeps in context variables is its own affair.
Where nothing is bound nothing is wrapped.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import sys

from roadworthy.log.correlation import NOTHING, bind_all, bound, carried, unbind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_MARK = "__roadworthy_carries__"


def install() -> None:
    """Carry identifiers into the threads and pools of this process; what is imported later is found when it is used."""
    import threading

    carry_threads(threading)
    pool = sys.modules.get("concurrent.futures.thread")
    if pool is not None:
        carry_pools(pool)
    else:
        _await_pools()


def carry_threads(module: ModuleType) -> None:
    """Have threads run under the identifiers of who starts them; ``module`` is :mod:`threading`."""
    original = module.Thread.start
    if getattr(original, _MARK, False):
        return

    def start(self: Any) -> Any:
        here = bound()
        if here is not NOTHING:
            self.run = carried(self.run, here)
        return original(self)

    _replace(module.Thread, "start", start, original)


def carry_pools(module: ModuleType) -> None:
    """Have pools run what they are given under the giver's identifiers; ``module`` is concurrent.futures.thread."""
    original = module.ThreadPoolExecutor.submit
    if getattr(original, _MARK, False):
        return

    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        here = bound()
        if here is NOTHING:
            return original(self, fn, *args, **kwargs)
        token = bind_all(NOTHING)  # a thread that the pool starts now is to have no identifiers of its own
        try:
            return original(self, carried(fn, here), *args, **kwargs)
        finally:
            unbind(token)

    _replace(module.ThreadPoolExecutor, "submit", submit, original)


def _replace(owner: Any, name: str, new: Any, original: Any) -> None:
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(new, attribute, getattr(original, attribute))
    new.__wrapped__ = original
    setattr(new, _MARK, True)
    setattr(owner, name, new)


def _await_pools() -> None:
    """Look once more when the program asks for the pool, which ``concurrent.futures`` imports late."""
    import concurrent.futures

    original = getattr(concurrent.futures, "__getattr__", None)
    if original is None or getattr(original, _MARK, False):
        return

    def __getattr__(name: str) -> Any:  # noqa: N807 - it takes its place
        found = original(name)
        pool = sys.modules.get("concurrent.futures.thread")
        if pool is not None:
            carry_pools(pool)
        return found

    setattr(__getattr__, _MARK, True)
    vars(concurrent.futures)["__getattr__"] = __getattr__
