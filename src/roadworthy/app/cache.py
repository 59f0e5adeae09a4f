"""A bounded cache of results: the newest used stay, each for its time; in this process, or shared in Redis.

What is guaranteed: never more than ``max_size`` entries; nothing older than ``ttl``; of callers that miss the same key
at once, one computes and the others get what it got; ``None`` is a result like any other. A failure of Redis never
raises: it is a miss that is counted in ``cache.errors``. What is not: that a value is a copy. In this process it is the
object itself, so do not change it. No lock is taken: every step on the table is one call of the interpreter's own
:class:`OrderedDict` with keys that are text, so threads, signal handlers and callbacks of the garbage collector find it
whole.

A cache is part of what the program does: with ``ROADWORTHY_ENABLED=0`` it caches as before, and only tells nothing.
"""

# ruff: noqa: ANN401 - values and functions are the program's own, of whatever type they are

from __future__ import annotations

from _collections import OrderedDict  # type: ignore[import-not-found]  # as in collections, whose import costs the start

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.app import guard, start
from roadworthy.app.flights import Flights
from roadworthy.app.keys import Unkeyable, key_of
from roadworthy.resilience.arguments import BadArgument, duration, function, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

    class Store(Protocol):  # its methods are Near's
        """Where entries are kept; ``MISSING`` is what is not there, and what could not be asked for."""

        def get(self, key: str) -> Any: ...  # noqa: D102
        async def aget(self, key: str) -> Any: ...  # noqa: D102
        def set(self, key: str, value: Any, ttl: float | None) -> int: ...  # noqa: D102
        async def aset(self, key: str, value: Any, ttl: float | None) -> int: ...  # noqa: D102
        def delete(self, key: str) -> bool: ...  # noqa: D102
        async def adelete(self, key: str) -> bool: ...  # noqa: D102
        def clear(self) -> None: ...  # noqa: D102
        async def aclear(self) -> None: ...  # noqa: D102
        def size(self) -> int | None: ...  # noqa: D102
        def close(self) -> None: ...  # noqa: D102
        async def aclose(self) -> None: ...  # noqa: D102


DEFAULT_SIZE = 1000
LONGEST_NAME = 64
_COROUTINE, _GENERATES = 0x80, 0x20 | 0x200


class Missing:
    """What a cache has no value for; there is one object of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Near:
    """The entries of this process, the least recently used first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, key: str) -> Any:
        """Return the value, MISSING when there is none or its time is over."""
        found = self._kept.get(key)
        if found is None:
            return MISSING
        if found[1] and _clock.monotonic_ns() >= found[1]:
            self._kept.pop(key, None)
            return MISSING
        try:
            self._kept.move_to_end(key)
        except KeyError:
            pass  # taken away by another thread since
        return found[0]

    def set(self, key: str, value: Any, ttl: float | None) -> int:
        """Keep a value and return how many others gave way."""
        self._kept[key] = (value, 0 if ttl is None else _clock.monotonic_ns() + int(ttl * NS))
        evicted = 0
        try:
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
                evicted += 1
        except KeyError:
            pass  # as above
        return evicted

    def delete(self, key: str) -> bool:
        """Forget a key; returns whether it was there."""
        return self._kept.pop(key, None) is not None

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def size(self) -> int:
        """Return how many entries are kept, those among them whose time is over but which nobody asked for since."""
        return len(self._kept)

    async def aget(self, key: str) -> Any:
        """Return the value, or MISSING."""
        return self.get(key)

    async def aset(self, key: str, value: Any, ttl: float | None) -> int:
        """Keep a value and return how many others gave way."""
        return self.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        """Forget a key; returns whether it was there."""
        return self.delete(key)

    async def aclear(self) -> None:
        """Forget everything."""
        self.clear()

    def close(self) -> None:
        """Do nothing: there is no connection."""

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


