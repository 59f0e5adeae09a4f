"""Last words: everything known about a worker that died or hung, gathered into one plain JSON bundle.

What happened (in words), the last 60 s of events, the operations that were in flight with their ages, the last
metrics, stacks, the resource curve, and the last lines of output.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy.arena.layout import quantile
from roadworthy.log.redact import redact
from roadworthy.types import Event, ExitStatus, IncidentSummary, InFlight, Resources, Series
from roadworthy.watch.words import exit_status

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = 1
LAST_SECONDS: Final = 60.0
MOST_EVENTS: Final = 500
MOST_SERIES: Final = 500
TAIL: Final = 16 * 1024
CURVE: Final = 60


@dataclass(frozen=True, slots=True)
class Point:
    """A worker's resources at one second."""

    at: float
    cpu_percent: float | None
    rss: int | None
    fds: int | None
    threads: int | None


class Curves:
    """The last 60 samples of each worker's resources."""

    def __init__(self) -> None:
        self._points: dict[tuple[int, int | None], deque[Point]] = {}

    def add(self, at: float, slot: int, pid: int | None, resources: Resources) -> None:
        """Remember one sample; the curves of older processes of the slot are kept while there are few."""
        points = self._points.setdefault((slot, pid), deque(maxlen=CURVE))
        points.append(Point(at, resources.cpu_percent, resources.rss, resources.fds, resources.threads))
        while len(self._points) > 256:  # noqa: PLR2004 - a bound, not a figure
            del self._points[next(iter(self._points))]

    def of(self, slot: int, pid: int | None) -> tuple[Point, ...]:
        """Return the curve of one process."""
        return tuple(self._points.get((slot, pid), ()))

    def forget(self, slot: int, pid: int | None) -> None:
        """Drop the curve of a process that has ended and was reported."""
        self._points.pop((slot, pid), None)


@dataclass(frozen=True, slots=True)
class LastWords:
    """What is gathered about one incident; times in wall seconds."""

    at: float
    kind: str
    title: str
    slot: int | None = None
    pid: int | None = None
    generation: int | None = None
    exit: ExitStatus | None = None
    happened: float | None = None
    detected_after: float | None = None
    recovered_after: float | None = None
    reason: str = ""
    events: Sequence[Event] = ()
    in_flight: Sequence[InFlight] = ()
    series: Sequence[Series] = ()
    stacks: str = ""
    no_stacks: str = ""
    curve: Sequence[Point] = ()
    output: Mapping[str, str] = field(default_factory=dict)
    leftover: Sequence[int] = ()
    maxrss: int | None = None
    cpu_seconds: float | None = None


def incident_id(words: LastWords) -> str:
    """Return an id that sorts by time and tells worker and process."""
    return f"{int(words.at * 1000):013d}-{'x' if words.slot is None else words.slot}-{words.pid or 0}"


def summary(words: LastWords) -> IncidentSummary:
    """Return the line for the incident list."""
    return IncidentSummary(
        incident_id(words), words.at, words.kind, words.title, words.slot, words.pid, words.exit,
        words.detected_after, words.recovered_after,
    )  # fmt: skip


def bundle(words: LastWords, app: str) -> dict[str, Any]:
    """Return the whole as plain JSON values, bounded.

    Texts of the program come redacted and output is redacted here.
    """
    since = words.at - LAST_SECONDS
    recent = [event for event in words.events if event.at >= since][-MOST_EVENTS:]
    return {
        "schema": SCHEMA,
        "app": app,
        "summary": asdict(summary(words)),
        "reason": words.reason,
        "happened": words.happened,
        "generation": words.generation,
        "events": [asdict(event) | {"kind": event.kind.value, "fields": dict(event.fields)} for event in recent],
        "in_flight": [asdict(one) for one in sorted(words.in_flight, key=lambda one: -one.age)],
        "metrics": [metric(one) for one in words.series[:MOST_SERIES]],
        "stacks": words.stacks,
        "no_stacks": words.no_stacks,
        "curve": [asdict(point) for point in words.curve],
        "output": {name: redact(text) for name, text in words.output.items()},
        "leftover": list(words.leftover),
        "maxrss": words.maxrss,
        "cpu_seconds": words.cpu_seconds,
    }


def metric(one: Series) -> dict[str, Any]:
    """Return a series' last figure as plain values; of a histogram count, mean, p95 and maximum."""
    found: dict[str, Any] = {"name": one.name, "labels": dict(one.labels), "unit": one.unit}
    if one.histogram is None:
        return found | {"value": one.value}
    count = sum(one.histogram.buckets.values())
    scale = one.histogram.scale or 1.0
    p95 = quantile(one.histogram.buckets, 0.95, one.histogram.max)
    return found | {
        "count": count,
        "mean": one.histogram.sum / count / scale if count else None,
        "p95": None if p95 is None else p95 / scale,
        "max": one.histogram.max / scale if count else None,
    }


def of_death(
    message: Mapping[str, Any], *, at: float, happened: float, oom: bool, base: LastWords | None = None
) -> LastWords:
    """Return last words for an exit that the keeper reports (``message`` as in its protocol)."""
    status = exit_status(message.get("code"), message.get("signal"), core=bool(message.get("core")), oom=oom)
    words = base or LastWords(at, "death", "")
    slot = message.get("slot")
    user, system = message.get("user_s"), message.get("system_s")
    return replace(
        words,
        at=at,
        kind="oom" if oom else "death",
        title=f"worker {slot} {status.words}",
        slot=slot,
        pid=message.get("pid"),
        generation=message.get("generation"),
        exit=status,
        happened=happened,
        detected_after=max(0.0, at - happened),
        leftover=tuple(message.get("leftover") or ()),
        maxrss=None if message.get("maxrss_kb") is None else int(message["maxrss_kb"]) * 1024,
        cpu_seconds=None if user is None or system is None else float(user) + float(system),
    )


def of_hang(base: LastWords, *, kind: str, reason: str, since: float | None, stacks: str, no_stacks: str) -> LastWords:
    """Return last words for a worker that hangs or does not progress; it may still be alive."""
    what = "hangs" if kind == "hang" else "does not progress"
    return replace(
        base,
        kind=kind,
        title=f"worker {base.slot} {what}: {reason}",
        reason=reason,
        happened=since,
        detected_after=None if since is None else max(0.0, base.at - since),
        stacks=stacks,
        no_stacks=no_stacks,
    )


def tail(path: Path, most: int = TAIL) -> str:
    """Return the last whole lines of a file, at most ``most`` bytes; empty when it is not there."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            data = file.read(most)
    except OSError:
        return ""
    data = data.lstrip(b"\0")
    if size > most and b"\n" in data:
        data = data[data.index(b"\n") + 1 :]
    return data.decode("utf-8", "replace")


def output_tails(directory: Path, slot: int, generation: int) -> dict[str, str]:
    """Return the last lines of a worker's standard output and error by stream."""
    names = {"stdout": f"out-{slot}-{generation}", "stderr": f"err-{slot}-{generation}"}
    return {stream: text for stream, name in names.items() if (text := tail(directory / name))}
