"""Keys of calls: an MD5 hash of plain values that tells apart whatever is not the same value of the same type.

MD5 is what is asked for (CCH-01) and short. It is no protection: who chooses both of two queries can make them collide,
and gets the one's answer for the other. Who must not: ``key=`` with something else.
"""

from __future__ import annotations

DEEPEST = 32


class Unkeyable(TypeError):
    """A value has no text of its own that is the same next time; the message is what it is."""


def key_of(value: object) -> str:
    """Return 32 hexadecimal digits, the same for equal plain values of the same types, in every process.

    Plain are None, True and False, numbers, text, bytes, and tuples, lists, dicts and sets of such, and dates, times,
    Decimal, UUID and Path by their text. Raises Unkeyable for anything else.
    """
    from hashlib import md5

    return md5(_text(value, 0), usedforsecurity=False).hexdigest()


def _text(value: object, depth: int) -> bytes:  # noqa: PLR0911 - one line for each kind
    if depth > DEEPEST:
        raise Unkeyable("values that are nested too deeply")
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is float or kind is complex:
        return _tagged(kind, repr(value).encode())
    if kind is str:
        return _tagged(kind, value.encode("utf-8", "surrogatepass"))  # type: ignore[attr-defined]  # it is a str
    if kind is bytes:
        return _tagged(kind, value)  # type: ignore[arg-type]  # it is bytes
    if kind is tuple or kind is list:
        return _tagged(kind, b"".join([_text(one, depth + 1) for one in value]))  # type: ignore[attr-defined]  # as above
    if kind is dict:
        pairs = [_text(key, depth + 1) + _text(one, depth + 1) for key, one in value.items()]  # type: ignore[attr-defined]
        return _tagged(kind, b"".join(sorted(pairs)))
    if kind is set or kind is frozenset:
        return _tagged(kind, b"".join(sorted([_text(one, depth + 1) for one in value])))  # type: ignore[attr-defined]
    if (kind.__module__.partition(".")[0], kind.__name__) in _BY_TEXT:
        return _tagged(kind, repr(value).encode("utf-8", "surrogatepass"))
    raise Unkeyable(f"a {kind.__qualname__}")


_BY_TEXT = frozenset(
    {
        ("datetime", "date"), ("datetime", "datetime"), ("datetime", "time"), ("datetime", "timedelta"),
        ("decimal", "Decimal"), ("uuid", "UUID"), ("pathlib", "PosixPath"), ("pathlib", "PurePosixPath"),
    }
)  # fmt: skip


def _tagged(kind: type, text: bytes) -> bytes:
    return b"%b:%d:%b" % (kind.__name__.encode(), len(text), text)
