"""What a policy's parts accept: each argument is judged when the part is made, and a refusal names field and value."""

from __future__ import annotations

from roadworthy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Kinds = type[Exception] | tuple[type[Exception], ...]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

LONGEST = 365 * 86_400.0
"""Seconds in a year: no duration here is longer, so that nanoseconds of it always fit into 63 bits."""


SHORTEST = 1e-9
"""Seconds: what must not be nothing is at least one tick of the clock."""

_SHOWN = 200
"""Characters of a refused value that a message repeats."""


class BadArgument(UsageError, ValueError):
    """An argument of a policy or of one of its parts is impossible; nothing was made or changed."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(f"{field} must be {wanted}, not {_shown(value)}", hint=f"change {field}")
        self.field = field
        self.value = value
        self._wanted = wanted

    def __reduce__(self) -> tuple[type[BadArgument], tuple[str, object, str]]:
        """Say how a copy, also in another process, is made: as this one was."""
        return type(self), (self.field, self.value, self._wanted)


def _shown(value: object) -> str:
    """Return what is wrong, in so many characters; whatever its ``repr`` does, the refusal is ours."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a number of thousands of digits, too, has none
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def number(field: str, value: object, *, least: float = 0.0, most: float = LONGEST, above: bool = False) -> float:
    """Return a real number from ``least`` to ``most`` (``above``: more than ``least``); raises BadArgument."""
    wanted = f"a number {'above' if above else 'from'} {least:g}{' and at most' if above else ' to'} {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadArgument(field, value, wanted)
    if not least <= value <= most or (above and value == least):  # not a number fails every comparison
        raise BadArgument(field, value, wanted)
    return float(value)


def whole(field: str, value: object, *, least: int = 1, most: int = 1 << 31) -> int:
    """Return a whole number from ``least`` to ``most``; raises BadArgument."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadArgument(field, value, f"a whole number from {least} to {most}")
    return value


def duration(field: str, value: object, *, above: bool = True) -> float:
    """Return seconds of a number of seconds or a text like "500ms", "10s", "5m", "1h"; raises BadArgument."""
    wanted = 'seconds, or a text like "500ms", "10s", "5m", "1h"'
    if isinstance(value, str):
        text = value.strip()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz").rstrip()
        unit = text[len(digits) :].strip()
        try:
            value_in_unit = float(digits)
        except ValueError:
            raise BadArgument(field, value, wanted) from None
        if unit not in _UNITS:
            raise BadArgument(field, value, wanted)
        seconds = value_in_unit * _UNITS[unit]
        if not (SHORTEST if above else 0) <= seconds <= LONGEST:
            raise BadArgument(field, value, wanted)
        return seconds
    seconds = number(field, value, least=0.0, above=above)
    if above and seconds < SHORTEST:
        raise BadArgument(field, value, f"a number from {SHORTEST:g} to {LONGEST:g}")
    return seconds


def flag(field: str, value: object) -> bool:
    """Return True or False; raises BadArgument for what is only as good as either."""
    if isinstance(value, bool):
        return value
    raise BadArgument(field, value, "True or False")


def choice(field: str, value: object, *known: str) -> str:
    """Return one of the known words; raises BadArgument."""
    if isinstance(value, str) and value in known:
        return value
    raise BadArgument(field, value, "one of " + ", ".join(repr(word) for word in known))


def function(field: str, value: object) -> Callable[..., object]:
    """Return something that can be called; raises BadArgument."""
    if callable(value):
        return value
    raise BadArgument(field, value, "something that can be called")


def kinds(field: str, value: object) -> tuple[type[Exception], ...]:
    """Return exception classes as a tuple; raises BadArgument for anything else, and for what no policy may cover.

    No policy covers what is no Exception: KeyboardInterrupt, SystemExit, GeneratorExit, cancellation.
    """
    given = value if isinstance(value, tuple) else (value,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise BadArgument(field, value, "an Exception class or a tuple of such")
    if not given:
        raise BadArgument(field, value, "an Exception class or a tuple of such")
    return given
