"""Take secrets and personal data out of text before it is kept: by the key they stand under, and by their own shape.

Harmless text costs a few substring tests. What is found is replaced by ``[redacted]``, an e-mail address by
``[email]``, a card number by ``[card]``. Doing it twice changes nothing. What looks like a word of prose
("compass: north", ``max_tokens=512``) stays: keys are taken apart into their words, and a word must match as a whole.
"""

from __future__ import annotations

from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable

REDACTED = "[redacted]"
EMAIL = "[email]"
CARD = "[card]"
LONGEST = 65_536
"""Characters of one text that are looked at; what is longer is cut there, so that nothing unseen passes."""


_MOST_KNOWN = 512
_LONGEST_KNOWN = 160
_harmless: set[str] = set()
_keys: dict[str, bool] = {}
"""Short texts that came through unchanged, and keys: programs say the same again and again."""


class Pattern:
    """A regular expression, compiled, and ``re`` imported, when it is first needed: that costs milliseconds."""

    __slots__ = ("_dotall", "_ignorecase", "_text", "_verbose", "findall", "search", "sub")

    findall: Callable[[str], list[str]]
    search: Callable[..., re.Match[str] | None]
    sub: Callable[[str | Callable[[re.Match[str]], str], str], str]

    def __init__(self, text: str, *, verbose: bool = False, dotall: bool = False, ignorecase: bool = False) -> None:
        self._text = text
        self._verbose = verbose
        self._dotall = dotall
        self._ignorecase = ignorecase

    def __getattr__(self, name: str) -> object:
        import re

        flags = re.VERBOSE * self._verbose | re.DOTALL * self._dotall | re.IGNORECASE * self._ignorecase
        compiled = re.compile(self._text, flags)
        self.findall, self.search, self.sub = compiled.findall, compiled.search, compiled.sub
        return object.__getattribute__(self, name)


# -- keys

