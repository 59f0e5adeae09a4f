"""One line, whatever was in it: what moves a cursor or forges a line is written out."""

from __future__ import annotations

_CONTROL = (
    *range(9), *range(0x0A, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROL}  # noqa: PLR2004 - two digits
_ESCAPES |= {0x0A: "\\n", 0x0D: "\\r"}


def one_line(text: str) -> str:
    r"""Return ``text`` on one line, without what moves a cursor or forges a line: a line feed becomes ``\n``."""
    if text.isprintable():
        return text
    text = text.translate(_ESCAPES)
    if text.isprintable():
        return text
    return "".join([f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text])
