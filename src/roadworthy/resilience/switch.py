"""Something that is on until somebody has a reason to switch it off: what features and degraded services share.

Several may hold it off at once, each with a reason of its own: the program, the operator, a recovery, a fallback. It is
off as long as one of them does, and nobody's "on" lifts the operator's "off". Each hold ends by itself when its time is
over, or when its cause has been gone for a hold time.

What the program does is shared by all processes of the application where there is a store for that (scope ``host``);
without one, or with scope ``process``, it holds in this process. All else holds in this process only; the operator's
word reaches each process by the control page. Nothing here waits, and asking never raises.
"""

from __future__ import annotations

from roadworthy._clock import NS, monotonic_ns, wall
from roadworthy.errors import RoadworthyError
from roadworthy.resilience import arguments, outward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.types import StateStore, StateWord

PROGRAM, OPERATOR, RECOVERY, FALLBACK = "program", "operator", "recovery", "fallback"
HOLD = 30.0
"""Seconds that a cause must be gone before what it switched off comes back."""

LOOK_NS = NS
"""Nanoseconds between two looks at a cause."""

LONGEST_REASON = 64
"""Bytes of a reason that the processes share; of other reasons as many characters."""

_PART = 16
_HALF = 8
_MOST_PARTS = LONGEST_REASON // _PART
_GENERATIONS = (1 << 62) - 1


class Hold:
    """One reason to be off; values only."""

    __slots__ = ("cause", "hold_ns", "looked_ns", "reason", "seen_ns", "since_ns", "source", "until_ns")

    def __init__(
        self,
        source: str,
        reason: str,
        since_ns: int,
        until_ns: int = 0,
        cause: Callable[[], object] | None = None,
        hold_ns: int = int(HOLD * NS),
    ) -> None:
        self.source = source
        self.reason = reason
        self.since_ns = since_ns
        self.until_ns = until_ns
        self.cause = cause
        self.hold_ns = hold_ns
        self.seen_ns = since_ns
        self.looked_ns = since_ns

    def over(self, now_ns: int) -> bool:
        """Tell whether the time is over, or the cause has been gone long enough; never raises.

        A cause that cannot be asked counts as still there.
        """
        if self.until_ns and now_ns >= self.until_ns:
            return True
        if self.cause is None:
            return False
        if now_ns - self.looked_ns >= LOOK_NS:
            self.looked_ns = now_ns
            try:
                present = bool(self.cause())
            except Exception:  # noqa: BLE001 - unknown is not gone
                present = True
            if present:
                self.seen_ns = now_ns
        return self.looked_ns - self.seen_ns >= self.hold_ns


