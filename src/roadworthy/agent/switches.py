"""What people have forced, switched off or taken down, kept until it is undone or its time is over.

It is told to the program on the control page and saved in the state directory, so that neither the agent's death nor a
restart of a worker brings back what somebody has taken away. A change is published first, then saved; when either
fails, everything is as it was before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy.agent.statefiles import check_schema, write_atomically
from roadworthy.errors import Exhausted, RoadworthyError
from roadworthy.watch.policies import Held

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = 1
FILE: Final = "switches.json"
MOST: Final = 200
"""Entries of one kind: the control page has to hold them all."""

REASON_SHOWN: Final = 64
"""Characters of a reason that the program is told; it keeps no more."""

RESET_FOR: Final = 30.0
"""Seconds for which a reset stays on the page; a process that starts later has nothing to reset."""

ON: Final = "on"
"""The state of a feature or service that people have given back: told for :data:`RESET_FOR`, then forgotten."""

RESET: Final = "reset"
POLICIES: Final = "policies"
FEATURES: Final = "features"
SERVICES: Final = "services"
KINDS: Final = (POLICIES, FEATURES, SERVICES)

_BRIEF: Final = frozenset({ON, RESET})


@dataclass(frozen=True, slots=True)
class Book:
    """All entries by kind and name, how many changes there were, and when what was last done (for cooldowns)."""

    entries: Mapping[str, Mapping[str, Held]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    epochs: Mapping[str, int] = field(default_factory=dict)
    epoch: int = 0
    done: Mapping[str, float] = field(default_factory=dict)

    def put(self, kind: str, name: str, held: Held) -> Book:
        """Return the book with an entry added or replaced; raises :class:`Exhausted` when there are too many."""
        of_kind = dict(self.entries[kind])
        of_kind[name] = held
        if len(of_kind) > MOST:
            raise Exhausted(
                f"too many {kind} are held",
                why=f"At most {MOST} of them can be told to the program.",
                hint="Undo some of them first.",
            )
        key = f"{kind}/{name}"
        entries = {**self.entries, kind: of_kind}
        return replace(self, entries=entries, epochs={**self.epochs, key: self.epoch + 1}, epoch=self.epoch + 1)

    def without(self, gone: Mapping[str, frozenset[str]]) -> Book:
        """Return the book without these names of each kind."""
        entries = {
            kind: {name: held for name, held in of_kind.items() if name not in gone.get(kind, ())}
            for kind, of_kind in self.entries.items()
        }
        epochs = {f"{kind}/{name}": self.epochs.get(f"{kind}/{name}", 0) for kind in KINDS for name in entries[kind]}
        return replace(self, entries=entries, epochs=epochs)

    def expired(self, now: float) -> dict[str, frozenset[str]]:
        """Return what is over at ``now`` (wall seconds), by kind."""
        return {
            kind: frozenset(name for name, held in of_kind.items() if held.until is not None and held.until <= now)
            for kind, of_kind in self.entries.items()
        }

    def page(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return what the control page tells the program."""
        return {
            POLICIES: {name: self._policy(name, held) for name, held in self.entries[POLICIES].items()},
            FEATURES: {name: self._off(FEATURES, name, held, "off") for name, held in self.entries[FEATURES].items()},
            SERVICES: {
                name: self._off(SERVICES, name, held, "degraded") for name, held in self.entries[SERVICES].items()
            },
        }

    def _policy(self, name: str, held: Held) -> dict[str, Any]:
        epoch = self.epochs.get(f"{POLICIES}/{name}", 0)
        if held.state == RESET:
            return {"reset": epoch}
        return {"force": held.state, "until_wall": held.until, "epoch": epoch}

    def _off(self, kind: str, name: str, held: Held, word: str) -> dict[str, Any]:
        told = {word: held.state != ON, "reason": held.reason[:REASON_SHOWN], "until_wall": held.until}
        return {**told, "epoch": self.epochs.get(f"{kind}/{name}", 0)}


class Switches:
    """The book, saved in ``state`` and published with ``publish``; ``notices`` tells what was wrong with the file."""

    def __init__(self, state: Path, publish: Callable[[], object] = lambda: None) -> None:
        self._file = state / FILE
        self.publish = publish
        self.notices: list[str] = []
        self.book = self._load()

    def held(self, kind: str) -> dict[str, Held]:
        """Return what people hold of a kind, by name; what they have given back is not in it."""
        return {name: held for name, held in self.book.entries[kind].items() if held.state not in _BRIEF}

    def set(self, kind: str, name: str, held: Held) -> None:
        """Hold something; raises :class:`Exhausted` or :class:`Unavailable`, and nothing is changed then."""
        self._change(self.book.put(kind, name, held))

    def release(self, kind: str, name: str, word: str, now: float) -> bool:
        """Give something back, told to the program as ``word`` for a while; returns whether people held it."""
        before = name in self.held(kind)
        self._change(self.book.put(kind, name, Held(word, "", now, now + RESET_FOR)))
        return before

    def tick(self, now: float) -> dict[str, frozenset[str]]:
        """Forget what is over at ``now`` (wall); returns what people held of it. Raises as :meth:`set`."""
        over = self.book.expired(now)
        if not any(over.values()):
            return {}
        told = {kind: frozenset(names & self.held(kind).keys()) for kind, names in over.items()}
        self._change(self.book.without(over))
        return {kind: names for kind, names in told.items() if names}

    def last(self, what: str) -> float | None:
        """Return when something was last done (wall), None when it never was."""
        return self.book.done.get(what)

    def mark(self, what: str, now: float) -> None:
        """Remember that something was done at ``now`` (wall), over a restart of the agent; raises as :meth:`set`."""
        recent = sorted({**self.book.done, what: now}.items(), key=lambda item: item[1])[-MOST:]
        self._change(replace(self.book, done=dict(recent)), publish=False)

    def _change(self, book: Book, *, publish: bool = True) -> None:
        before, self.book = self.book, book
        try:
            if publish:
                self.publish()
            write_atomically(self._file, json.dumps({"schema": SCHEMA, **asdict(book)}))
        except RoadworthyError:
            self.book = before
            if publish:
                self.publish()
            raise

    def _load(self) -> Book:
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            check_schema(raw, SCHEMA)
            entries = {kind: {name: Held(**held) for name, held in raw["entries"][kind].items()} for kind in KINDS}
            return Book(entries, dict(raw["epochs"]), int(raw["epoch"]), dict(raw["done"]))
        except FileNotFoundError:
            return Book()
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            aside = self._file.with_suffix(".json.broken")
            self._file.replace(aside)
            self.notices.append(f"what people had switched could not be read ({error}); set aside as {aside.name}")
            return Book()
