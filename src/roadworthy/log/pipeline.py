"""From an entry to its sinks: one pipeline a process, made by :func:`roadworthy.log.configure`.

Whoever logs (our own logger, the standard library's through our handler, structlog through our own logger) hands on an
entry's parts; here they become one line, once, which goes to every sink that takes entries of that level.
"""

from __future__ import annotations

import os

from roadworthy._clock import wall_ns
from roadworthy.log import correlation, hook, line, text
from roadworthy.log.line import Head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from roadworthy.log.sink import Sink

    Write = Callable[[bytes, int], None]

ERROR = 40
WARNING = 30
OWN = "roadworthy.log"
"""The logger that entries of our own have: about lines that were lost."""


class Pipeline:
    """What entries become, and where they go. Replaced whole when it is configured anew."""

    __slots__ = ("_heads", "_names", "_static", "coloured", "environment", "errors", "everything", "json", "security",
                 "service", "sinks")  # fmt: skip

    def __init__(self, service: str, environment: str, *, json: bool, names: Callable[[int], str]) -> None:
        self.service = service
        self.environment = environment
        self.json = json
        self.everything: tuple[Write, ...] = ()
        self.coloured: tuple[Write, ...] = ()
        self.errors: tuple[Write, ...] = ()
        self.security: tuple[Write, ...] = ()
        self.sinks: list[Sink] = []
        self._names = names
        self._heads: dict[tuple[str, int], Head] = {}
        self._static = line.static(service, environment, os.getpid())

    def head(self, name: str, level: int) -> Head:
        """Return what entries of this logger and level share."""
        found = self._heads.get((name, level))
        if found is None:
            found = Head(name, level, line.NAMES.get(level) or self._names(level), self._static)
            if len(self._heads) >= text.MOST * 8:
                self._heads.clear()
            self._heads[name, level] = found
        return found

    def write(
        self,
        name: str,
        level: int,
        event: object,
        fields: Mapping[str, object],
        *,
        now: int = 0,
        error: BaseException | None = None,
        stack: object = None,
    ) -> tuple[str, line.Body]:
        """Write an entry; return its message and fields as they were written."""
        line.fresh()
        now = now or wall_ns()
        head = self.head(name, level)
        bound = correlation.marked(error) if error is not None else correlation.NOTHING
        bound = bound if bound.correlation else correlation.found()
        message = text.message(text.as_text(event))
        made = line.body(fields, error, stack)
        self.deliver(head, now, message, bound, made)
        return message[1], made

    def deliver(
        self, head: Head, now: int, message: tuple[str, str], bound: correlation.Bound, made: line.Body
    ) -> None:
        """Write a rendered entry to all sinks that take its level."""
        if self.json:
            self.send(head.level, encoded(line.as_json(head, now, message, bound, made)), now)
            return
        if self.everything or self.errors:
            self.send(head.level, encoded(line.for_people(head, now, message[1], bound, made)), now)
        if self.coloured:
            shown = encoded(line.for_people(head, now, message[1], bound, made, colour=True))
            for write in self.coloured:
                write(shown, now)

    def send(self, level: int, made: bytes, now: int) -> None:
        """Hand a line to the sinks that take its level."""
        for write in self.everything:
            write(made, now)
        if level >= ERROR:
            for write in self.errors:
                write(made, now)

    def told(self, what: str) -> bytes:
        """Return a line of our own, for the sink that has lost some."""
        head, message = self.head(OWN, WARNING), text.message(what)
        now, bound, made = wall_ns(), correlation.found(), line.body({})
        if self.json:
            return encoded(line.as_json(head, now, message, bound, made))
        return encoded(line.for_people(head, now, message[1], bound, made))

    def secure(self, record: Mapping[str, object]) -> None:
        """Write a security event into its own log, always as JSON: it is evidence, and read by machines."""
        fields = {key: value for key, value in record.items() if key not in {"description", "severity"}}
        level = _LEVELS.get(str(record.get("severity", "")).upper(), WARNING)
        now = wall_ns()
        message = text.message(text.as_text(record.get("description") or record.get("event_type") or "security event"))
        line.fresh()
        made = encoded(line.as_json(self.head("security", level), now, message, correlation.found(), line.body(fields)))
        for write in self.security:
            write(made, now)

    def after_fork(self) -> None:
        """Make a forked child's entries its own."""
        self._static = line.static(self.service, self.environment, os.getpid())
        self._heads.clear()
        for sink in self.sinks:
            sink.after_fork()

    def close(self) -> None:
        """Wait a moment for slow sinks, and close what was opened."""
        for sink in self.sinks:
            sink.close()


_LEVELS = {name: level for level, name in line.NAMES.items()}
current: Pipeline | None = None


def use(made: Pipeline | None) -> Pipeline | None:
    """Make ``made`` the process's pipeline, and return the one before."""
    global current
    before, current = current, made
    for renew in _renewed:
        renew()
    return before


_renewed: list[Callable[[], object]] = []


def when_renewed(function: Callable[[], object]) -> None:
    """Call ``function`` whenever there is another pipeline, or another process."""
    _renewed.append(function)


def encoded(made: str) -> bytes:
    """Return a line as it is written."""
    try:
        return f"{made}\n".encode()
    except UnicodeEncodeError:
        return f"{made}\n".encode("utf-8", "backslashreplace")


def _secure(record: Mapping[str, object]) -> None:
    if current is not None:
        current.secure(record)


def _after_fork() -> None:
    if current is not None:
        current.after_fork()
    for renew in _renewed:
        renew()


hook.on_security_event.append(_secure)
os.register_at_fork(after_in_child=_after_fork)