class Cache:
    """See :func:`roadworthy.cache`. ``hits``, ``misses``, ``evictions`` and ``errors`` count since it was made.

    A key is text, or any plain value (:func:`roadworthy.app.keys.key_of`); other keys are a TypeError, as in a dict.
    """

    def __init__(
        self,
        name: str,
        *,
        max_size: int = DEFAULT_SIZE,
        ttl: float | str | None = None,
        negative_ttl: float | str | None = None,
        url: str | None = None,
        key: Callable[..., object] | None = None,
    ) -> None:
        self.name = _name(name)
        self.max_size = whole("max_size", max_size)
        self.ttl = None if ttl is None else duration("ttl", ttl)
        self.negative_ttl = self.ttl if negative_ttl is None else duration("negative_ttl", negative_ttl, above=False)
        self.hits = self.misses = self.evictions = self.errors = 0
        self._key = None if key is None else function("key", key)
        self._meters = _Meters(self.name)
        self._flights = Flights()
        self._near: Near | None = None
        self._store: Store
        if url:
            self._store = _shared(self, url)
        else:
            self._store = self._near = Near(self.max_size)

    def get(self, key: object, default: Any = None) -> Any:
        """Return what is kept under ``key``, else ``default``. Counts a hit or a miss; never raises."""
        return self._told(self._store.get(_text(key)), default)

    async def aget(self, key: object, default: Any = None) -> Any:
        """Return what is kept under ``key``, else ``default``, without blocking the event loop where Redis is asked."""
        return self._told(await self._store.aget(_text(key)), default)

    def set(self, key: object, value: Any, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds, by default the cache's own. Never raises."""
        key = _text(key)
        self._flights.drop(key)
        self._keep(key, value, ttl)

    async def aset(self, key: object, value: Any, ttl: float | None = None) -> None:
        """Keep ``value`` as :meth:`set` does, without blocking the event loop."""
        key = _text(key)
        self._flights.drop(key)
        await self._akeep(key, value, ttl)

    def delete(self, key: object) -> bool:
        """Forget ``key``, also for who computes it just now; returns whether it was there. Never raises."""
        key = _text(key)
        self._flights.drop(key)
        found = self._store.delete(key)
        self._sized()
        return found

    async def adelete(self, key: object) -> bool:
        """Forget ``key`` as :meth:`delete` does, without blocking the event loop."""
        key = _text(key)
        self._flights.drop(key)
        found = await self._store.adelete(key)
        self._sized()
        return found

    def clear(self) -> None:
        """Forget everything. Never raises."""
        self._flights.drop_all()
        self._store.clear()
        self._sized()

    async def aclear(self) -> None:
        """Forget everything, without blocking the event loop."""
        self._flights.drop_all()
        await self._store.aclear()
        self._sized()

    def close(self) -> None:
        """Close the connections to Redis that plain calls opened; a later call opens new ones."""
        self._store.close()

    async def aclose(self) -> None:
        """Close the connections to Redis that this event loop opened."""
        await self._store.aclose()

    @property
    def hit_rate(self) -> float | None:
        """Return hits over all look-ups; None when there was none."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    def describe(self) -> dict[str, object]:
        """Return what it was made with and how it did, as plain values; without the URL, which may hold a password."""
        return {
            "name": self.name, "kind": "redis" if self._near is None else "process",
            "max_size": self.max_size, "ttl": self.ttl, "negative_ttl": self.negative_ttl, "size": self._store.size(),
            "hits": self.hits, "misses": self.misses, "hit_rate": self.hit_rate, "evictions": self.evictions,
            "errors": self.errors,
        }  # fmt: skip

    def __call__(self, fn: F) -> F:
        """Return the function with its results kept under :meth:`key` of its arguments; also of ``async def``.

        What it raises is not kept, and passes to all who waited for it. Raises BadArgument for a generator.
        """
        from roadworthy.resilience import signature

        flags = signature.flags_behind(function("fn", fn))
        if flags & _GENERATES:
            raise BadArgument("fn", fn, "no generator: what it yields is gone when it was read once")
        named = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
        made: Any = self._asynchronous(fn, named) if flags & _COROUTINE else self._plain(fn, named)
        for what in ("__module__", "__name__", "__qualname__", "__doc__"):
            try:
                setattr(made, what, getattr(fn, what))
            except AttributeError:
                pass  # a partial, a callable object
        made.__wrapped__ = fn
        made.cache = self
        return made  # type: ignore[no-any-return]  # called as fn is

    def key(self, fn: Any, *args: object, **kwargs: object) -> str:
        """Return the key of a call of a function that this cache decorates, for ``delete``: ``c.key(find, "x")``.

        It is an MD5 hash of the function's name and the arguments, or of what ``key=`` makes of the arguments, as it
        is where that is text. Raises TypeError for arguments that have no value of their own.
        """
        inner = getattr(fn, "__wrapped__", fn)
        return self._keyed(f"{inner.__module__}.{inner.__qualname__}", args, kwargs)

    def _keyed(self, named: str, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
        if self._key is None:
            return key_of((named, args, kwargs))
        made = self._key(*args, **kwargs)
        return made if type(made) is str else key_of(made)

    def _key_or_none(self, named: str, args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
        try:
            return self._keyed(named, args, kwargs)
        except Unkeyable as unkeyable:
            what = f"{named} is called with {unkeyable} and not cached; give rw.cache({self.name!r}, key=...)"
            guard.report(f"cache.{self.name}.{named}", what)
            return None

    def _plain(self, fn: Any, named: str) -> Any:
        def cached(*args: Any, **kwargs: Any) -> Any:
            key = self._key_or_none(named, args, kwargs)
            if key is None:
                return fn(*args, **kwargs)
            before = self._flights.ended
            found = self._told(self._store.get(key), MISSING)
            if found is not MISSING:
                return found

            def compute() -> Any:
                # Another caller may have computed it between our look and now.
                since = MISSING if self._flights.ended is before else self._store.get(key)
                return fn(*args, **kwargs) if since is MISSING else since

            return self._flights.once(key, compute, lambda value: self._keep(key, value, None))

        return cached

    def _asynchronous(self, fn: Any, named: str) -> Any:
        async def cached(*args: Any, **kwargs: Any) -> Any:
            key = self._key_or_none(named, args, kwargs)
            if key is None:
                return await fn(*args, **kwargs)
            before = self._flights.ended
            found = self._told(await self._store.aget(key), MISSING)
            if found is not MISSING:
                return found

            async def compute() -> Any:
                since = MISSING if self._flights.ended is before else await self._store.aget(key)
                return await fn(*args, **kwargs) if since is MISSING else since

            async def keep(value: Any) -> None:
                await self._akeep(key, value, None)

            return await self._flights.aonce(key, compute, keep)

        return cached

    def _told(self, found: Any, default: Any) -> Any:
        if found is MISSING:
            self.misses += 1
            self._meters.misses.add()
            return default
        self.hits += 1
        self._meters.hits.add()
        return found

    def _keep(self, key: str, value: Any, ttl: float | None) -> None:
        wanted = self._time_of(value, ttl)
        if wanted != 0:
            self._evicted(self._store.set(key, value, wanted))

    async def _akeep(self, key: str, value: Any, ttl: float | None) -> None:
        wanted = self._time_of(value, ttl)
        if wanted != 0:
            self._evicted(await self._store.aset(key, value, wanted))

    def _time_of(self, value: Any, ttl: float | None) -> float | None:
        if ttl is not None:
            return max(0.0, ttl)
        return self.negative_ttl if value is None else self.ttl

    def _evicted(self, n: int) -> None:
        if n:
            self.evictions += n
            self._meters.evictions.add(n)
        self._sized()

    def _sized(self) -> None:
        if self._near is not None:
            self._meters.size.set(self._near.size())

    def failed(self) -> None:
        """Count that Redis did not answer, or that a value could not go there; for the stores."""
        self.errors += 1
        self._meters.errors.add()


class _Meters:
    """What a cache tells, each with the label ``cache``."""

    def __init__(self, name: str) -> None:
        from roadworthy.app import off

        metrics: Any = off
        if start.enabled():
            from roadworthy.app import metrics

        def made(what: str, told: str) -> Any:
            return metrics.counter(f"cache.{what}", help=told, labels=("cache",)).labels(cache=name)

        self.hits = made("hits", "look-ups that found a value")
        self.misses = made("misses", "look-ups that found none")
        self.evictions = made("evictions", "entries that gave way to newer ones")
        self.errors = made("errors", "times that the shared cache did not answer, or a value could not go there")
        size = metrics.gauge("cache.size", unit="{entry}", help="entries kept", merge="sum", labels=("cache",))
        self.size = size.labels(cache=name)


def _name(given: object) -> str:
    if isinstance(given, str) and 0 < len(given) <= LONGEST_NAME:
        return given
    raise BadArgument("name", given, f"a text of 1 to {LONGEST_NAME} characters")


def _text(key: object) -> str:
    return key if type(key) is str else key_of(key)


def _shared(owner: Cache, url: str) -> Store:
    from roadworthy.app.integrations import redis_cache

    if owner.ttl is None:
        owner.ttl = redis_cache.DEFAULT_TTL
        owner.negative_ttl = owner.ttl if owner.negative_ttl is None else owner.negative_ttl
    return redis_cache.Shared(url, owner)
