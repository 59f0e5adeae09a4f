"""What a caller knows about one call that the policy does not: may it be made twice, and who takes what is dropped.

A transport sets terms around the policy's call; retry and hedge look at them only when they are about to make the call
once more. Without terms a call may be repeated: that is what the owner of the policy said by giving it a retry.
"""

from __future__ import annotations

from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Self


class Terms:
    """Around one call: ``with Terms(repeatable=False): policy.call(...)``; for coroutines, too.

    ``dropped`` is handed each result that the caller will not get, because another attempt follows or another hedge
    won. It must be quick and must not raise.
    """

    __slots__ = ("_token", "dropped", "repeatable")

    def __init__(self, *, repeatable: bool, dropped: Callable[[object], object] | None = None) -> None:
        self.repeatable = repeatable
        self.dropped = dropped
        self._token: Token[Terms | None] | None = None

    def __enter__(self) -> Self:
        self._token = _terms.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _terms.reset(self._token)


_terms: ContextVar[Terms | None] = ContextVar("roadworthy_terms", default=None)

current = _terms.get
"""Return the terms of the call under way, or None."""


def repeatable() -> bool:
    """Return whether the call under way may be made once more."""
    terms = current()
    return terms is None or terms.repeatable


def dropped(result: object) -> None:
    """Hand over a result that the caller will not get."""
    terms = current()
    if terms is not None and terms.dropped is not None:
        terms.dropped(result)
