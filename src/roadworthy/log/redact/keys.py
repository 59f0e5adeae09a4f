"""Keys that secrets stand under: told by their words, so that ``compass`` and ``max_tokens`` are none.

A key is taken apart into its words (``dbPassword``, ``DB_PASSWORD``, ``db-password``), and a word must match as a
whole. Some endings are enough by themselves (``dbpassword``). What speaks about a secret holds none:
``token_count``, ``cookie_name``, ``password_file``.
"""

from __future__ import annotations

from itertools import pairwise

_MOST_KEPT = 512
_LONGEST_KEPT = 160
_keys: dict[str, bool] = {}
"""Keys and whether they name a secret: programs have few, and use them again and again."""

_SECRET_WORDS = frozenset({
    "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pass", "passwort", "motdepasse",
    "secret", "secrets", "token", "jwt", "mnemonic", "otp", "totp",
    "apikey", "apikeys", "privatekey", "secretkey", "accesskey", "authkey", "authtoken", "accesstoken", "idtoken",
    "refreshtoken", "bottoken", "usertoken", "apitoken", "sessiontoken", "csrfmiddlewaretoken", "dapitoken",
    "authorization", "authorisation", "cookie", "cookies", "credential", "credentials", "creds",
    "sessionid", "sessid", "phpsessid", "jsessionid", "csrftoken", "pin", "cvv", "cvc", "ssn", "iban",
    "email", "emails", "pgpassword", "mysqlpwd", "accountkey", "sharedaccesskey", "sharedaccesssignature",
})  # fmt: skip
_SECRET_PAIRS = frozenset({
    ("api", "key"), ("api", "keys"), ("private", "key"), ("secret", "key"), ("access", "key"), ("auth", "key"),
    ("signing", "key"), ("encryption", "key"), ("master", "key"), ("service", "key"), ("ssh", "key"),
    ("account", "key"), ("storage", "key"), ("consumer", "key"), ("license", "key"), ("instrumentation", "key"),
    ("session", "id"), ("session", "key"), ("access", "signature"), ("seed", "phrase"), ("recovery", "phrase"),
    ("access", "tokens"), ("refresh", "tokens"), ("auth", "tokens"),
    ("card", "number"), ("proxy", "auth"), ("basic", "auth"), ("e", "mail"),
})  # fmt: skip
_SECRET_ENDINGS = ("password", "passwd", "passphrase", "apikey", "secretkey", "accesskey", "privatekey")
_ABOUT = frozenset({
    "age", "attempts", "bytes", "changed", "count", "enabled", "error", "errors", "exists", "expired", "expires",
    "expiry", "file", "format", "index", "kind", "len", "length", "limit", "max", "min", "missing", "name", "policy",
    "present", "rate", "required", "reset", "set", "size", "status", "strength", "total", "ttl", "type", "used",
    "valid", "version",
})  # fmt: skip
"""What a key ends in when it speaks about a secret instead of holding one: token_count, cookie_name."""

SECRET_PARTS = (
    "pass", "pwd", "secret", "token", "jwt", "key", "auth", "cookie", "cred", "sess", "pin", "cv", "ssn", "iban",
    "mail", "cardnumber", "otp", "mnemonic", "phrase", "accesssig",
)  # fmt: skip
"""Every key that names a secret holds one of these, once all but its letters and digits is left out."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def secret_key(key: str) -> bool:
    """Return True when ``key`` is a name that secrets are kept under: ``DB_PASSWORD``, ``apiKey``, ``x-auth-token``."""
    found = _keys.get(key)
    if found is None:
        found = _may_be_secret(key) and _is_secret(key)
        if len(key) <= _LONGEST_KEPT:
            if len(_keys) >= _MOST_KEPT:
                _keys.clear()
            _keys[key] = found
    return found


def _may_be_secret(key: str) -> bool:
    """Return False for most keys, without a regular expression: they hold no part of a secret word."""
    letters = "".join([char for char in key.lower() if char in _LETTERS])
    return any([part in letters for part in SECRET_PARTS])  # noqa: C419 - a list costs less than a generator


def _words(key: str) -> list[str]:
    """Return the words of a key in lower case: ``dbAPIKey2`` is db, api, key, 2. Done without ``re``."""
    words: list[str] = []
    before = ""
    for place, char in enumerate(key):
        kind = "1" if "0" <= char <= "9" else "a" if "a" <= char <= "z" else "A" if "A" <= char <= "Z" else ""
        follows = key[place + 1 : place + 2]
        goes_on = kind == before and not (kind == "A" and "a" <= follows <= "z")
        if kind and (goes_on or (kind == "a" and before == "A")):
            words[-1] += char
        elif kind:
            words.append(char)
        before = kind
    return [word.lower() for word in words]


def _is_secret(key: str) -> bool:
    words = _words(key)
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in _ABOUT:
        return False
    if len(words) > 1 and "".join(words) in _SECRET_WORDS:
        return True
    if not _SECRET_WORDS.isdisjoint(words):
        return words[-1] != "id" or ("session" in words or len(words) == 1)
    return words[-1].endswith(_SECRET_ENDINGS) or any(pair in _SECRET_PAIRS for pair in pairwise(words))
