"""The form of the encrypted file: JSON with readable names and encrypted values, AES-256-GCM, one nonce an entry.

::

    {"roadworthy-secrets": 1, "cipher": "AES-256-GCM", "key": "<id>", "entries": {
       "API_KEY": {"changed": 1780000000, "nonce": "<base64>", "value": "<base64>",
                   "previous": {"changed": ..., "nonce": ..., "value": ...}},
       "TYPED_BY_HAND": "a plain value, encrypted as soon as it is read"}}

What is authenticated with each value is the format, the cipher, the key's id, the name, whether it is the current or
the previous one, and its time: a value that was moved to another name, or altered in any bit, is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roadworthy.config.secrets.failures import extra_missing
from roadworthy.config.secrets.store import check_name
from roadworthy.errors import ConfigurationError, Refused, UsageError

if TYPE_CHECKING:
    from roadworthy.config.secrets.key import Key

FORMAT = 1
CIPHER = "AES-256-GCM"
NONCE = 12


@dataclass(frozen=True, slots=True)
class Value:
    """One value in the clear; ``changed`` in whole wall seconds."""

    text: str = field(repr=False)
    changed: int
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there under one name: the current value and, until it is confirmed, the one before."""

    current: Value
    previous: Value | None = None


def seal(secrets: Mapping[str, Kept], key: Key) -> bytes:
    """Return the bytes of a file that holds these secrets, encrypted under ``key``, each with a nonce of its own."""
    cipher = _cipher(key)

    def closed(name: str, role: str, value: Value) -> dict[str, object]:
        nonce = os.urandom(NONCE)
        text = cipher.encrypt(nonce, value.text.encode(), _bound(key.id, name, role, value.changed))
        return {"changed": value.changed, "nonce": _base64(nonce), "value": _base64(text)}

    entries = {}
    for name, kept in sorted(secrets.items()):
        entry = closed(name, "current", kept.current)
        if kept.previous is not None:
            entry["previous"] = closed(name, "previous", kept.previous)
        entries[name] = entry
    document = {"roadworthy-secrets": FORMAT, "cipher": CIPHER, "key": key.id, "entries": entries}
    return (json.dumps(document, indent=1) + "\n").encode()


def unseal(data: bytes, keys: Callable[[str], Key], place: str, now: int) -> dict[str, Kept]:
    """Return the secrets in a file; ``keys`` returns the key of an id or raises.

    A plain value that somebody wrote there by hand comes back marked ``plain``. Raises ConfigurationError when it is no
    such file, Refused when a value was altered or moved.
    """
    document = _document(data, place)
    entries = document["entries"]
    closed = any(not isinstance(entry, str) for entry in entries.values())
    key = keys(document["key"]) if closed else None
    cipher = _cipher(key) if key is not None else None
    found = {}
    for name, entry in entries.items():
        _check_entry_name(name, place)
        if isinstance(entry, str):
            found[name] = Kept(Value(entry, now, plain=True))
            continue
        previous = entry.get("previous") if isinstance(entry, dict) else None
        found[name] = Kept(
            _opened(cipher, document["key"], name, "current", entry, place),
            None if previous is None else _opened(cipher, document["key"], name, "previous", previous, place),
        )
    return found


def key_of(data: bytes, place: str) -> str:
    """Return the id of the key that a file is encrypted under; raises as :func:`unseal`."""
    return str(_document(data, place)["key"])


def _document(data: bytes, place: str) -> dict[str, Any]:
    where = ""
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        document, where = None, f"It is no JSON: {error.msg} in line {error.lineno}, column {error.colno}."
    except UnicodeDecodeError:
        document, where = None, "It is not UTF-8 text."
    except RecursionError:
        document, where = None, "It is nested too deeply."
    if where:  # raised out here, so that the decoder's error, which holds the text, is not behind ours
        raise _wrong(place, where)
    if not isinstance(document, dict) or "roadworthy-secrets" not in document:
        raise _wrong(place, "It is no file of ours: the field roadworthy-secrets is missing.")
    if document["roadworthy-secrets"] != FORMAT or document.get("cipher", CIPHER) != CIPHER:
        raise _wrong(place, f"It is of another version; this one reads format {FORMAT} with {CIPHER}.")
    if not isinstance(document.get("entries"), dict):
        raise _wrong(place, "It has no entries.")
    document.setdefault("key", "")
    return document


def _opened(cipher: Any, key_id: str, name: str, role: str, entry: object, place: str) -> Value:  # noqa: ANN401 - loaded late
    from cryptography.exceptions import InvalidTag

    if not isinstance(entry, dict) or type(entry.get("changed")) is not int:
        raise _wrong(place, f"The entry {name} is neither text nor what we wrote.")
    nonce, text = _bytes(entry.get("nonce")), _bytes(entry.get("value"))
    if nonce is None or text is None or len(nonce) != NONCE:
        raise _wrong(place, f"The entry {name} is cut off or was altered.")
    try:
        clear = cipher.decrypt(nonce, text, _bound(key_id, name, role, entry["changed"]))
    except InvalidTag:
        clear = None
    if clear is None:
        raise Refused(
            f"the secret {name} in {place} was altered or moved",
            why="What stands there does not fit its name, its time and its key.",
            hint="Restore the file from its copy, or set the secret anew: roadworthy secrets set " + name,
        )
    return Value(clear.decode(), entry["changed"])


def _bound(key_id: str, name: str, role: str, changed: int) -> bytes:
    return json.dumps(["roadworthy-secrets", FORMAT, CIPHER, key_id, name, role, changed]).encode()


def _cipher(key: Key) -> Any:  # noqa: ANN401 - the module is loaded when it is needed
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise extra_missing("the encrypted secrets file", "cryptography", "secrets") from None
    return AESGCM(key.raw)


def _check_entry_name(name: str, place: str) -> None:
    try:
        check_name(name)
    except UsageError as error:
        raise _wrong(place, error.what + ".") from error


def _wrong(place: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{place} cannot be understood",
        why=why,
        hint="Put it right, or restore it from its copy; roadworthy secrets set makes a new one where there is none.",
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None
