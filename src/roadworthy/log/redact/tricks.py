r"""Text that hides a key from a program, not from a reader: ``pass\u200bword``, wide letters, colours inside it.

Such text is looked at once more in a plain form; only where a secret is found in that, the plain form is what is kept.
"""

from __future__ import annotations

from roadworthy.log.redact.pattern import Pattern

_COLOUR = Pattern("\x1b\\[[0-9;:?]*[A-Za-z]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?")
_WRITTEN = Pattern(
    r"\\+(?:x1b|u001b)\[[0-9;:?]*[A-Za-z]"
    r"|\\+(?:x(?:0[0-8b-f]|1[0-9a-f]|7f|[89][0-9a-f]|ad)"
    r"|u(?:00(?:0[0-8b-f]|1[0-9a-f]|7f|[89][0-9a-f]|ad)|03[0-6][0-9a-f]|061c|180e|200[b-f]|202[a-e]|206[0-9a-f]|feff))",
    ignorecase=True,
)
_HIDDEN = (
    *range(9), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, *range(0x300, 0x370), 0x61C, 0x180E,
    *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF,
)  # fmt: skip
_SPACES = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
_LOOKALIKES = dict(zip("аеорсухкіѕԁԝіАЕОРСКТВМНХ", "aeopcyxkisdwiAEOPCKTBMHX", strict=True))
_QUOTES = dict(zip("“”„‟«»‘’‚", '""""""\'\'\'', strict=True))  # noqa: RUF001 - as above
_PLAIN: dict[int, int | str | None] = dict.fromkeys(_HIDDEN)
_PLAIN |= dict.fromkeys(_SPACES, " ")
_PLAIN |= {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= {0x2236: ":", 0xA789: ":", 0xFE55: ":", 0xFE66: "=", 0x2261: "="}
_PLAIN |= {ord(char): plain for char, plain in _QUOTES.items()}
_FOLD = _PLAIN | {ord(char): plain for char, plain in _LOOKALIKES.items()}
_ANY = Pattern("[" + "".join([f"\\U{code:08x}" for code in _FOLD]) + "]")
_ANY_PLAIN = Pattern("[" + "".join([f"\\U{code:08x}" for code in _PLAIN]) + "]")
_MIXED = Pattern(f"[A-Za-z][{''.join(_LOOKALIKES)}]|[{''.join(_LOOKALIKES)}][A-Za-z]")


def plain_form(text: str) -> str:
    """Return ``text`` as a reader takes it: without colours and what is not seen, wide and look-alike letters plain."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if _ANY.search(text) is None:
        return text
    if _MIXED.search(text) is not None:  # letters of two scripts in one word
        return text.translate(_FOLD)
    return text.translate(_PLAIN) if _ANY_PLAIN.search(text) is not None else text


def unescaped(text: str) -> str:
    r"""Return a text as it was before JSON or repr wrote its line feeds and colours out (``\n``, ``\x1b[31m``)."""
    plain = text.replace("\\n", "\n").replace("\\t", "\t")
    return _WRITTEN.sub("", plain) if "\\x" in plain or "\\u" in plain else plain


def escaped(text: str, like: str) -> str:
    """Return what :func:`unescaped` made of ``like`` with its line feeds written out again, if it was on one line."""
    return text if "\n" in like or "\t" in like else text.replace("\n", "\\n").replace("\t", "\\t")
