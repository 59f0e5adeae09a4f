"""Names, label values and context as they are kept: text, short, on one line, without secrets."""

from __future__ import annotations

from roadworthy import _known
from roadworthy.log.redact import REDACTED, one_line, redact, secret_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LONGEST = 64
"""Characters of a label value; a context value may have twice as many."""

LONGEST_LINE = 1800
"""Characters of an event's text."""

MOST = 16
"""Pairs of one context, and labels of one series."""

US = "\x1f"
_KEPT = 1024
_values: dict[str, str] = {}
_keys: dict[str, bool] = {}
_lines: dict[str, str] = {}
_pairs: dict[tuple[str, str], str] = {}
_known.memos += [_values, _lines, _pairs]  # what was harmless is not, once a value in it is known as a secret
_SHORT = 10**18


def label_value(value: object) -> str:
    """Return a label's value as it is kept: at most 64 characters, redacted, on one line."""
    if type(value) is str:
        found = _values.get(value)
        if found is not None:
            return found
        version = _known.version
        clean = one_line(redact(value[: LONGEST * 4]))[:LONGEST]
        if len(value) <= LONGEST:
            _remember(_values, value, clean, version)
        return clean
    if value is None or type(value) in {int, float, bool}:
        return text_of(value)[:LONGEST]
    return one_line(redact(text_of(value)[: LONGEST * 4]))[:LONGEST]


def labels(given: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return labels as the arena takes them: sorted, bounded in number and length, secrets replaced."""
    pairs = []
    for key in sorted(given, key=str)[:MOST]:
        name = key if type(key) is str and len(key) <= LONGEST else str(key)[:LONGEST]
        pairs.append((one_line(name), REDACTED if _secret(name) else label_value(given[key])))
    return tuple(pairs)


def plain(context: Mapping[str, object]) -> dict[str, str]:
    """Return a context as fields of an event: at most 16, each at most 128 characters, secrets replaced."""
    fields = {}
    for key, value in list(context.items())[:MOST]:
        name = key if key in _keys else one_line(str(key)[:LONGEST])
        if _secret(name):
            fields[name] = REDACTED
        elif type(value) is str and len(value) <= LONGEST:
            fields[name] = label_value(value)  # remembered
        elif type(value) is int or type(value) is float or type(value) is bool:
            fields[name] = text_of(value)[: LONGEST * 2]
        else:
            fields[name] = one_line(redact(text_of(value)[: LONGEST * 4]))[: LONGEST * 2]
    return fields


def encode(context: Mapping[str, object]) -> bytes:
    """Return a context as the in-flight table takes it: ``key=value`` joined by unit separators, UTF-8."""
    if not context:
        return b""
    if len(context) > MOST:
        context = dict(list(context.items())[:MOST])
    parts = []
    for key, value in context.items():
        kind = type(value)
        if kind is str and (key, value) in _pairs:
            parts.append(_pairs[key, value])  # type: ignore[index]  # a str, as the line above has it
        elif kind is int and key in _keys and not _keys[key]:
            parts.append(f"{key}={value}" if -_SHORT < value < _SHORT else f"{key}={text_of(value)[: LONGEST * 2]}")  # type: ignore[operator]
        else:
            version = _known.version
            parts += [f"{name}={text}" for name, text in plain({key: value}).items()]
            if kind is str and len(key) <= LONGEST and len(value) <= LONGEST:  # type: ignore[arg-type]
                _remember(_pairs, (key, value), parts[-1], version)
    return US.join(parts).encode("utf-8", "replace")


def _secret(key: str) -> bool:
    found = _keys.get(key)
    if found is None:
        found = secret_key(key)
        _remember(_keys, key, found, _known.version)
    return found


def _remember(memory: dict[Any, Any], key: object, value: object, version: int) -> None:
    """Keep what was made while the known secrets were those of ``version``: of others it may hold one by now."""
    if len(memory) >= _KEPT:
        memory.clear()
    memory[key] = value
    if version != _known.version:
        memory.clear()


def text_of(value: object) -> str:
    """Return anything as text; its type's name when its own ``__str__`` fails."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"  # its own __str__ failed, which is the program's affair


def line(value: object) -> str:
    """Return an event's text as it is kept: at most 1800 characters, redacted, on one line."""
    if type(value) is str and value in _lines:
        return _lines[value]
    version = _known.version
    made = label_text(value, LONGEST_LINE)
    if type(value) is str and len(value) <= LONGEST * 2:
        _remember(_lines, value, made, version)
    return made


def label_text(value: object, most: int) -> str:
    """Return anything as text of at most ``most`` characters: redacted, on one line."""
    return one_line(redact(text_of(value)[: most * 4]))[:most]
