"""Snapshots as Prometheus text (0.0.4) and OpenMetrics (1.0).

Fast because almost nothing changes between two scrapes: everything but the figures is rendered once, as one template a
family, and kept until a series comes or goes; a family whose figures are the same as before is not rendered again.
Where the snapshot says that its series are the ones of the last time, nobody looks at their names again. Templates are
bytes: Python finds a place in those by ``memchr``, in a string by looking at every character (a fifth).

Exact because a histogram's ``le`` borders are octave borders of the arena's buckets, less one stored unit: figures are
whole stored units (nanoseconds for durations), so no bucket is cut in two and no count is estimated.

An unknown figure is left out; nothing is exported as 0 or NaN for want of a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from roadworthy.arena.layout import BUCKETS, bucket_of
from roadworthy.types import Histogram, Kind, Labels, Series, Snapshot
from roadworthy.view.prometheus_names import assign, label_name
from roadworthy.view.prometheus_own import own_series, target

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Key = tuple[str, str, Kind]


def octaves(scale: float) -> tuple[int, ...]:
    """Return the powers of two that are exported as borders: 16 µs to 69 s for durations, else 1, 4, 16 … 4^20."""
    fine = scale >= 1e6  # noqa: PLR2004 - stored in millionths or finer, as durations are
    return tuple(range(14, 37)) if fine else tuple(range(0, 41, 2))


@dataclass(frozen=True, slots=True)
class Borders:
    """The exported borders of histograms of one scale."""

    labels: tuple[str, ...]
    cuts: tuple[int, ...]
    below: tuple[int, ...]

    @classmethod
    def of(cls, scale: float) -> Borders:
        """Return the borders for a scale: the ``le`` texts, the first bucket above each, each bucket's first border."""
        powers = octaves(scale)
        cuts = tuple(bucket_of(1 << power) for power in powers)
        below = tuple(next((n for n, cut in enumerate(cuts) if index < cut), len(cuts)) for index in range(BUCKETS))
        return cls(tuple(repr(((1 << power) - 1) / scale) for power in powers), cuts, below)

    def counts(self, histogram: Histogram) -> list[int]:
        """Return the cumulative count at each border and, last, of all values."""
        within = [0] * (len(self.cuts) + 1)
        below = self.below
        for index, count in histogram.buckets.items():
            within[below[index]] += count
        return list(accumulate(within))

    def template(self, name: str, inside: str) -> bytes:
        """Return the lines of one histogram with places for the counts, the sum's line and the count."""
        name, inside = name.replace("%", "%%"), inside.replace("%", "%%")
        before, alone = (f"{inside},", f"{{{inside}}}") if inside else ("", "")
        lines = [f'{name}_bucket{{{before}le="{le}"}} %d' for le in (*self.labels, "+Inf")]
        return _bytes("\n".join(lines) + f"\n%s{name}_count{alone} %d\n")


@dataclass(slots=True)
class _Family:
    """One metric: its text without figures, and what was rendered last."""

    key: Key
    name: str
    header: bytes
    lines: list[bytes]
    """One line a series with a place for its figure; of a histogram the text of its labels."""
    start: int
    end: int
    template: bytes = b""
    figures: list[float | None] | None = None
    text: bytes = b""
    histograms: list[tuple[Histogram, bytes]] = field(default_factory=list)


