"""From values of the program's to text that may be written: without secrets, on one line, bounded, as JSON or plain.

What was the same before is looked up. What is remembered is forgotten when a new secret value becomes known, since it
may hold that.
"""

from __future__ import annotations

from roadworthy import _known
from roadworthy.log.redact import REDACTED, one_line, redact, secret_key

try:
    from _json import encode_basestring as _quote
except ImportError:  # an interpreter without the part of json that is C
    from json.encoder import encode_basestring as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

quote: Callable[[str], str] = _quote
"""Return a text as a JSON string, with its quotes."""

LONGEST = 16_384
"""Characters of one value that are kept; an entry's message may have 65 536."""

LONGEST_KEY = 128
LONGEST_STACK = 60_000
DEEPEST = 6
MOST = 128
"""Items of one nested value."""

_SHORT = 200
_KEPT = 2048
_PLAIN_BELOW = 10**12
"""Numbers with fewer digits than a card's need no look."""

PLAIN, SECRET, SESSION, CONTEXT, EVENT_TYPE, SPECIAL = range(6)
_KINDS = {
    "session_id": SESSION,
    "correlation_id": CONTEXT,
    "trace_id": CONTEXT,
    "span_id": CONTEXT,
    "event_type": EVENT_TYPE,
    "exc_info": SPECIAL,
    "stack_info": SPECIAL,
    "stacklevel": SPECIAL,
    "extra": SPECIAL,
}
_OURS = frozenset({"@timestamp", "severity", "logger", "message", "service", "environment", "pid"})

_strings: dict[str, tuple[str, str]] = {}
_keys: dict[str, tuple[str, int, str]] = {}
messages: dict[str, tuple[str, str]] = {}
_marks: dict[str, str] = {}
_seen: tuple[str, ...] = _known.values
sessions_plain = False
"""Whether session identifiers are shown as they are: for programs whose sessions need more than that to be entered."""


def forget_if_stale() -> None:
    """Forget what was remembered when a secret value has become known since."""
    global _seen  # noqa: PLW0603 - one memory a process
    if _known.values is not _seen:
        _seen = _known.values
        for memory in (_strings, _keys, messages, _marks):
            memory.clear()


