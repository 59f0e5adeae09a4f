"""Log entries to read: taken out of log files and of the flight recorder's events, chosen, and drawn on one line each.

Pure: text and events in, entries and lines out. What is shown is redacted once more, since a log file may be older than
the redaction, or not ours at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from roadworthy.log.correlation import PROCESS
from roadworthy.log.redact import REDACTED, one_line, redact, secret_key
from roadworthy.log.text import value as log_value

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "fatal": 50}
CONTINUED: Final = "    | "
_CONSOLE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ([A-Z]+) +([^\s:]+): (.*)\Z", re.DOTALL)
_PAIR = re.compile(r"(?:^| )([A-Za-z_@][\w.@-]*)=(\"(?:[^\"\\]|\\.)*\"|[^ ]*)")
_COMMON = frozenset({"@timestamp", "severity", "message", "logger", "service", "environment", "pid", "event_type"})
_ALWAYS_LEFT_OUT = frozenset({"error.stack", "stack", "fingerprint"})
_SHOWN_KINDS = frozenset({"log", "error", "warning", "state", "output"})
_COLOURS = {10: "\x1b[2m", 20: "\x1b[32m", 30: "\x1b[33m", 40: "\x1b[31m", 50: "\x1b[1;31m"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; what it does not tell is None or empty."""

    at: float | None
    level: str
    source: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    pid: int | None = None
    stack: tuple[str, ...] = ()

    @property
    def correlation(self) -> str:
        """Return the correlation identifier that it carries."""
        return str(self.fields.get("correlation_id", ""))

    @property
    def number(self) -> int:
        """Return the level as a number; one that is not known counts as information."""
        return LEVELS.get(self.level.lower(), 20)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; the defaults let all pass."""

    level: int = 0
    grep: re.Pattern[str] | None = None
    since: float = 0.0
    correlation: str = ""

    def takes(self, entry: Entry) -> bool:
        """Return whether an entry is asked for; one without a time belongs to those around it."""
        if entry.number < self.level or (entry.at is not None and entry.at < self.since):
            return False
        if self.correlation and self.correlation not in {entry.correlation, str(entry.fields.get("trace_id", ""))}:
            return False
        return self.grep is None or self.grep.search(whole(entry)) is not None


def parse(line: str, stack: tuple[str, ...] = ()) -> Entry:
    """Return the entry on a line of a log file: our JSON, our console form, or whatever else as its text alone."""
    if line.startswith("{"):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return _from_document(document, stack)
    found = _CONSOLE.match(line)
    if found is None:
        return Entry(None, "", "", line, stack=stack)
    text, fields = _apart(found[4])
    return Entry(_seconds(found[1]), found[2].lower(), found[3], text, fields, None, stack)


def from_event(event: Mapping[str, Any]) -> Entry | None:
    """Return the entry that a flight recorder's event stands for, None for what is no log (operations, usage, …).

    A line of output that is an entry of a log has that entry's level, logger and fields.
    """
    if event.get("kind") not in _SHOWN_KINDS:
        return None
    if event.get("kind") == "output" and (printed := parse(str(event.get("text", "")))).source:
        pid = event.get("pid")
        return printed if printed.pid or not isinstance(pid, int) else replace(printed, pid=pid)
    fields = dict(event.get("fields") or {})
    stack = str(fields.pop("traceback", "")).splitlines()
    level, at, pid = str(event.get("level", "")), event.get("at"), event.get("pid")
    return Entry(
        float(at) if isinstance(at, (int, float)) else None,
        level,
        str(event.get("source", "")),
        str(event.get("text", "")),
        fields,
        pid if isinstance(pid, int) else None,
        tuple(stack),
    )


def backwards(lines: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of lines that come newest first; the marked lines of a stack belong to the entry above them."""
    stack: list[str] = []
    for line in lines:
        if line.startswith(CONTINUED):
            stack.append(line.removeprefix(CONTINUED))
            continue
        yield parse(line, tuple(reversed(stack)))
        stack = []


def forwards(lines: Iterable[str]) -> list[Entry]:
    """Return the entries of lines in their order."""
    return list(backwards(reversed(list(lines))))[::-1]