class Renderer:
    """Renders the snapshots of one application in one format; not for use by several threads."""

    def __init__(self, *, openmetrics: bool = False, prefix: str = "") -> None:
        self.content_type = OPENMETRICS_TYPE if openmetrics else TEXT_TYPE
        self.findings: list[str] = []
        self._openmetrics = openmetrics
        self._prefix = prefix
        self._names: list[str] = []
        self._labels: list[Labels] = []
        self._kinds: list[Kind] = []
        self._layout: int | None = None
        self._taken: set[str] = set()
        self._own: list[tuple[str, Labels, Kind]] = []
        self._order: list[int] | None = None
        self._families: list[_Family] = []
        self._borders: dict[float, Borders] = {}
        self._templates: dict[tuple[str, bytes, float], bytes] = {}
        self._notes = b""

    def render(self, snapshot: Snapshot) -> str:
        """Return the whole exposition: the program's series, the target, and roadworthy's own figures."""
        return self.render_series(snapshot.series, target(snapshot), own=own_series(snapshot), layout=snapshot.layout)

    def render_series(
        self,
        series: Sequence[Series],
        attributes: Labels = (),
        *,
        own: Sequence[Series] = (),
        layout: int | None = None,
    ) -> str:
        """Return the exposition of these series; ``attributes`` become the labels of ``target_info``.

        ``own`` follow, those whose names no other has. ``layout``: a number that is the same as at the last call only
        where ``series`` are the same ones in the same order; None when that is not known.
        """
        moved = (layout is None or layout != self._layout) and self._moved(series)
        self._layout = layout
        beside = [one for one in own if one.name not in self._taken]
        keys = [(one.name, one.labels, one.kind) for one in beside]
        series = [*series, *beside]
        if moved or keys != self._own:
            self._arrange(series)
            self._own = keys
        if self._order is not None:
            series = [series[position] for position in self._order]
        figures = [one.value for one in series]
        parts = [self._notes, self._target(attributes)]
        for family in self._families:
            if family.key[2] is Kind.HISTOGRAM:
                parts.append(self._histograms(family, series))
                continue
            now = figures[family.start : family.end]
            if now != family.figures:
                family.figures = now
                family.text = _fill(family, now)
            parts.append(family.text)
        parts.append(b"# EOF\n" if self._openmetrics else b"")
        return b"".join(parts).decode("utf-8", "surrogatepass")

    # -- what changes seldom

    def _moved(self, series: Sequence[Series]) -> bool:
        """Return whether these are not the series of the last time, and remember them."""
        names = [one.name for one in series]
        labels = [one.labels for one in series]
        kinds = [one.kind for one in series]
        if names == self._names and labels == self._labels and kinds == self._kinds:
            return False
        self._names, self._labels, self._kinds = names, labels, kinds
        self._taken = set(names)
        return True

    def _arrange(self, series: Sequence[Series]) -> None:
        """Group the series by family and render everything but the figures."""
        names, self.findings = assign(((one.name, one.unit, one.kind) for one in series), self._prefix)
        positions: dict[Key, list[int]] = {}
        for position, one in enumerate(series):
            positions.setdefault((one.name, one.unit, one.kind), []).append(position)
        order: list[int] = []
        self._families = []
        self._templates.clear()
        seen: set[tuple[str, str]] = set()
        for key, found in positions.items():
            kept: list[int] = []
            lines: list[bytes] = []
            for position in found:
                inside = _label_text(series[position].labels, series[position].kind)
                if (names[key], inside) in seen:
                    self.findings.append(
                        f"metric {key[0]!r}: two series have the labels {{{inside}}} once translated; one is left out"
                    )
                    continue
                seen.add((names[key], inside))
                kept.append(position)
                lines.append(self._line(names[key], key[2], inside))
            header = self._header(names[key], key, next((series[p].help for p in kept if series[p].help), ""))
            family = _Family(key, names[key], header, lines, len(order), len(order) + len(kept))
            family.template = header.replace(b"%", b"%%") + b"".join(lines)
            self._families.append(family)
            order.extend(kept)
        self._order = None if order == list(range(len(series))) else order
        notes = [] if self._openmetrics else [f"# roadworthy: {_one_line(finding)}\n" for finding in self.findings]
        self._notes = _bytes("".join(notes))

    def _line(self, name: str, kind: Kind, inside: str) -> bytes:
        if kind is Kind.HISTOGRAM:
            return _bytes(inside)
        sample = f"{name}_total" if kind is Kind.COUNTER else name
        return _bytes((f"{sample}{{{inside}}}" if inside else sample).replace("%", "%%") + " %a\n")

    def _header(self, name: str, key: Key, text: str) -> bytes:
        original, unit, kind = key
        family = f"{name}_total" if kind is Kind.COUNTER and not self._openmetrics else name
        told = _escape_help(
            text or f"{original}, as the program recorded it{f' ({unit})' if unit else ''}.", quotes=self._openmetrics
        )
        lines = [f"# HELP {family} {told}", f"# TYPE {family} {kind.value}"]
        word = next((word for word in ("seconds", "bytes", "ratio") if family.endswith(f"_{word}")), "")
        if self._openmetrics and word:
            lines.append(f"# UNIT {family} {word}")
        return _bytes("\n".join(lines) + "\n")

    def _target(self, attributes: Labels) -> bytes:
        if not attributes:
            return b""
        family, kind = ("target", "info") if self._openmetrics else ("target_info", "gauge")
        inside = _label_text(attributes, Kind.GAUGE)
        return _bytes(
            f"# HELP {family} What these figures are about.\n# TYPE {family} {kind}\ntarget_info{{{inside}}} 1\n"
        )

    # -- histograms

    def _histograms(self, family: _Family, series: Sequence[Series]) -> bytes:
        parts = [family.header]
        fresh: list[tuple[Histogram, bytes]] = []
        for number, one in enumerate(series[family.start : family.end]):
            histogram = one.histogram
            if histogram is None:
                continue
            known = family.histograms[number] if number < len(family.histograms) else None
            text = (
                known[1]
                if known is not None and known[0] == histogram
                else self._one(family.name, family.lines[number], histogram)
            )
            fresh.append((histogram, text))
            parts.append(text)
        family.histograms = fresh if len(fresh) == family.end - family.start else []
        return b"".join(parts)

    def _one(self, name: str, inside: bytes, histogram: Histogram) -> bytes:
        scale = histogram.scale
        borders = self._borders.get(scale)
        if borders is None:
            borders = self._borders[scale] = Borders.of(scale)
        template = self._templates.get((name, inside, scale))
        if template is None:
            template = self._templates[name, inside, scale] = borders.template(
                name, inside.decode("utf-8", "surrogatepass")
            )
        counts = borders.counts(histogram)
        total = b""
        if math.isfinite(histogram.sum):
            labels = b"{%b}" % inside if inside else b""
            total = b"%b_sum%b %a\n" % (name.encode(), labels, histogram.sum / scale)
        return template % (*counts, total, counts[-1])


def _fill(family: _Family, figures: list[float | None]) -> bytes:
    try:
        whole = math.isfinite(sum(figures))  # type: ignore[arg-type]  # a None raises, which is what is asked here
    except TypeError:
        whole = False
    if whole:
        return family.template % tuple(figures)
    known = [
        line % value
        for line, value in zip(family.lines, figures, strict=True)
        if value is not None and math.isfinite(value)
    ]
    return family.header + b"".join(known) if known else b""


def _bytes(text: str) -> bytes:
    """Return the text as it will be read back, whatever a name or a label is made of."""
    return text.encode("utf-8", "surrogatepass")


def _label_text(labels: Labels, kind: Kind) -> str:
    """Return ``name="value",…``; two labels that become one name are joined by ``;`` as OpenTelemetry prescribes."""
    joined: dict[str, str] = {}
    for name, value in labels:
        translated = label_name(name, kind)
        joined[translated] = f"{joined[translated]};{value}" if translated in joined else value
    return ",".join(f'{name}="{_escape(value)}"' for name, value in joined.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")