def clean(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` redacted, on one line, and cut."""
    made = one_line(redact(text))
    return made if len(made) <= longest else made[:longest] + "…"


def as_text(value: object) -> str:
    """Return anything as text; its type's name when its own ``__str__`` fails."""
    if type(value) is str:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever it raises is the program's affair
        return f"<{type(value).__name__}>"


def string(value: str) -> tuple[str, str]:
    """Return a text as JSON and plain, both clean."""
    if value in _strings:
        return _strings[value]
    plain = redact(value)
    if not plain.isprintable():
        plain = one_line(plain)
    if len(plain) > LONGEST:
        plain = plain[:LONGEST] + "…"
    found = quote(plain), plain
    if len(value) <= _SHORT:
        if len(_strings) >= _KEPT:
            _strings.clear()
        _strings[value] = found
    return found


def key(name: str) -> tuple[str, int, str]:
    """Return how a field's key stands in JSON, with comma and colon; what kind of field it is; and the key, clean."""
    found = _keys.get(name)
    if found is None:
        text = as_text(name)
        plain = clean(text[: LONGEST_KEY * 2], LONGEST_KEY)
        if plain in _OURS:
            plain = f"field_{plain}"
        kind = _KINDS.get(plain, SECRET if secret_key(text) else PLAIN)
        found = f",{quote(plain)}:", kind, plain
        if len(text) <= LONGEST_KEY:
            if len(_keys) >= _KEPT:
                _keys.clear()
            _keys[name] = found
    return found


def value(given: object) -> tuple[str, str]:  # noqa: PLR0911 - one for each type
    """Return a field's value as JSON and as plain text, both clean. Never raises for a value of whatever type."""
    kind = type(given)
    if kind is str:
        return string(given)  # type: ignore[arg-type]  # it is one
    if given is None or kind is bool:
        text = "null" if given is None else "true" if given else "false"
        return text, text
    if kind is int:
        if -_PLAIN_BELOW < given < _PLAIN_BELOW:  # type: ignore[operator]  # it is one
            text = str(given)
            return text, text
        return _long(given)
    if kind is float:
        text = repr(given)
        return (f'"{text}"' if text in {"nan", "inf", "-inf"} else text), text
    try:
        if isinstance(given, (dict, list, tuple, set, frozenset)):
            made = nested(given, 0)
            return made, made
    except RecursionError:
        return '"…"', "…"
    except Exception:  # noqa: BLE001 - a container of the program's that fails or changes while it is read
        return string(f"<{kind.__name__}>")
    return string(as_text(given)[: LONGEST * 4])


def nested(given: Any, depth: int) -> str:  # noqa: ANN401 - any value
    """Return a nested value as JSON: what stands under a secret's name is left out, at any depth."""
    if isinstance(given, dict):
        if depth >= DEEPEST:
            return '"{…}"'
        parts = []
        for name, one in list(given.items())[:MOST]:
            text = as_text(name)
            shown = REDACTED if secret_key(text) else None
            if text == "session_id":
                shown = session_mark(as_text(one))
            body = quote(shown) if shown is not None else nested(one, depth + 1)
            parts.append(f"{quote(clean(text[: LONGEST_KEY * 2], LONGEST_KEY))}:{body}")
        return "{" + ",".join(parts) + "}"
    if isinstance(given, (list, tuple, set, frozenset)):
        if depth >= DEEPEST:
            return '"[…]"'
        return "[" + ",".join([nested(one, depth + 1) for one in list(given)[:MOST]]) + "]"
    return value(given)[0]


def session_mark(identifier: str) -> str:
    """Return what stands in the logs for a session: the same for the same session, and of no use to enter it.

    ``configure(sessions="plain")`` shows the identifier itself.
    """
    if sessions_plain:
        return clean(identifier, LONGEST_KEY)
    found = _marks.get(identifier)
    if found is None:
        import hashlib

        digest = hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=6, person=b"rw-session").hexdigest()
        found = f"s-{digest}"
        if len(_marks) >= _KEPT:
            _marks.clear()
        _marks[identifier] = found
    return found


def message(text: str) -> tuple[str, str]:
    """Return an entry's message as it stands in JSON, with ``event_type`` when it is a name, and plain."""
    plain = clean(text, 65_536)
    made = f',"message":{quote(plain)}'
    if plain.isascii() and plain.replace(".", "_").isidentifier() and len(plain) <= LONGEST_KEY:
        made = f'{made},"event_type":{quote(plain)}'
    found = made, plain
    if len(text) <= _SHORT:
        if len(messages) >= _KEPT:
            messages.clear()
        messages[text] = found
    return found


def error_fields(error: BaseException) -> dict[str, str]:
    """Return an exception as fields: its type, its message, its stack with all its causes, each line for itself."""
    try:
        import traceback

        stack = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-64))
    except Exception:  # noqa: BLE001 - an exception that cannot be shown is shown by its name
        stack = f"{type(error).__name__} (its traceback could not be formatted)"
    module = getattr(type(error), "__module__", "")
    name = type(error).__qualname__
    return {
        "error.type": clean(name if module in {"builtins", "__main__"} else f"{module}.{name}", 256),
        "error.message": clean(as_text(error)[: LONGEST * 4]),
        "error.stack": stack_text(stack),
    }


def stack_text(stack: str) -> str:
    """Return a traceback of several lines: redacted as a whole, then each line without what forges another one."""
    if len(stack) > LONGEST_STACK:  # what is left out ends with a line: half a line could be the value without its key
        stack = stack[-LONGEST_STACK:].partition("\n")[2]
    lines = redact(stack).rstrip().split("\n")
    return "\n".join([one_line(line) for line in lines])[-LONGEST:]


def _long(number: object) -> tuple[str, str]:
    try:
        text = str(number)
    except ValueError:  # more digits than the interpreter wants to turn into text
        text = "a number of very many digits"
    shown = clean(text)
    return (text if shown == text and text.lstrip("-").isdigit() else quote(shown)), shown
