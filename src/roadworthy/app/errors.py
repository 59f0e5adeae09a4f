"""Errors: counted by type and operation, told apart by a fingerprint, remembered with their traceback.

The fingerprint is made of the exception's chain of types, the program's own frames (module and function, no line
numbers, nothing of the standard library or of site-packages) and the message with everything variable taken out. It
survives edits above the place and differs between two causes. What depends only on code is remembered, so that a
thousand equal errors cost little.
"""

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start
from roadworthy.log import correlation, security
from roadworthy.log.redact import Pattern, redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, TracebackType

COUNTER = "errors"
MARK = "__roadworthy_recorded__"
ERROR_LEVEL = 40
MOST_FRAMES = 32
DEEPEST = 2000
"""Frames of a traceback, its last ones, that are looked at: a recursion may be a million deep."""

MOST_CHAIN = 8
LONGEST_MESSAGE = 512
LONGEST_TRACEBACK = 2400
"""Characters of a traceback that are kept: its end, where the cause is."""

_KEPT = 512
_SAME_NS = 1_000_000_000
_frame_names: dict[CodeType, str] = {}
_digests: dict[tuple[str | type[BaseException], ...], str] = {}
_messages: dict[str, str] = {}
_every = 1
"""One of how many errors of a fingerprint is kept in the flight recorder."""

_held: dict[str, int] = {}
"""How many errors of a fingerprint were counted since one of it was kept, while sampling is on."""

_VARIABLE = Pattern(
    r"""
    [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}
  | '(?:[^'\\\n]|\\.)*' | "(?:[^"\\\n]|\\.)*"
  | (?:[A-Za-z]:)?(?:[\\/][^\s:;,'"()<>\[\]]+){1,64}
  | [A-Za-z][A-Za-z0-9+.\-]*://\S+
  | \b0[xX][0-9a-fA-F]+\b
  | \b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b
  | [-+]?\b[0-9]+(?:[.,:][0-9]+)*(?:[eE][-+]?[0-9]+)?
    """,
    verbose=True,
)


def record(
    error: BaseException | type[BaseException] | str,
    message: str = "",
    *,
    operation: str | None = None,
    handled: bool = True,
    source: str = "",
    context: Mapping[str, object] | None = None,
) -> str:
    """Count an error and put it into the flight recorder. Returns its fingerprint, empty when nothing is recorded.

    Never raises.
    ``error`` is an exception, a type or a type's name; ``operation`` defaults to the one around the call; ``handled``
    is False for what nobody caught. The same exception recorded again on its way up is not counted twice.
    """
    try:
        arena = start.ensure()
        if arena is None:
            return ""
        if operation is None:
            from roadworthy.app.operation import current_name

            operation = current_name()
        operation = contexts.label_value(operation)
        again = isinstance(error, BaseException) and _seen(error, handled=handled)
        if again and handled:
            return fingerprint(error, message)
        kind = type_name(error)
        text = _shown(message or (contexts.text_of(error) if isinstance(error, BaseException) else ""))
        found = fingerprint(error, message)
        security.raised(error, found, f"{kind}: {text}" if text else kind, handled=handled, operation=operation)
        if not again:
            arena.counter(
                COUNTER, (("operation", operation), ("type", kind)), help="errors by type and operation"
            ).add()
        fields = {"fingerprint": found, "type": kind, "operation": operation, "handled": "true" if handled else "false"}
        fields.update(_correlated())
        if again:
            fields["again"] = "true"
        if not _keep(found, fields, handled=handled):
            return found
        fields.update((f"context.{key}", value) for key, value in contexts.plain(context or {}).items())
        if isinstance(error, BaseException) and error.__traceback__ is not None:
            fields["traceback"] = traceback_text(error)
        arena.event("error", ERROR_LEVEL if handled else 50, source or operation or kind, text or kind, fields)
        return found
    except Exception as broken:
        if guard.failed("error", broken):
            raise
        return ""


def _correlated() -> dict[str, str]:
    """Return the correlation identifier of this context or of its request as a field, nothing when there is none."""
    found = correlation.known().correlation
    return {"correlation_id": found} if found else {}


def sample(rate: object) -> None:
    """Keep only this share of the errors of each fingerprint, the first always; all are counted."""
    global _every  # noqa: PLW0603 - one setting per process
    share = float(rate) if isinstance(rate, (int, float)) else 1.0
    _every = 1 if share >= 1 else max(2, round(1 / share)) if share > 0 else 1 << 62
    if _every == 1:
        _held.clear()


def _keep(found: str, fields: dict[str, str], *, handled: bool) -> bool:
    """Return whether this error is kept in the flight recorder; its ``weight`` says for how many it stands."""
    if _every == 1 or not handled:
        return True
    if found not in _held:
        if len(_held) < _KEPT:
            _held[found] = 0
        return True
    held = _held[found] + 1
    kept = held >= _every
    _held[found] = 0 if kept else held
    if kept and held > 1:
        fields["weight"] = str(held)
    return kept


