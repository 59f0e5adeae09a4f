"""Secret values that this process has read: exact texts that redaction takes out wherever they stand.

Filled by :class:`roadworthy.types.Secret`, from the environment and, in the agent, by the program's processes; read by
:mod:`roadworthy.log.redact`. Held in memory only, bounded in number and length. Nothing here imports anything.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Memo(Protocol):
        """What remembers redacted texts, and can forget them."""

        def clear(self) -> None: ...


REDACTED = "[redacted]"

SHORTEST = 6
"""Characters below which a value is not looked for: it would be found in harmless text."""

LONGEST = 16_384
"""Characters of a value that are looked for; of a longer one (a certificate with its key) the beginning."""

MOST = 256
"""Values that are looked for at most; the oldest give way."""

values: tuple[str, ...] = ()
"""The values, the longest first, so that one that holds another is taken out whole."""

version = 0
"""Grows with each change of :data:`values`."""

made: tuple[str, ...] = ()
"""Those of the values that were made in this process, by a Secret: what others cannot have read elsewhere."""

memos: list[Memo] = []
"""What remembers texts that came through unchanged; all are cleared when one more value becomes known."""

listeners: list[Callable[[], object]] = []
"""Called, with nothing, when a Secret of this process was made; must be short and not raise."""

_in_order: tuple[str, ...] = ()


def add(value: str) -> bool:
    """Have ``value`` taken out of everything that is redacted from now on; return False where it is passed over.

    That is one that is too short, one that is known, and a part of the marks that we put in the place of a secret.
    """
    global values, version, _in_order  # noqa: PLW0603 - one set a process; replaced whole, so that a reader needs no lock
    value = value[:LONGEST].strip().strip("[]")
    if len(value) < SHORTEST or value in _in_order or value in REDACTED:
        return False
    _in_order = (*_in_order[-MOST + 1 :], value)
    values = tuple(sorted(_in_order, key=len, reverse=True))
    version += 1
    for memo in tuple(memos):
        memo.clear()
    return True


def add_made(value: str) -> None:
    """Add the value of a Secret of this process, and tell those who listen."""
    global made  # noqa: PLW0603 - as above
    if add(value):
        made = (*made[-MOST + 1 :], value[:LONGEST])
        for listener in tuple(listeners):
            listener()


def forget() -> None:
    """Look for none of them any more: for tests."""
    global values, made, version, _in_order  # noqa: PLW0603 - as above
    values = made = _in_order = ()
    version += 1
    for memo in tuple(memos):
        memo.clear()
