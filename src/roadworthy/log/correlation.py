"""The identifiers that tie together everything recorded for one request or job; they follow tasks by themselves.

Four of them: correlation, session, trace and span. They are one frozen value in one context variable, so that a block
that binds some of them gives back all of them at its end, and a log line reads them in one step. The correlation
identifier is the trace's where there is one, else random (CONFLICTS C-16). Threads get them where
:mod:`roadworthy.log.threads` is installed; requests bring them in by :mod:`roadworthy.log.headers`.
"""

from __future__ import annotations

import os
from contextvars import ContextVar, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_LONGEST = 64
FIELDS = ("correlation_id", "session_id", "trace_id", "span_id")
"""What the identifiers are called in a log entry."""


class Bound:
    """The identifiers of one context; empty where one is not known. Never changed once it is made."""

    __slots__ = ("correlation", "flags", "session", "shown", "span", "trace")

    def __init__(
        self, correlation: str = "", session: str = "", trace: str = "", span: str = "", flags: str = "00"
    ) -> None:
        self.correlation = correlation
        self.session = session
        self.trace = trace
        self.span = span
        self.flags = flags
        self.shown: str | None = None  # how it stands in a log line, once it was in one

    def fields(self) -> dict[str, str]:
        """Return the identifiers that are known, by the names they have in a log entry."""
        values = (self.correlation, self.session, self.trace, self.span)
        return {name: value for name, value in zip(FIELDS, values, strict=True) if value}


PROCESS = "process-"
"""What the identifier of entries outside of any context begins with."""

NOTHING = Bound()
_bound: ContextVar[Bound] = ContextVar("roadworthy_bound", default=NOTHING)
bound = _bound.get
"""Return the identifiers of this context: what a block or a request has bound, else :data:`NOTHING`."""

_elsewhere: list[Callable[[], Bound | None]] = []
_process: list[Bound] = []


def current() -> str:
    """Return the correlation identifier of this context, empty when there is none."""
    return _bound.get().correlation


def known() -> Bound:
    """Return what is bound, else the identifiers of this context's request, else :data:`NOTHING`."""
    here = _bound.get()
    if here.correlation or not _elsewhere:
        return here
    return _elsewhere[0]() or here


def found() -> Bound:
    """Return what an entry that is written here carries: what is bound, else the request's own, else the process's.

    Every entry has a correlation identifier that way; those outside of any context share that of their process.
    """
    here = _bound.get()
    if here.correlation:
        return here
    for ask in _elsewhere:
        other = ask()
        if other is not None:
            return other if not here.session else Bound(other.correlation, here.session, other.trace, other.span)
    if not _process:
        _process.append(Bound(PROCESS + os.urandom(6).hex()))
    own = _process[0]
    return own if not here.session else Bound(own.correlation, here.session)


def ask(function: Callable[[], Bound | None]) -> None:
    """Have ``function`` asked for the identifiers where none are bound: the request's that is being answered."""
    _elsewhere[:] = [function]


def bind(identifier: str) -> Token[Bound]:
    """Set this context's correlation identifier (64 characters at most); hand the result to :func:`unbind`."""
    here = _bound.get()
    return _bound.set(Bound(clean(identifier), here.session, here.trace, here.span, here.flags))


def bind_session(identifier: str) -> Token[Bound]:
    """Set this context's session identifier; hand the result to :func:`unbind`.

    It stands in log entries as :func:`roadworthy.log.text.session_mark` shows it: a session's identifier may be all
    that its owner needs to be let in.
    """
    here = _bound.get()
    return _bound.set(Bound(here.correlation, str(identifier), here.trace, here.span, here.flags))


def bind_all(made: Bound) -> Token[Bound]:
    """Set all identifiers of this context; hand the result to :func:`unbind`."""
    return _bound.set(made)


def unbind(token: Token[Bound]) -> None:
    """Bring back what was there before; does nothing where that was another context, or when it was done before."""
    try:
        _bound.reset(token)
    except (ValueError, RuntimeError):
        return


def clean(identifier: object) -> str:
    """Return an identifier as it is kept: at most 64 characters, redacted, on one line."""
    from roadworthy.log.redact import one_line, redact

    return one_line(redact(str(identifier)[:_LONGEST]))


def new() -> str:
    """Return a random identifier of 32 hexadecimal digits, which is also a valid trace identifier."""
    return os.urandom(16).hex()


class CorrelationContext:
    """A block whose entries share a correlation identifier: ``with CorrelationContext() as corr_id:``, also ``async``.

    Without an identifier it is the trace's, else a random one. What is not given stays what it is around the block, and
    all of it is what it was when the block ends. One object serves one block at a time.
    """

    __slots__ = ("_made", "_token")

    def __init__(
        self, correlation_id: str = "", *, session_id: str = "", trace_id: str = "", span_id: str = ""
    ) -> None:
        here = _bound.get()
        trace = clean(trace_id) if trace_id else here.trace
        span = clean(span_id) if span_id else here.span
        correlation = clean(correlation_id) if correlation_id else clean(trace_id) if trace_id else new()
        self._made = Bound(correlation, str(session_id) if session_id else here.session, trace, span, here.flags)
        self._token: Token[Bound] | None = None

    def __enter__(self) -> str:
        self._token = _bound.set(self._made)
        return self._made.correlation

    def __exit__(self, *raised: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            unbind(token)

    async def __aenter__(self) -> str:
        return self.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        self.__exit__()


class carried:  # noqa: N801 - it is called like a function
    """A function together with the identifiers of the context that made this: it runs under them wherever it runs."""

    __slots__ = ("_bound", "_function")

    def __init__(self, function: Callable[..., object], here: Bound | None = None) -> None:
        self._function = function
        self._bound = _bound.get() if here is None else here

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the function under those identifiers."""
        token = _bound.set(self._bound)
        try:
            return self._function(*args, **kwargs)
        finally:
            unbind(token)

    def __get__(self, instance: object, _owner: type | None = None) -> Self:
        return self


def _after_fork() -> None:
    _process.clear()


os.register_at_fork(after_in_child=_after_fork)