class Switch:
    """On, or off with reasons."""

    __slots__ = ("_generation", "_holds", "_seen_off", "_word", "_word_of", "_words", "kind", "name", "scope")

    def __init__(self, kind: str, name: str, scope: str = "host") -> None:
        self.scope = arguments.choice("scope", scope, "process", "host")
        self.kind = kind
        self.name = name
        self._holds: dict[str, Hold] = {}
        self._word: StateWord | None = None
        self._words: list[StateWord] = []
        self._word_of: object = None  # whose store the words are of
        self._generation = 0
        self._seen_off = False
        outward.used()

    # -- changing it

    def hold(
        self,
        source: str,
        reason: str,
        for_: float | None = None,
        cause: Callable[[], object] | None = None,
        hold: float = HOLD,
    ) -> None:
        """Switch off, or renew the reason of ``source``.

        It ends after ``for_`` seconds, or once ``cause()`` has been false for ``hold`` seconds, or when released.
        Raises :class:`~roadworthy.errors.UsageError` for times that are not positive.
        """
        if for_ is not None:
            arguments.number("for_", for_, above=True)
        arguments.number("hold", hold, above=True)
        now = monotonic_ns()
        reason = text_of(reason)[:LONGEST_REASON] or "no reason given"
        until = 0 if for_ is None else now + int(for_ * NS)
        before = self.is_off
        if source != PROGRAM or cause is not None or not self._share(reason, now, until):
            known = self._holds.get(source)
            self._holds[source] = Hold(
                source, reason, known.since_ns if known is not None else now, until, cause, int(hold * NS)
            )
        self._tell(was_off=before, reason=reason, source=source)

    def release(self, source: str) -> bool:
        """Take back what ``source`` holds; tells whether it held anything."""
        before = self.is_off
        held = self._holds.pop(source, None) is not None
        if source == PROGRAM and self._unshare():
            held = True
        if held:
            self._tell(was_off=before, reason="switched on again", source=source)
        return held

    # -- asking

    @property
    def is_off(self) -> bool:
        """Whether anybody holds it off now."""
        if self._holds:
            self._expire(monotonic_ns())
            if self._holds:
                return True
        if self._word is None and outward.listener is self._word_of:
            return False
        return self._shared() is not None

    def holds(self) -> list[Hold]:
        """Return who holds it off and why, oldest first."""
        if self._holds:
            self._expire(monotonic_ns())
        found = list(self._holds.values())
        shared = self._shared()
        if shared is not None:
            off, since, until = shared
            found.append(Hold(PROGRAM, self._reason(off >> 1), since, until))
        return sorted(found, key=lambda one: one.since_ns)

    def look(self) -> bool:
        """Notice what has ended or what another process did, and tell it outward; returns whether it is off."""
        off = self.is_off
        if off != self._seen_off:
            found = self.holds()
            reason, source = (found[0].reason, found[0].source) if found else ("its time is over", "")
            self._tell(was_off=self._seen_off, reason=reason, source=source)
        return off

    def times(self) -> dict[str, object]:
        """Return reason, source, since and until (wall seconds; None: open) of what holds it off; for views.

        ``by`` is ``people``, ``program`` or, while it is on, empty.
        """
        found = self.holds()
        if not found:
            return {"reason": "", "source": "", "since": None, "until": None, "by": ""}
        untils = [one.until_ns for one in found]
        return {
            "reason": "; ".join(dict.fromkeys(one.reason for one in found)),
            "source": ", ".join(dict.fromkeys(one.source for one in found)),
            "since": _wall(found[0].since_ns),
            "until": _wall(max(untils)) if all(untils) else None,
            "by": "people" if any(one.source == OPERATOR for one in found) else "program",
        }

    # -- the word that all processes share: (generation * 2 + off, since, until), and the reason in words of its own

    def _shared(self) -> tuple[int, int, int] | None:
        word = self._shared_word()
        if word is None:
            return None
        state, since, until, _ = word.read()
        now = monotonic_ns()
        # What began later than now is from before the machine started.
        return (state, since, until) if state & 1 and since <= now and (not until or now < until) else None

    def _shared_word(self) -> StateWord | None:
        listener = outward.listener
        if listener is self._word_of:
            return self._word
        self._word = None
        if self.scope != "host" or listener is None:
            self._word_of = listener
            return None
        store: StateStore | None = outward.tell("store")
        if store is not None:
            self._words = []
            try:
                self._word = store.word(f"{self.kind}:{self.name}")
            except RoadworthyError:
                self._word = None  # no word is free: it holds in this process
            except Exception as error:  # noqa: BLE001 - it holds in this process until the next look
                # Seen: a signal handler came while the program was importing what the store imports.
                outward.tell("failed", error, {"component": self.kind, "operation": "shared word"})
                return None
            self._word_of = listener
        return self._word

    def _share(self, reason: str, since: int, until: int) -> bool:
        word = self._shared_word()
        if word is None:
            return False
        generation = 0

        def off(state: int, before: int, _until: int) -> tuple[int, int, int]:
            nonlocal generation
            generation = ((state >> 1) + 1) & _GENERATIONS
            return generation << 1 | 1, before if state & 1 and before <= since else since, until

        if word.update(off) is None:
            return False  # somebody else is at it: at least this process is off
        self._write_reason(generation, reason)
        return True

    def _unshare(self) -> bool:
        word = self._shared_word()
        if word is None or self._shared() is None:
            return False
        return word.update(lambda state, since, until: (state & ~1, since, until)) is not None

    def _write_reason(self, generation: int, reason: str) -> None:
        data = reason.encode("utf-8", "replace")[:LONGEST_REASON]
        for number, word in enumerate(self._reason_words()):
            part = data[number * _PART : (number + 1) * _PART].ljust(_PART, b"\0")
            halves = (generation, _number(part[:_HALF]), _number(part[_HALF:]))
            word.update(lambda _a, _b, _c, halves=halves: halves)  # type: ignore[misc]  # a loop's own values

    def _reason_words(self) -> list[StateWord]:
        """Return the words for the reason, made when one is first written or read; none when none is free."""
        if not self._words:
            store: StateStore | None = outward.tell("store")
            name = f"{self.kind}:{self.name}"
            try:
                self._words = [] if store is None else [store.word(f"{name}#{n}") for n in range(_MOST_PARTS)]
            except Exception:  # noqa: BLE001 - as above; what is not known of a reason is shown as unknown
                return []
        return self._words

    def _reason(self, generation: int) -> str:
        data = b""
        for word in self._reason_words():
            of, first, second, _ = word.read()
            if of != generation:
                return "unknown"  # it is being written, or its writer died
            data += _bytes(first) + _bytes(second)
        return data.rstrip(b"\0").decode("utf-8", "replace") or "unknown"

    # -- telling

    def _expire(self, now: int) -> None:
        for source, held in list(self._holds.items()):
            if held.over(now) and self._holds.get(source) is held:
                self._holds.pop(source, None)

    def _tell(self, *, was_off: bool, reason: str, source: str) -> None:
        off = self._seen_off = self.is_off
        if was_off != off:
            words = ("off", "on") if self.kind == "feature" else ("degraded", "normal")
            before, after = words if not off else words[::-1]
            fields: dict[str, object] = {"source": source}
            if off and (until := self.times()["until"]) is not None:
                fields["until"] = until
            outward.tell("changed", self.kind, self.name, before, after, reason, fields)
        outward.tell("declared")


def check_name(what: str, value: Any) -> str:  # noqa: ANN401 - whatever the program gives
    """Return ``value`` if it is a name (text of 1 to 64 printable characters); else raises BadArgument."""
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not value.isprintable():  # noqa: PLR2004 - a label's length
        raise arguments.BadArgument(what, str(value)[:80], "a name of 1 to 64 printable characters")
    return value


def text_of(value: object) -> str:
    """Return anything as text on one line; its type's name when its own ``__str__`` fails."""
    try:
        return " ".join(str(value).split())
    except Exception:  # noqa: BLE001 - its own affair
        return f"<{type(value).__name__}>"


def _wall(stamp_ns: int) -> float:
    return wall() - (monotonic_ns() - stamp_ns) / NS


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _bytes(number: int) -> bytes:
    return number.to_bytes(_HALF, "little", signed=True)