def draw(entry: Entry, *, colour: bool = False) -> list[str]:
    """Return an entry as people read it: one line, and its stack indented below; clean for a terminal."""
    at = "-" if entry.at is None else f"{datetime.fromtimestamp(entry.at, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    level = f"{entry.level.upper() or '-':<8}"
    if colour:
        level = f"{_COLOURS.get(entry.number, '')}{level}\x1b[0m"
    pid = "" if entry.pid is None else f"[{entry.pid}] "
    said = [f"{_clean(key)}={_shown(key, value)}" for key, value in entry.fields.items() if _tells(key, value)]
    rest = f"  {' '.join(said)}" if said else ""
    if colour and rest:
        rest = f"\x1b[2m{rest}\x1b[0m"
    source = f"{_clean(entry.source)}: " if entry.source else ""
    lines = [f"{at} {level} {pid}{source}{_clean(entry.text)}{rest}"]
    return lines + [f"{CONTINUED}{part}" for part in redact("\n".join(entry.stack)).split("\n") if entry.stack]


def _tells(key: str, value: object) -> bool:
    """Return whether a field is shown to people: not what stands below as the stack, or what a whole process has."""
    return key not in _ALWAYS_LEFT_OUT and not (key == "correlation_id" and str(value).startswith(PROCESS))


def to_json(entry: Entry) -> str:
    """Return an entry as one line of JSON, with the names that log entries have."""
    made: dict[str, Any] = {
        "@timestamp": None
        if entry.at is None
        else datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "severity": entry.level.upper() or None,
        "logger": entry.source or None,
        "message": _clean(entry.text),
        "pid": entry.pid,
        **{_clean(key): _plain(key, value) for key, value in entry.fields.items()},
    }
    if entry.stack:
        made["stack"] = redact("\n".join(entry.stack))
    return json.dumps(made, ensure_ascii=False)


def whole(entry: Entry) -> str:
    """Return all that an entry says, for searching in it."""
    fields = " ".join(f"{key}={value}" for key, value in entry.fields.items())
    return f"{entry.level.upper()} {entry.source}: {entry.text} {fields}\n" + "\n".join(entry.stack)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries by time; one without a time stays behind the one that it came after."""
    timed: list[tuple[float, Entry]] = []
    last = 0.0
    for entry in entries:
        last = last if entry.at is None else entry.at
        timed.append((last, entry))
    return [entry for _, entry in sorted(timed, key=lambda one: one[0])]


def _from_document(document: dict[str, Any], stack: tuple[str, ...]) -> Entry:
    own = str(document.get("error.stack") or document.get("stack") or "").splitlines()
    pid = document.get("pid")
    severity = document.get("severity") or document.get("level") or document.get("levelname") or ""
    return Entry(
        _seconds(document.get("@timestamp") or document.get("timestamp")),
        str(severity).lower(),
        str(document.get("logger") or ""),
        str(document.get("message") or document.get("event") or document.get("msg") or ""),
        {key: value for key, value in document.items() if key not in _COMMON | _ALWAYS_LEFT_OUT},
        pid if isinstance(pid, int) else None,
        (*own, *stack),
    )


def _apart(text: str) -> tuple[str, dict[str, Any]]:
    """Return the message of a console line, and the fields at its end."""
    fields: dict[str, Any] = {}
    end = len(text)
    for found in reversed(list(_PAIR.finditer(text))):
        if found.end() != end:
            break
        value = found[2]
        fields[found[1]] = value[1:-1].replace('\\"', '"') if value.startswith('"') else value
        end = found.start()
    return text[:end], dict(reversed(fields.items()))


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _clean(text: object) -> str:
    return one_line(redact(str(text)))


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if key != "session_id" and secret_key(key):
        return REDACTED
    return value if isinstance(value, (int, float, type(None))) else json.loads(log_value(value)[0])


def _shown(key: str, value: Any) -> str:  # noqa: ANN401 - as above
    if key != "session_id" and secret_key(key):
        return REDACTED
    text = _clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return f'"{text}"' if " " in text and not text.startswith(("{", "[")) else text
