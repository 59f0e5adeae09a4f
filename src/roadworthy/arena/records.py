"""What readers get: plain values read from one arena file. A figure that was not measured is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class RawSeries:
    """One series of one process. The reader updates the same objects at each refresh: copy what you keep.

    ``buckets`` is replaced, never changed, when a histogram counted something; ``value`` is None for histograms and for
    gauges that were never set; ``sum`` and ``max`` are in stored units, ``scale`` of which make one ``unit``.
    """

    __slots__ = (
        "buckets",
        "help",
        "kind",
        "labels",
        "max",
        "merge",
        "name",
        "number",
        "scale",
        "sum",
        "unit",
        "updated_ns",
        "value",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        merge: str = "sum",
        labels: Labels = (),
        unit: str = "",
        help: str = "",  # noqa: A002 - the field's term
        scale: float = 1.0,
        number: int = -1,
    ) -> None:
        self.name = name
        self.kind = kind
        self.merge = merge
        self.labels = labels
        self.unit = unit
        self.help = help
        self.scale = scale
        self.number = number
        self.value: float | None = None
        self.updated_ns = 0
        self.buckets: Mapping[int, int] | None = None
        self.sum = 0.0
        self.max = 0.0

    def __repr__(self) -> str:
        shown = self.value if self.buckets is None else f"{sum(self.buckets.values())} values"
        return f"<{self.kind} {self.name} {dict(self.labels)} {shown}>"


class RawEvent(NamedTuple):
    """One event of the ring. A torn one was being written when its process died: nothing but ``seq`` is known of it."""

    seq: int
    at_ns: int | None
    kind: str
    level: int
    source: str
    text: str
    fields: Mapping[str, str]
    torn: bool = False


@dataclass(frozen=True, slots=True)
class RawBeat:
    """A declared signal of life; ``last_ns`` is None while it never came, ``frame_ns`` the start of a frame's work."""

    name: str
    kind: str
    last_ns: int | None
    count: int
    every_ns: int | None
    frame_ns: int | None
    turns: int
    target_fps: float | None


class RawInFlight(NamedTuple):
    """An operation under way; ``name`` and ``parent`` are the series' ``operation`` labels, else their names."""

    name: str
    start_ns: int
    parent: str
    thread: int
    context: str
    number: int


class RawMark(NamedTuple):
    """A start-up checkpoint."""

    kind: str
    label: str
    at_ns: int
