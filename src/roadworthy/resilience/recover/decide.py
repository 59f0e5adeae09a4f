"""Which action an error calls for: one pure function of what is known, and the reason in words."""

from __future__ import annotations

from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.context import RecoveryAction

MOST_TRIES = 3
"""Failures in a row of one operation that are worth another try."""

MOST_REPEATS = 10
"""Equal errors without a success or a new turn between, after which only a new process may help."""

TRANSIENT = frozenset({classify.CONNECTION, classify.TIMEOUT, classify.RATE_LIMIT, classify.LOCKED})
"""What often is gone a moment later."""

OWN_STATE = frozenset({classify.MEMORY, classify.DESCRIPTORS, classify.BUG, classify.UNKNOWN})
"""What a new process may cure: the fault lies in this one's state. A dead backend stays dead for a new process, too."""

ESSENTIAL = frozenset({classify.MEMORY, classify.DISK_FULL, classify.DESCRIPTORS, classify.IMPORT})
"""What a critical component cannot live with for long."""


class Situation:
    """What is known when an error comes in."""

    __slots__ = ("critical", "degradable", "fallback", "kind", "repaired", "repeats", "restarts_left", "tries")

    def __init__(
        self,
        kind: str,
        *,
        tries: int = 1,
        repeats: int = 1,
        critical: bool = False,
        repaired: bool = False,
        fallback: bool = False,
        degradable: bool = False,
        restarts_left: int = 0,
    ) -> None:
        self.kind = kind
        self.tries = tries
        self.repeats = repeats
        self.critical = critical
        self.repaired = repaired
        self.fallback = fallback
        self.degradable = degradable
        self.restarts_left = restarts_left


def decide(situation: Situation) -> tuple[RecoveryAction, str]:  # noqa: PLR0911 - a table in order
    """Return the action and why.

    In this order: the program's end is obeyed; what repeats and lies in our own state asks for a new process; what is
    transient, or was repaired, is tried again a few times; then a fallback; then doing without; then going on. A
    critical component that can neither be repaired nor replaced ends the program.
    """
    kind, tries = situation.kind, situation.tries
    if kind == classify.ENDING:
        return RecoveryAction.SHUTDOWN, "the program was told to end"
    stuck = situation.repeats >= MOST_REPEATS and kind in OWN_STATE
    if stuck and situation.restarts_left > 0:
        return RecoveryAction.RESTART, f"the same error came {situation.repeats} times in a row"
    if stuck and situation.critical:
        return RecoveryAction.SHUTDOWN, "the same error came again and again, and new processes did not help"
    if tries <= MOST_TRIES and (kind in TRANSIENT or situation.repaired):
        why = "its cause was repaired" if situation.repaired and kind not in TRANSIENT else "it may be gone in a moment"
        return RecoveryAction.RETRY, f"{why} (try {tries} of {MOST_TRIES})"
    if situation.fallback:
        return RecoveryAction.FALLBACK, "the service has a fallback"
    if not situation.critical and (situation.degradable or kind in ESSENTIAL or kind in TRANSIENT):
        return RecoveryAction.DEGRADE, "the program can do without this component for a while"
    if situation.critical and kind in ESSENTIAL:
        if kind in OWN_STATE and situation.restarts_left > 0:
            return RecoveryAction.RESTART, "a critical component ran out of what it needs"
        return RecoveryAction.SHUTDOWN, "a critical component cannot work, and nothing stands in for it"
    return RecoveryAction.CONTINUE, "it was recorded; nothing is known that would help"
