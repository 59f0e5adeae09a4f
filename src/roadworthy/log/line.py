"""One entry as one line: JSON, or what people read. Pure but for the clock's text, which is remembered for a second.

The JSON line is put together by hand from pieces that are each JSON already: that costs half of what building a
dictionary and having it encoded does, and what was said before is looked up, redacted, as it will stand there.
The fields are those of LOG-04; an entry's own come last.
"""

from __future__ import annotations

from time import gmtime, strftime

from roadworthy import _known
from roadworthy._clock import NS
from roadworthy.log import correlation, text
from roadworthy.log.redact import REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from roadworthy.log.correlation import Bound

_MILLISECOND = 1_000_000
_PLAIN_BELOW = 10**12
NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_COLOURS = {10: "\x1b[2m", 20: "\x1b[32m", 30: "\x1b[33m", 40: "\x1b[31m", 50: "\x1b[1;31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
US = "\x1f"

_at = (-1, "")
_second = (-1, "")
_strings = text._strings  # noqa: SLF001 - the hot path looks up by itself
_keys = text._keys  # noqa: SLF001 - as above


class Head:
    """What all entries of one logger and level share."""

    __slots__ = ("json", "level", "name", "severity")

    def __init__(self, name: str, level: int, severity: str, static: str) -> None:
        self.name = text.clean(name, text.LONGEST_KEY)
        self.level = level
        self.severity = severity
        self.json = f'Z","severity":{text.quote(severity)},"logger":{text.quote(self.name)}{static}'


def static(service: str, environment: str, pid: int) -> str:
    """Return the part of a JSON line that is the same for a whole process."""
    shown = text.quote(text.clean(service, text.LONGEST_KEY)), text.quote(text.clean(environment, text.LONGEST_KEY))
    return f',"service":{shown[0]},"environment":{shown[1]},"pid":{pid}'


def stamp(now: int) -> str:
    """Return a time (nanoseconds since the epoch) as ISO 8601 in UTC with milliseconds, without the final ``Z``."""
    global _at, _second  # noqa: PLW0603 - replaced whole, so that threads need no lock
    millis = now // _MILLISECOND
    at = _at
    if at[0] == millis:
        return at[1]
    whole = now // NS
    second = _second
    if second[0] != whole:
        _second = second = whole, strftime("%Y-%m-%dT%H:%M:%S.", gmtime(whole))
    made = f"{second[1]}{millis % 1000:03d}"
    _at = millis, made
    return made


class Body:
    """An entry's fields, rendered: as JSON with a leading comma, plain as ``key=value``, and what was found in them."""

    __slots__ = ("event_type", "json", "plain", "replaced", "stack")

    def __init__(self) -> None:
        self.json: list[str] = []
        self.plain: list[tuple[str, str]] = []
        self.replaced: tuple[str, ...] = ()
        self.event_type = False
        self.stack = ""

    def add(self, name: str, given: object) -> None:
        """Render one field."""
        head, kind, plain = _keys[name] if name in _keys else text.key(name)
        if kind == text.SECRET:
            made = text.string(REDACTED)
        elif kind == text.SESSION:
            made = text.string(text.session_mark(text.as_text(given)))
        else:
            made = text.value(given)
        if kind in {text.SESSION, text.CONTEXT}:
            self.replaced = (*self.replaced, plain)
        elif kind == text.EVENT_TYPE:
            self.event_type = True
        elif kind == text.SPECIAL:
            return
        self.json.append(head + made[0])
        self.plain.append((plain, made[1]))

    def fail(self, error: BaseException) -> None:
        """Render an exception: its type, its message and its stack."""
        for name, given in text.error_fields(error).items():
            self.json.append(f',"{name}":{text.quote(given)}')
            if name != "error.stack":
                self.plain.append((name, given))
            else:
                self.stack = given


def body(fields: Mapping[str, object], error: BaseException | None = None, stack: object = None) -> Body:
    """Return the fields of an entry, rendered; ``extra`` is merged into them as the standard library does."""
    made = Body()
    extra = fields.get("extra")
    if isinstance(extra, dict):
        for name, given in list(extra.items()):
            if name not in fields:
                made.add(name, given)
    for name, given in fields.items():
        made.add(name, given)
    if stack:
        made.stack = text.stack_text(text.as_text(stack))
        made.json.append(f',"stack":{text.quote(made.stack)}')
    if error is not None:
        made.fail(error)
    return made


def quick(fields: Mapping[str, object], bound: Bound) -> str | None:
    """Return the fields as JSON when they are plain ones, as most are; None when :func:`body` must look at them."""
    made = ""
    for name, given in fields.items():
        head, kind, _ = _keys[name] if name in _keys else text.key(name)
        of = given.__class__
        if kind:
            if kind == text.SECRET:
                made += f'{head}"{REDACTED}"'
            elif kind == text.SESSION and not bound.session and of is str:
                made += head + text.string(text.session_mark(given))[0]  # type: ignore[arg-type]  # it is one
            else:
                return None
        elif of is str:
            made += head + (_strings[given] if given in _strings else text.string(given))[0]  # type: ignore[arg-type]  # it is one
        elif given is True or given is False:
            made += f"{head}true" if given else f"{head}false"
        elif of is int and -_PLAIN_BELOW < given < _PLAIN_BELOW:  # type: ignore[operator]
            made += f"{head}{given}"
        else:
            made += head + text.value(given)[0]
    return made


def show(bound: Bound) -> str:
    """Return the identifiers as they stand in a JSON line; remembered with them."""
    made = "".join([f',"{name}":{text.quote(value)}' for name, value in shown_without(bound, ())])
    bound.shown = made
    return made


def shown_without(bound: Bound, replaced: Iterable[str]) -> list[tuple[str, str]]:
    """Return the identifiers as fields, without those that the entry brings itself."""
    named = bound.fields()
    if bound.session:
        named["session_id"] = text.session_mark(bound.session)
    return [(name, value) for name, value in named.items() if name not in replaced]


def as_json(head: Head, now: int, message: tuple[str, str], bound: Bound, made: Body) -> str:
    """Return an entry as one line of JSON, without its line feed."""
    if made.event_type and message[0].count(',"event_type":'):
        message = f',"message":{text.quote(message[1])}', message[1]
    known = "".join([f',"{name}":{text.quote(value)}' for name, value in shown_without(bound, made.replaced)])
    return f'{{"@timestamp":"{stamp(now)}{head.json}{message[0]}{known}{"".join(made.json)}}}'


def for_people(head: Head, now: int, message: str, bound: Bound, made: Body, *, colour: bool = False) -> str:
    """Return an entry as people read it: one line, and a stack below it with each of its lines marked as its own."""
    fields = [(name, value) for name, value in made.plain if name != "error.message" or value not in message]
    if not bound.correlation.startswith(correlation.PROCESS):  # all lines of a process have that
        fields += shown_without(bound, made.replaced)
    said = "".join([f" {name}={value if _bare(value) else text.quote(value)}" for name, value in fields])
    severity = f"{head.severity:<8}"
    if colour:
        severity = f"{_COLOURS.get(head.level, '')}{severity}{_PLAIN}"
        said = f"{_DIM}{said}{_PLAIN}" if said else ""
    line = f"{stamp(now)}Z {severity} {head.name or 'root'}: {message}{said}"
    if made.stack:
        line += "".join([f"\n    | {part}" for part in made.stack.split("\n")])
    return line


def _bare(value: str) -> bool:
    return bool(value) and (value[0] in "{[" or not any(char in value for char in ' "='))


def fresh() -> None:
    """Forget what a new secret value makes stale; called with every entry, so the comparison is all that it costs."""
    if _known.values is not text._seen:  # noqa: SLF001 - as above
        text.forget_if_stale()
