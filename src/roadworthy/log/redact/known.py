"""Known values: taken out of every text exactly, also as they look quoted, escaped, in base64 or in hexadecimal.

They are the values of Secrets, and what the environment holds under secret keys or as the password of an address. A
single short word ("postgres") is not learnt from the environment: it would be found in harmless text.
"""

from __future__ import annotations

from roadworthy import _known
from roadworthy.log.redact.keys import secret_key
from roadworthy.log.redact.shapes import REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MANY = 96
"""Forms beyond which a text is first looked at by the groups of four characters in it: a cost that does not grow."""

LONGEST_ENCODED = 4096
"""Characters of a value whose encoded forms are looked for; a longer one is looked for as it is."""

LONGEST_FILE = 65_536
MOST_LEARNT = 128
_WORD = 12
_GROUP = 4

_forms: tuple[str, ...] = ()
_groups: frozenset[tuple[str, ...]] = frozenset()
_made_for = -1


def without_known(text: str) -> str:
    """Return ``text`` without any known value in any of its forms."""
    if _made_for != _known.version:
        _make_forms()
    if len(_forms) > MANY and _groups.isdisjoint(zip(text, text[1:], text[2:], text[3:], strict=False)):
        return text
    for form in _forms:
        if form in text:
            text = text.replace(form, REDACTED)
    return text


def learn(environ: Mapping[str, str]) -> None:
    """Have the values under secret keys, and the passwords of addresses, taken out of all texts from now on."""
    learnt = 0
    for key, value in list(environ.items()):
        for found in _secrets_of(key, value):
            _known.add(found)
            learnt += 1
        if learnt >= MOST_LEARNT:
            return


def learn_file(path: str) -> None:
    """Learn from a file of assignments (``.env``); one that is not there or cannot be read is passed over."""
    from roadworthy.config import dotenv, regular

    try:
        text = regular.read(path, LONGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return
    pairs: dict[str, str] = {}
    for line in dotenv.scan(text.removeprefix("\ufeff")):
        if line.wrong:  # another reader may understand it: what stands behind each = of it is taken for a value
            for part in line.raw.splitlines():
                name, _, value = part.strip().removeprefix("export ").partition("=")
                learn({name.strip(): value.strip(" \t\"'")})
        elif line.name:
            pairs[line.name] = line.value
    learn(pairs)


def _secrets_of(key: str, value: str) -> Iterable[str]:
    """Return what is secret in a variable's value, without what would be found in harmless text."""
    found = []
    if "://" in value and "@" in value:
        word = value.partition("://")[2].rpartition("@")[0].partition(":")[2]
        found = [word, _unquoted(word)] if word and " " not in word else []
    elif secret_key(key) and not value.startswith(("/", "./", "~/", "http://", "https://")):
        found = [value]
    return [one for one in found if _tells(one)]


def _tells(value: str) -> bool:
    """Return whether a value is not a mere word or number that texts have anyway."""
    bare = value.strip()
    if len(bare) < _WORD and (
        bare.isdigit() or (bare.isalpha() and (bare.islower() or bare.isupper() or bare.istitle()))
    ):
        return False
    return len(bare) >= _known.SHORTEST


def _make_forms() -> None:
    """Make the forms that are looked for, the longest first; replaced whole, so that a reader needs no lock."""
    global _forms, _groups, _made_for  # noqa: PLW0603 - one set a process
    now = _known.version
    forms: dict[str, None] = {}
    for value in _known.values:
        forms[value] = None
        if len(value) <= LONGEST_ENCODED:
            forms |= dict.fromkeys(encodings(value))
    _forms = tuple(sorted(forms, key=len, reverse=True))
    _groups = frozenset([tuple(form[:_GROUP]) for form in _forms])
    _made_for = now


def encodings(value: str) -> list[str]:
    """Return how ``value`` looks escaped (JSON, repr), quoted for an address, in base64 at each offset, and in hex.

    Of base64 it is the part that the value alone determines, whatever stands before and after it.
    """
    import binascii

    raw = value.encode("utf-8", "replace")
    for_json = _json(value)
    found = [for_json, _json(value, ascii_only=False), _json(for_json), repr(value)[1:-1], repr(raw)[2:-1]]
    found += [_quoted(raw, b""), _quoted(raw, b"/"), _quoted(raw, b" ").replace(" ", "+")]
    found += [raw.hex(), raw.hex().upper()]
    if any(line in value for line in "\r\n"):
        found.append(value.replace("\r", "").replace("\n", "\\n"))
    for offset in range(3):
        encoded = binascii.b2a_base64(b"\0" * offset + raw, newline=False).decode().rstrip("=")
        # Bits that are shared with what stands before or after belong to characters that are not the value's alone.
        first = (0, 2, 3)[offset]
        last = len(encoded) if (offset + len(raw)) % 3 == 0 else len(encoded) - 1
        core = encoded[first:last]
        found += [core, core.replace("+", "-").replace("/", "_")]
    return [form for form in dict.fromkeys(found) if form != value and len(form) >= _known.SHORTEST]


# What json and urllib.parse do, which cost milliseconds to import: this may run while a program starts.

_UNQUOTED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_JSON = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b"}
_LAST_ASCII = "~"


def _json(value: str, *, ascii_only: bool = True) -> str:
    return "".join([_JSON.get(char) or _unicode(char, ascii_only=ascii_only) for char in value])


def _unicode(char: str, *, ascii_only: bool) -> str:
    if " " <= char <= _LAST_ASCII or (char > _LAST_ASCII and not ascii_only):
        return char
    raw = char.encode("utf-16-be", "surrogatepass")
    return "".join([f"\\u{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, len(raw), 2)])


def _quoted(raw: bytes, safe: bytes) -> str:
    return "".join([chr(code) if code in _UNQUOTED or code in safe else f"%{code:02X}" for code in raw])


def _unquoted(text: str) -> str:
    head, *rest = text.encode("utf-8", "replace").split(b"%")
    raw = bytearray(head)
    for part in rest:
        try:
            raw.append(int(part[:2].decode("ascii"), 16))
            raw += part[2:]
        except ValueError:
            raw += b"%" + part
    return raw.decode("utf-8", "replace")
