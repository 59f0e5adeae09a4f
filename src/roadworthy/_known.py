"""Secret values that this process has read: exact texts that redaction takes out wherever they stand.

Filled by :class:`roadworthy.types.Secret`; read by :mod:`roadworthy.log.redact`. Nothing here imports anything.
"""

from __future__ import annotations

REDACTED = "[redacted]"

SHORTEST = 6
"""Characters below which a value is not looked for: it would be found in harmless text."""

MOST = 256
"""Values that are looked for at most; the oldest give way."""

values: tuple[str, ...] = ()
"""The values, the longest first, so that one that holds another is taken out whole."""

_in_order: tuple[str, ...] = ()


def add(value: str) -> None:
    """Have ``value`` taken out of everything that is redacted from now on; one that is too short is passed over."""
    global values, _in_order  # noqa: PLW0603 - one set a process; replaced whole, so that a reader needs no lock
    if len(value.strip()) < SHORTEST or value in values:
        return
    _in_order = (*_in_order[-MOST + 1 :], value)
    values = tuple(sorted(_in_order, key=len, reverse=True))


def forget() -> None:
    """Look for none of them any more: for tests."""
    global values, _in_order  # noqa: PLW0603 - as above
    values = _in_order = ()
