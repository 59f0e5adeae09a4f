"""What answers when the call has failed for good: another function, a fixed value, or the last good answer.

Such an answer is marked: :func:`is_degraded` is true in the context that got it, until its next good answer.
"""

from __future__ import annotations

from contextvars import ContextVar

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import duration, function, kinds, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import Any

    from roadworthy.resilience.arguments import Kinds

    Args = tuple[Any, ...]
    Kwargs = Mapping[str, Any]

_degraded: ContextVar[bool] = ContextVar("roadworthy_degraded", default=False)

is_degraded = _degraded.get
"""Return whether the last answer that this context got from a policy with a fallback came from that fallback."""


def mark_degraded(marked: bool = True) -> None:  # noqa: FBT001, FBT002 - a setter of a flag
    """Mark whether the answer which this context gets is a degraded one; for answers that come from elsewhere."""
    if marked or _degraded.get():
        _degraded.set(marked)


class Fallback:
    """Call ``fn``, with the arguments of the call that failed, for its answer; it may be a coroutine function.

    ``on``: the exceptions that it answers; refusals of our own (an open breaker) are among them by default. What is no
    Exception always passes. An exception of ``fn`` itself passes to the caller, with the first one as its context. For
    other kinds of answers see :meth:`value` and :meth:`last_good`. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_fn", "_kinds")

    def __init__(self, fn: Callable[..., object], *, on: Kinds = Exception) -> None:
        self._fn = function("fallback", fn)
        self._kinds = kinds("on", on)

    @classmethod
    def value(cls, value: object, *, on: Kinds = Exception) -> Fallback:
        """Answer with this value: the same object each time."""
        return _Value(value, on)

    @classmethod
    def last_good(
        cls,
        ttl: float | str = 300,
        key: Callable[..., Hashable] | None = None,
        most: int = 1000,
        *,
        otherwise: Callable[..., object] | None = None,
        on: Kinds = Exception,
    ) -> Fallback:
        """Answer with the last good result of a call with the same ``key``, if it is at most ``ttl`` seconds old.

        ``key`` is called with the call's arguments; by default they themselves are the key, and a call whose
        arguments cannot be one is not kept. The ``most`` keys that were last good are kept, each with its result: the
        object itself, no copy. Without such a result ``otherwise`` is called with the arguments; without that the
        exception passes.
        """
        return _LastGood(ttl, key, most, otherwise, on)

    def good(self, args: Args, kwargs: Kwargs, result: object) -> None:  # noqa: ARG002 - see below
        """Note the result of a good call, whatever kind of fallback this is; never raises."""
        if _degraded.get():
            _degraded.set(False)

    def covers(self, error: BaseException) -> bool:
        """Return whether this exception is one that the fallback answers."""
        return isinstance(error, self._kinds) and isinstance(error, Exception)

    def answer(self, error: BaseException, args: Args, kwargs: Kwargs) -> object:
        """Return the answer, or an awaitable of it, instead of ``error``, and mark this context.

        Raises ``error`` when there is no answer.
        """
        try:
            if not self.covers(error):
                raise error
            found = self._find(error, args, kwargs)
        finally:
            del error  # it refers to this frame by now
        _degraded.set(True)
        return found

    def _find(self, error: BaseException, args: Args, kwargs: Kwargs) -> object:  # noqa: ARG002 - see below
        return self._fn(*args, **kwargs)

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {"kind": "function", "function": getattr(self._fn, "__qualname__", repr(self._fn))}


class _Value(Fallback):
    """A fixed answer."""

    __slots__ = ("_value",)

    def __init__(self, value: object, on: Kinds) -> None:
        super().__init__(_nothing, on=on)
        self._value = value

    def _find(self, error: BaseException, args: Args, kwargs: Kwargs) -> object:  # noqa: ARG002 - the same each time
        return self._value

    def describe(self) -> dict[str, object]:
        return {"kind": "value", "value": repr(self._value)[:200]}


class _LastGood(Fallback):
    """The last good results, by key; the oldest one gives way."""

    __slots__ = ("_kept", "_key", "_most", "_otherwise", "_ttl_ns", "ttl")

    def __init__(
        self,
        ttl: float | str,
        key: Callable[..., Hashable] | None,
        most: int,
        otherwise: Callable[..., object] | None,
        on: Kinds,
    ) -> None:
        super().__init__(_nothing, on=on)
        self.ttl = duration("ttl", ttl)
        self._ttl_ns = int(self.ttl * NS)
        self._key = _arguments if key is None else function("key", key)
        self._most = whole("most", most, most=1_000_000)
        self._otherwise = None if otherwise is None else function("otherwise", otherwise)
        self._kept: dict[object, tuple[object, int]] = {}

    def good(self, args: Args, kwargs: Kwargs, result: object) -> None:
        if _degraded.get():
            _degraded.set(False)
        # Whatever goes wrong in here (no key, another thread in between), the good answer is not lost for it.
        try:
            key = self._key(*args, **kwargs)
            kept = self._kept
            kept.pop(key, None)  # so that the order of the keys is the order of their last good results
            kept[key] = (result, _clock.monotonic_ns())
            while len(kept) > self._most:
                kept.pop(next(iter(kept)), None)
        except Exception:  # noqa: BLE001 - as said above
            return

    def _find(self, error: BaseException, args: Args, kwargs: Kwargs) -> object:
        key = found = None
        # Without a key there is no kept result, and the exception of the call tells more than that of the key.
        try:
            key = self._key(*args, **kwargs)
            found = self._kept.get(key)
        except Exception:  # noqa: BLE001, S110 - as said above
            pass
        if found is not None:
            result, at_ns = found
            if _clock.monotonic_ns() - at_ns <= self._ttl_ns:
                return result
            self._kept.pop(key, None)
        if self._otherwise is None:
            try:
                raise error
            finally:
                del error  # it refers to this frame by now
        return self._otherwise(*args, **kwargs)

    def describe(self) -> dict[str, object]:
        return {"kind": "last_good", "ttl": self.ttl, "most": self._most, "kept": len(self._kept)}


def _nothing(*_: object, **__: object) -> None:
    """Stand where a function is wanted and another way is taken."""


def _arguments(*args: object, **kwargs: object) -> object:
    return (args, tuple(sorted(kwargs.items()))) if kwargs else args
