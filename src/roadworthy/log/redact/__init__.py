"""Take secrets and personal data out of text before it is kept: by key, by shape, and where the value is known.

Harmless text costs a few substring tests. What is found is replaced by ``[redacted]``, an e-mail address by
``[email]``, a card number by ``[card]``. Doing it twice changes nothing. What looks like a word of prose
("compass: north", ``max_tokens=512``) stays: keys are taken apart into their words, and a word must match as a whole.

``keys`` tells which keys are secret, ``keyed`` finds them in text, ``shapes`` knows tokens by what they look like,
``known`` the values that this process has read, ``tricks`` what hides a key from a program, ``line`` keeps one line.
"""

from __future__ import annotations

import os

from roadworthy import _known
from roadworthy.log.redact.keyed import without_keyed, without_said, without_tools
from roadworthy.log.redact.keys import SECRET_PARTS, secret_key
from roadworthy.log.redact.known import learn, learn_file, without_known
from roadworthy.log.redact.line import one_line
from roadworthy.log.redact.pattern import Pattern
from roadworthy.log.redact.shapes import (
    CARD,
    CARD_GROUPS,
    CARD_RUN,
    CLASSES,
    DIGITS,
    DOTTED,
    EMAIL,
    MARK,
    ODD,
    REDACTED,
    RUN,
    may_hold_token,
    without_addresses,
    without_cards,
    without_private_keys,
    without_schemes,
    without_signatures,
    without_tokens,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CARD",
    "EMAIL",
    "LONGEST",
    "REDACTED",
    "SECRET_PARTS",
    "Pattern",
    "learn",
    "learn_file",
    "one_line",
    "redact",
    "redact_argv",
    "redact_value",
    "secret_key",
]

LONGEST = 65_536
"""Characters of one text that are looked at; what is longer is cut there, so that nothing unseen passes."""

_LONGEST_WORD = 4096
_MOST_KEPT = 512
_LONGEST_KEPT = 160
_harmless: set[str] = set()
"""Short texts that came through unchanged: programs say the same again and again."""

_known.memos.append(_harmless)
_environment: dict[object, object] = getattr(os.environ, "_data", {})
_learnt = -1
"""How many variables the environment had when it was learnt; a program that loads its ``.env`` has more of them."""


def redact(text: str) -> str:  # noqa: C901, PLR0912 - one pass on the hot path: each call saved counts
    """Return ``text`` without the secrets and personal data that can be told by key, by shape or by value.

    Never raises for a string, however long or strange; looks at the first 64 KiB and drops the rest.
    """
    if text in _harmless:
        return text
    if len(_environment) != _learnt:
        _learn()
    version = _known.version
    given = text
    if len(text) > LONGEST:
        text = _cut(text)
    if _known.values:
        text = without_known(text)
    low = text.lower()
    raw = low.encode() if low.isascii() else low.encode("utf-8", "replace")
    classes = raw.translate(CLASSES).decode()  # a text: to look for one in bytes takes ten times as long
    if ODD in classes or "\\" in text:
        text, low = _without_hidden(text, low, odd=ODD in classes)
    marked = MARK in classes
    if marked:
        if (
            "pass" in low
            or "key" in low
            or "token" in low
            or "auth" in low
            or "secret" in low
            or "cookie" in low
            or "cred" in low
            or "sess" in low
            or "mail" in low
            or "pwd" in low
            or "jwt" in low
            or "pin" in low
            or "cv" in low
            or "ssn" in low
            or "iban" in low
            or "otp" in low
            or "phrase" in low
            or "mnemonic" in low
            or "identified" in low
        ):
            text = without_keyed(text, low)
    elif "pass" in low or "token" in low or "secret" in low or "api" in low or "auth" in low:
        text = without_keyed(text, low) if "--" in low else without_said(text, low)
    if RUN in classes and (may_hold_token(text, low) or DOTTED in classes):
        text = without_tokens(text)
    if "earer " in low or "asic " in low:
        text = without_schemes(text)
    if "-" in low:
        if "-----" in low and "private key" in low:
            text = without_private_keys(text)
        if " -" in low and (" -p" in low or " -u" in low or " --u" in low or " -a" in low):
            text = without_tools(text)
    if marked:
        if "@" in low:
            text = without_addresses(text)
        if "sig" in low and "=" in low:
            text = without_signatures(text)
    digits = raw.translate(DIGITS).decode()
    if CARD_RUN in digits or CARD_GROUPS in digits:
        text = without_cards(text)
    if text is given and len(text) <= _LONGEST_KEPT and version == _known.version:
        if len(_harmless) >= _MOST_KEPT:
            _harmless.clear()
        _harmless.add(text)
    return text


def _without_hidden(text: str, low: str, *, odd: bool) -> tuple[str, str]:
    """Return ``text`` without what is found in it once it is as a reader takes it, and that in lower case."""
    from roadworthy.log.redact.tricks import escaped, plain_form, unescaped  # its tables take as long as the rest of us

    if odd and (plain := plain_form(text)) != text and (found := redact(plain)) != plain:
        text, low = found, found.lower()
    if "\\" in text and (lines := unescaped(text)) != text and (found := redact(lines)) != lines:
        text = escaped(found, text)
        low = text.lower()
    return text, low


def redact_value(key: str, value: object) -> str:
    """Return ``value`` as text, bytes as what they spell, or ``[redacted]`` when ``key`` names a secret."""
    if secret_key(key):
        return REDACTED
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", "replace")
    return redact(value if type(value) is str else str(value))


def redact_argv(arguments: Iterable[str]) -> str:
    """Return a command line for people, without the values of options such as ``--password X`` and ``--token=X``."""
    shown = []
    hide = False
    for argument in arguments:
        bare = argument.lstrip("-")
        if hide and not argument.startswith("-"):
            shown.append(REDACTED)
            hide = False
            continue
        hide = argument.startswith("-") and "=" not in argument and secret_key(bare)
        shown.append(redact(argument))
    return one_line(redact(" ".join(shown)))


def _learn() -> None:
    """Learn what the environment holds, at the first text and whenever it has grown or shrunk; never raises."""
    global _learnt  # noqa: PLW0603 - one environment a process
    _learnt = len(_environment)
    try:
        learn(os.environ)
    except (RuntimeError, KeyError):
        _learnt = -1  # another thread was changing it: the next text tries again


def _cut(text: str) -> str:
    """Return the beginning of a long text, cut between two words where there is a space, so that no word is halved."""
    space = text.rfind(" ", LONGEST - _LONGEST_WORD, LONGEST)
    return text[: space if space > 0 else LONGEST] + "…"
