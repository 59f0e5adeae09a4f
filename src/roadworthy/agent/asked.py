"""What people ask for, read and checked before anything is done, and what they are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from roadworthy.errors import NotFound, Temporary, UsageError
from roadworthy.log.redact import redact
from roadworthy.watch.words import span

LONGEST_NAME: Final = 128
LONGEST_REASON: Final = 200
LONGEST: Final = 30 * 24 * 3600.0
"""Seconds that something may be held for."""


class TooSoon(Temporary):
    """The same was done a moment ago; ``retry_after`` seconds are left."""

    def __init__(self, what: str, *, retry_after: float, why: str) -> None:
        super().__init__(what, why=why, hint=f"Ask again in {span(retry_after)}.")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an act: ``outcome`` is recovered, failed, begun (a restart), held or released.

    ``took`` is in seconds, ``processes`` says what each process answered, ``audited`` whether the trail has it.
    """

    ok: bool
    act: str
    target: str
    outcome: str
    detail: str
    at: float
    took: float = 0.0
    escalated: bool = False
    until: float | None = None
    processes: tuple[Mapping[str, Any], ...] = ()
    audited: bool = True


def name_of(asked: Mapping[str, Any]) -> str:
    """Return the name that is asked for; raises :class:`UsageError` for what is none."""
    name = str(asked.get("name", ""))
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"The name cannot be {name[:80]!r}.", hint=f"It is 1 to {LONGEST_NAME} printable characters.")
    return name


def line(text: str) -> str:
    """Return a text as a reason: one line, not too long."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()[:LONGEST_REASON]


def reason_of(asked: Mapping[str, Any]) -> str:
    """Return why it is asked for, without secrets; raises :class:`UsageError` for what is not one short line."""
    reason = str(asked.get("reason") or "").strip()
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise UsageError(
            f"The parameter 'reason' cannot be {reason[:80]!r}.",
            hint=f"It is one line of at most {LONGEST_REASON} characters.",
        )
    return redact(reason)


def seconds_of(asked: Mapping[str, Any]) -> float | None:
    """Return for how long, None for no time; raises :class:`UsageError` for what is no positive, finite number."""
    given = asked.get("for")
    if given is None:
        return None
    if not isinstance(given, int | float) or not 0 < given <= LONGEST:
        raise UsageError(
            f"The parameter 'for' cannot be {given!r}.",
            hint=f"It is a number of seconds, more than 0, at most {LONGEST:.0f}.",
        )
    return float(given)


def unknown(kind: str, name: str, known: Sequence[str]) -> NotFound:
    """Return the refusal of a name that is not there, with those that are."""
    plural = {"policy": "policies"}.get(kind, f"{kind}s")
    hint = f"Known {plural}: {', '.join(known[:20])}." if known else f"The program has told of no {plural} yet."
    return NotFound(f"There is no {kind} {name[:80]!r}.", hint=hint)