def type_name(error: BaseException | type[BaseException] | str) -> str:
    """Return the name an error's type is counted under: builtin ones bare, others with their module."""
    if isinstance(error, str):
        return contexts.label_value(error)
    kind = error if isinstance(error, type) else type(error)
    module = getattr(kind, "__module__", "")
    name = getattr(kind, "__qualname__", str(kind))
    return contexts.label_value(name if module in {"builtins", "__main__", ""} else f"{module}.{name}")


def fingerprint(error: BaseException | type[BaseException] | str, message: str = "") -> str:
    """Return 16 hex digits that are the same for errors of the same cause; see the module's text."""
    if not isinstance(error, BaseException):
        return _digest((type_name(error), normalise(message)))
    parts: list[str | type[BaseException]] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and len(seen) < MOST_CHAIN and id(link) not in seen:
        seen.add(id(link))
        parts.append(type(link))
        parts.append(normalise(message if link is error and message else contexts.text_of(link)))
        parts.extend(_own_frames(link.__traceback__))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _digest(tuple(parts))


def normalise(message: str) -> str:
    """Return a message with numbers, identifiers, quoted text and paths replaced by ``*``; at most 200 characters."""
    message = message[:LONGEST_MESSAGE]
    found = _messages.get(message)
    if found is None:
        found = _VARIABLE.sub("*", message)[:200]
        if len(_messages) >= _KEPT:
            _messages.clear()
        _messages[message] = found
    return found


def traceback_text(error: BaseException) -> str:
    """Return an exception's traceback, chain included: redacted, and of a long one the end."""
    try:
        import traceback

        end = last_frames(error.__traceback__, DEEPEST)
        text = "".join(traceback.format_exception(type(error), error, end, limit=-MOST_FRAMES)).rstrip()
    except Exception:
        return f"{type(error).__name__} (its traceback could not be formatted)"
    text = redact(text[-LONGEST_TRACEBACK * 4 :])
    return text if len(text) <= LONGEST_TRACEBACK else "…" + text[-LONGEST_TRACEBACK:]


def _shown(message: str) -> str:
    return redact(message[: LONGEST_MESSAGE * 4])[:LONGEST_MESSAGE]


def _seen(error: BaseException, *, handled: bool) -> bool:
    """Return True when this very exception was recorded a moment ago; it carries a mark in its ``__dict__``.

    An identity would not do: the next exception of a loop mostly has the same one. A program that raises one and the
    same object again and again has it counted once a second. What nobody caught was counted where it was first seen,
    however long ago.
    """
    now = monotonic_ns()
    before = error.__dict__.get(MARK)
    error.__dict__[MARK] = now
    return isinstance(before, int) and (not handled or now - before < _SAME_NS)


def last_frames(trace: TracebackType | None, most: int) -> TracebackType | None:
    """Return the traceback from the last ``most`` frames on; what lies before them is only walked past."""
    ahead = trace
    for _ in range(most):
        if ahead is None:
            return trace
        ahead = ahead.tb_next
    while ahead is not None and trace is not None:
        ahead, trace = ahead.tb_next, trace.tb_next
    return trace


def _own_frames(trace: TracebackType | None) -> list[str]:
    names: list[str] = []
    trace = last_frames(trace, DEEPEST)
    while trace is not None:
        frame = trace.tb_frame
        name = _frame_names.get(frame.f_code)
        if name is None:
            name = _name_of(frame.f_code, str(frame.f_globals.get("__name__", "")))
            if len(_frame_names) >= _KEPT:
                _frame_names.clear()
            _frame_names[frame.f_code] = name
        if name and (not names or names[-1] != name):  # recursion of any depth is one frame
            names.append(name)
        trace = trace.tb_next
    return names[-MOST_FRAMES:]


def _name_of(code: CodeType, module: str) -> str:
    """Return module and function of a frame of the program's own, empty for others'."""
    file = code.co_filename
    if file.startswith(_NOT_OURS) or "site-packages" in file or "dist-packages" in file:
        return ""
    return f"{module}.{code.co_qualname}"


def _places() -> tuple[str, ...]:
    import os

    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return (os.path.dirname(os.__file__) + os.sep, ours + os.sep, "<frozen")


def _digest(parts: tuple[str | type[BaseException], ...]) -> str:
    found = _digests.get(parts)
    if found is None:
        import hashlib

        text = "\x1f".join(part if isinstance(part, str) else type_name(part) for part in parts)
        found = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
        if len(_digests) >= _KEPT:
            _digests.clear()
        _digests[parts] = found
    return found


_NOT_OURS = _places()
