"""The identifier that ties together everything recorded for one request or job; follows tasks by itself."""

from __future__ import annotations

from contextvars import ContextVar, Token

_LONGEST = 64
_current: ContextVar[str] = ContextVar("roadworthy_correlation", default="")


def current() -> str:
    """Return the correlation identifier of this context, empty when there is none."""
    return _current.get()


def bind(identifier: str) -> Token[str]:
    """Set this context's correlation identifier (64 characters at most); hand the result to :func:`unbind`."""
    from roadworthy.log.redact import one_line

    return _current.set(one_line(identifier[:_LONGEST]))


def unbind(token: Token[str]) -> None:
    """Bring back what was there before :func:`bind`; does nothing where that was another context."""
    try:
        _current.reset(token)
    except ValueError:
        return
