"""One interface to every store: values are kept for a bounded time, so that a rotated one reaches a running program.

A value is read again when it is older than ``max_age`` seconds. When the store cannot be asked then, the last value
stays in use, at most ``max_stale`` seconds after it was read; a store that says "no such secret" or "forbidden" is
believed at once. Only one thread asks; others get what is there meanwhile.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from roadworthy import _clock
from roadworthy.config.secrets.failures import not_found
from roadworthy.config.secrets.store import Entry, Held, Store, check_name
from roadworthy.errors import NotFound, Refused, Temporary, Unavailable
from roadworthy.types import Secret

MAX_AGE = 300.0
MAX_STALE = 3600.0
RETRY_AFTER = 10.0
"""Seconds after which a store that could not be asked is asked again, while an old value is still in use."""

Subscriber = Callable[[str, Secret], object]


@dataclass(frozen=True, slots=True)
class Described:
    """What a backend is, for people: no secret in it. ``stale`` names secrets whose store could not be asked again."""

    kind: str
    place: str
    writable: bool
    plain: bool
    stale: tuple[str, ...] = ()


@dataclass(slots=True)
class _Kept:
    held: Held
    read: float
    until: float
    stale: bool = False


class Backend:
    """Secrets by name from one store.

    ``used`` is called with the name of each secret that is asked for: the place to count from. ``now`` is the clock.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_age: float = MAX_AGE,
        max_stale: float = MAX_STALE,
        used: Callable[[str], object] | None = None,
        now: Callable[[], float] = _clock.monotonic,
    ) -> None:
        self.store = store
        self._max_age = max_age
        self._max_stale = max_stale
        self._used = used
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._whole_until = float("-inf")
        self._asking = threading.RLock()
        self._subscribers: list[Subscriber] = []
        _all.add(self)

    def after_fork(self) -> None:
        """Forget, in a forked child, that a thread of the parent was asking: it is not here."""
        self._asking = threading.RLock()

    def get(self, name: str) -> Secret:
        """Return the secret.

        Raises NotFound, Refused (forbidden), Temporary (too slow, too busy), Unavailable (not reachable) or
        ConfigurationError (malformed, client missing): each names the secret and the store.
        """
        check_name(name)
        if self._used is not None:
            self._used(name)
        return self._current(name).secret

    def find(self, name: str) -> Secret | None:
        """Return the secret, or None when the store has none of that name; raises otherwise as :meth:`get`."""
        try:
            return self.get(name)
        except NotFound:
            return None

    def names(self) -> tuple[str, ...]:
        """Return the names of what is there, sorted; raises as :meth:`get`."""
        return tuple(entry.name for entry in self.entries())

    def entries(self) -> tuple[Entry, ...]:
        """Return names with the time of their last change, sorted by name; raises as :meth:`get`."""
        return tuple(sorted(self.store.entries(), key=lambda entry: entry.name))

    def set(self, name: str, value: str) -> None:
        """Put a value into the store; subscribers are told. Raises UsageError when the store is read-only for us."""
        check_name(name)
        self.store.write(name, value)
        self._expire(name)
        if name in self._kept:
            self._current(name)

    def delete(self, name: str) -> None:
        """Take a secret out of the store; raises NotFound when it is not there, UsageError when it is read-only."""
        check_name(name)
        self.store.remove(name)
        self._kept.pop(name, None)

    def refresh(self) -> tuple[str, ...]:
        """Read everything that was asked for so far again, tell subscribers and return the names of what has changed.

        Raises as :meth:`get` when the store cannot be asked; the values that are there then stay in use.
        """
        changed: list[str] = []
        with self._asking:
            for kept in self._kept.values():
                kept.until = float("-inf")
            self._whole_until = float("-inf")
            for name in list(self._kept):
                kept_now = self._kept.get(name)
                if kept_now is None or kept_now.until > self._now():  # gone, or brought along by another
                    continue
                try:
                    changed += self._ask(name, lenient=False)
                except NotFound:
                    changed.append(name)
        self._tell(changed)
        return tuple(sorted(changed))

    def on_rotation(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have ``subscriber(name, secret)`` called when a value that was in use is found changed.

        Returns a function that ends it. It is called in the thread that found the change; what it raises reaches that
        one, after all others were told.
        """
        self._subscribers.append(subscriber)

        def end() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return end

    def describe(self) -> Described:
        """Return what this is, without asking the store."""
        stale = tuple(sorted(name for name, kept in self._kept.items() if kept.stale))
        store = self.store
        return Described(store.kind, store.place, store.writable, store.plain, stale)

    def _current(self, name: str) -> Held:
        kept = self._kept.get(name)
        if kept is not None and self._now() < kept.until:
            return kept.held
        usable = kept is not None and self._now() < kept.read + self._max_stale
        if not self._asking.acquire(blocking=not usable) and kept is not None:
            return kept.held  # somebody else is asking
        try:
            kept = self._kept.get(name)
            changed: list[str] = []
            if kept is None or self._now() >= kept.until:
                changed = self._ask(name, lenient=True)
            held = self._kept[name].held
        finally:
            self._asking.release()
        self._tell(changed)
        return held

    def _ask(self, name: str, *, lenient: bool) -> list[str]:
        """Read one secret (and what comes with it) and return the names of those that have changed."""
        now = self._now()
        if self.store.whole and name not in self._kept and now < self._whole_until:
            raise not_found(name, self.store.place)
        try:
            found = self.store.read(name)
        except (Temporary, Unavailable):
            kept = self._kept.get(name)
            if not lenient or kept is None or now >= kept.read + self._max_stale:
                raise
            kept.until = now + RETRY_AFTER
            kept.stale = True
            return []
        except NotFound:
            self._kept.pop(name, None)
            if self.store.whole:
                self._whole_until = now + self._max_age
            raise
        except Refused:  # nothing was seen of what is there: no other name is said to be missing
            self._kept.pop(name, None)
            raise
        return self._take(found, now)

    def _take(self, found: Mapping[str, Held], now: float) -> list[str]:
        changed = [
            name for name, held in found.items() if name in self._kept and self._kept[name].held.secret != held.secret
        ]
        if self.store.whole:
            self._kept = {name: kept for name, kept in self._kept.items() if name in found}
            self._whole_until = now + self._max_age
        self._kept.update({name: _Kept(held, now, now + self._max_age) for name, held in found.items()})
        return changed

    def _expire(self, name: str) -> None:
        with self._asking:
            self._whole_until = float("-inf")
            if name in self._kept:
                self._kept[name].until = float("-inf")

    def _tell(self, changed: list[str]) -> None:
        failures: list[Exception] = []
        for name in changed:
            kept = self._kept.get(name)
            if kept is None:
                continue
            for subscriber in list(self._subscribers):
                try:
                    subscriber(name, kept.held.secret)
                except Exception as error:  # noqa: BLE001 - the others are told first
                    failures.append(error)
        if failures:
            raise failures[0]


_all: weakref.WeakSet[Backend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in _all:
        backend.after_fork()


os.register_at_fork(after_in_child=_after_fork)
