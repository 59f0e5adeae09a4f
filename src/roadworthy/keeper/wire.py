"""JSON without the ``json`` package: its regular expressions cost a megabyte that the keeper does not have to spend.

The interpreter's own scanner reads; writing is a dozen lines. The agent's side uses ``json`` as usual.
"""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii, make_scanner
except ImportError:  # another interpreter than CPython: correct first, small second
    make_scanner = None  # type: ignore[assignment,misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]


class _Plain:
    """What the scanner asks of its context: nothing special."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """Return the value that ``text`` holds; raises ``ValueError`` when it is not JSON."""
    if make_scanner is None:
        import json

        return json.loads(text)
    try:
        value, _end = make_scanner(_Plain)(text.strip(), 0)  # type: ignore[arg-type]
    except StopIteration:
        raise ValueError("not JSON") from None
    return value


def dumps(value: object) -> str:  # noqa: PLR0911 - one return a kind of value
    """Return ``value`` as JSON on one line; raises ``TypeError`` for what JSON has no form for."""
    if make_scanner is None:
        import json

        return json.dumps(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(str(k))}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")