_SECRET_WORDS = frozenset(
    {
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "pass",
        "secret",
        "secrets",
        "token",
        "jwt",
        "apikey",
        "apikeys",
        "privatekey",
        "secretkey",
        "accesskey",
        "authkey",
        "authtoken",
        "accesstoken",
        "authorization",
        "authorisation",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "creds",
        "sessionid",
        "sessid",
        "phpsessid",
        "jsessionid",
        "csrftoken",
        "pin",
        "cvv",
        "cvc",
        "ssn",
        "iban",
        "email",
        "emails",
        "pgpassword",
        "mysqlpwd",
    }
)
_SECRET_PAIRS = frozenset(
    {
        ("api", "key"),
        ("api", "keys"),
        ("private", "key"),
        ("secret", "key"),
        ("access", "key"),
        ("auth", "key"),
        ("signing", "key"),
        ("encryption", "key"),
        ("master", "key"),
        ("service", "key"),
        ("ssh", "key"),
        ("session", "id"),
        ("session", "key"),
        ("access", "tokens"),
        ("refresh", "tokens"),
        ("auth", "tokens"),
        ("card", "number"),
        ("proxy", "auth"),
        ("basic", "auth"),
        ("e", "mail"),
    }
)
# What a key ends in when it speaks about a secret instead of holding one: token_count, password_reset_url, cookie_name.
_ABOUT = frozenset(
    {
        "age",
        "attempts",
        "bytes",
        "changed",
        "count",
        "enabled",
        "error",
        "errors",
        "exists",
        "expired",
        "expires",
        "expiry",
        "file",
        "format",
        "index",
        "kind",
        "len",
        "length",
        "limit",
        "max",
        "min",
        "missing",
        "name",
        "policy",
        "present",
        "rate",
        "required",
        "reset",
        "set",
        "size",
        "status",
        "strength",
        "total",
        "ttl",
        "type",
        "used",
        "valid",
        "version",
    }
)
SECRET_PARTS = (
    "pass", "pwd", "secret", "token", "jwt", "key", "auth", "cookie", "cred", "sess", "pin", "cv", "ssn", "iban",
    "mail", "cardnumber",
)  # fmt: skip
"""Every key that names a secret holds one of these, once all but its letters and digits is left out."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_SPLIT = Pattern(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_KEYED = Pattern(
    r"""
    (?<![A-Za-z0-9_])
    (?P<key>[A-Za-z][A-Za-z0-9_.\-]{1,63}|[A-Za-z]{2,20}[ ][A-Za-z]{2,20})
    (?P<sep>\\*["']?\]?\s{0,3}(?:[:=]|=>|:=)\s{0,3})
    (?P<value>
        [bBuUrR]?\\*"(?:[^"\\]|\\.)*\\*"?
      | [bBuUrR]?'(?:[^'\\]|\\.)*'?
      | \[redacted\] | \[email\] | \[card\]
      | \{[^{}]*\}? | \[[^\[\]]*\]? | \([^()]*\)?
      | (?:[A-Za-z]{3,12}[ ](?=[^\s"',;]*[0-9=]|\[redacted\]))?[^\s,;&"'<>(){}]+
    )
    """,
    verbose=True,
    dotall=True,
)
_WHOLE_LINE = Pattern(r"(?im)\b((?:set-)?cookie|(?:proxy-)?authori[sz]ation)(\s{0,3}[:=]\s{0,3})(?![\s\"'])[^\r\n\"']+")
_WHOLE_WORDS = ("cookie", "authori")

# -- shapes

_TOKENS = Pattern(
    r"""
    -----BEGIN[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----
    .*?
    (?:-----END[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----|\Z)
  | (?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_\-]{16,}
      | (?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{12,}
      | gh[pousr]_[A-Za-z0-9]{20,}
      | github_pat_[A-Za-z0-9_]{20,}
      | gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_\-]{16,}
      | (?:AKIA|ASIA)[A-Z0-9]{12,}
      | xox[a-z]-[A-Za-z0-9\-]{10,}
      | xapp-[A-Za-z0-9\-]{10,}
      | AIza[A-Za-z0-9_\-]{30,}
      | ya29\.[A-Za-z0-9_\-]{10,}
      | eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?
      | npm_[A-Za-z0-9]{30,}
      | pypi-[A-Za-z0-9_\-]{20,}
      | hf_[A-Za-z0-9]{20,}
      | SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}
      | dop_v1_[a-f0-9]{32,}
    )
    """,
    verbose=True,
    dotall=True,
)
_SCHEME = Pattern(
    r"\b(Bearer|Basic)([ ]+)(?=[^\s,;\"']*[0-9=]|[^\s,;\"']{20})(?!\[)[A-Za-z0-9._~+/=\-]{6,}", ignorecase=True
)
_URL = Pattern(r"(://)([^\s/?\#:@\"'<>]*):([^\s/?\#\"'<>]*)@")
_MAIL = Pattern(
    r"(?<![A-Za-z0-9._%+\-])(?!git@)[A-Za-z0-9._%+\-]{1,64}"
    r"@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9@])"
)
_CARDS = Pattern(r"(?<![0-9A-Za-z.\-])[2-6](?:[ \-]?[0-9]){12,18}(?![0-9A-Za-z])(?!\.[0-9])")
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_RUN = Pattern("[0-9]{13}")
_CARD_DIGITS = 13

_CONTROL = (
    *range(9), *range(0x0A, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROL}  # noqa: PLR2004 - two digits
_ESCAPES |= {0x0A: "\\n", 0x0D: "\\r"}


def redact(text: str) -> str:  # noqa: C901 - one pass on the hot path: each call saved counts
    """Return ``text`` without the secrets and personal data that can be told by their key or their shape.

    Never raises for a string, however long or strange; looks at the first 64 KiB and drops the rest.
    """
    if text in _harmless:
        return text
    given = text
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    low = text.lower()
    if (":" in low or "=" in low) and (
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
    ):
        text = _by_key(text, low)
    if ("_" in low or "-" in low or "." in low) and (
        "sk-" in low
        or "gh" in low
        or "eyj" in low
        or "k_" in low
        or "gl" in low
        or "xox" in low
        or "-----b" in low
        or "pypi-" in low
        or "ya29." in low
        or "sg." in low
        or "hub_" in low
        or "npm_" in low
        or "hf_" in low
        or "sec_" in low
        or "dop_" in low
        or "xapp-" in low
    ):
        text = _TOKENS.sub(REDACTED, text)
    if "AKIA" in text or "ASIA" in text or "AIza" in text:
        text = _TOKENS.sub(REDACTED, text)
    if "earer " in low or "asic " in low:
        text = _SCHEME.sub(_keep_scheme, text)
    if "@" in low:
        text = _MAIL.sub(EMAIL, _URL.sub(_keep_user, text))
    raw = low.encode("utf-8", "replace")
    if len(raw.translate(None, _NO_DIGITS)) >= _CARD_DIGITS and _RUN.search(
        raw.translate(None, b" -").decode("latin-1")
    ):
        text = _CARDS.sub(_card, text)
    if text is given and len(text) <= _LONGEST_KNOWN:
        if len(_harmless) >= _MOST_KNOWN:
            _harmless.clear()
        _harmless.add(text)
    return text


def redact_value(key: str, value: object) -> str:
    """Return ``value`` as text, or ``[redacted]`` when ``key`` names a secret."""
    if secret_key(key):
        return REDACTED
    return redact(value if type(value) is str else str(value))


def secret_key(key: str) -> bool:
    """Return True when ``key`` is a name that secrets are kept under: ``DB_PASSWORD``, ``apiKey``, ``x-auth-token``."""
    found = _keys.get(key)
    if found is None:
        found = _may_be_secret(key) and _is_secret(key)
        if len(key) <= _LONGEST_KNOWN:
            if len(_keys) >= _MOST_KNOWN:
                _keys.clear()
            _keys[key] = found
    return found


def _may_be_secret(key: str) -> bool:
    """Return False for most keys, without a regular expression: they hold no part of a secret word."""
    letters = "".join([char for char in key.lower() if char in _LETTERS])
    return any([part in letters for part in SECRET_PARTS])  # noqa: C419 - a list costs less than a generator


def _is_secret(key: str) -> bool:
    words = [word.lower() for word in _SPLIT.findall(key)]
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in _ABOUT:
        return False
    if len(words) > 1 and "".join(words) in _SECRET_WORDS:
        return True
    if not _SECRET_WORDS.isdisjoint(words):
        return words[-1] != "id" or ("session" in words or len(words) == 1)
    return any(pair in _SECRET_PAIRS for pair in pairwise(words))


def one_line(text: str) -> str:
    r"""Return ``text`` on one line, without what moves a cursor or forges a line: a line feed becomes ``\n``."""
    if text.isprintable():
        return text
    text = text.translate(_ESCAPES)
    if text.isprintable():
        return text
    return "".join([f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text])


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
    return one_line(" ".join(shown))


def _by_key(text: str, low: str) -> str:
    for word in _WHOLE_WORDS:
        if word in low:
            text = _WHOLE_LINE.sub(rf"\1\2{REDACTED}", text)
            break
    pieces: list[str] = []
    done = at = 0
    while (found := _KEYED.search(text, at)) is not None:
        if not secret_key(found["key"]):
            at = found.start("value")  # what looks like its value may be the next key: "A0= password: …"
            continue
        pieces += text[done : found.start()], _without_value(found)
        done = at = found.end()
    return "".join(pieces) + text[done:] if pieces else text


def _without_value(found: re.Match[str]) -> str:
    key, sep, value = found["key"], found["sep"], found["value"]
    if value[0] in "\"'" and len(value) > 1:
        quote = value[0]
        return f"{key}{sep}{quote}{REDACTED}{quote if value.endswith(quote) else ''}"
    if value.startswith("//"):  # a scheme such as "secret://name" is an address, not a value
        return found[0]
    return f"{key}{sep}{REDACTED}"


def _keep_scheme(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{REDACTED}"


def _keep_user(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}:{REDACTED}@" if found[3] else found[0]


def _card(found: re.Match[str]) -> str:
    digits = [int(char) for char in found[0] if char.isdigit()]
    doubled = sum(sum(divmod(digit * 2, 10)) for digit in digits[-2::-2])
    return CARD if (sum(digits[-1::-2]) + doubled) % 10 == 0 else found[0]
