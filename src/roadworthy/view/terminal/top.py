"""``roadworthy top``: one screen of the same figures, with their recent past. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from roadworthy.view.terminal import resilience, status
from roadworthy.view.terminal.text import Cell, Style, number, percent, rate, seconds, size, sparkline

if TYPE_CHECKING:
    from roadworthy.types import Snapshot

TRAIL: Final = 240
"""How many points of the past are kept."""

VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    "o": ("operations", "Operations"),
    "p": ("workers", "Processes"),
    "e": ("errors", "Errors"),
    "h": ("health", "Health"),
}
"""Key to (view, title)."""

CHARTS: Final = (
    ("requests.rate", "rate", rate),
    ("latency.p95", "p95", seconds),
    ("errors.rate", "errors", rate),
    ("cpu.percent", "cpu", percent),
    ("rss.bytes", "memory", size),
    ("in_flight", "in flight", number),
)


class Trail:
    """The recent past of the figures that the screen draws."""

    def __init__(self) -> None:
        self.values: dict[str, deque[float | None]] = {name: deque(maxlen=TRAIL) for name, _, _ in CHARTS}

    def add(self, gauges: Mapping[str, float | None]) -> None:
        """Remember one snapshot's figures."""
        for name, values in self.values.items():
            values.append(gauges.get(name))

    def begin(self, past: Mapping[str, Sequence[tuple[float, float | None]]]) -> None:
        """Begin with what the history holds."""
        for name, values in self.values.items():
            values.extend(value for _, value in past.get(name, ()))


def screen(
    snapshot: Snapshot, trail: Trail, style: Style, now: float, *, view: str = "o", height: int = 24
) -> list[str]:
    """Return exactly ``height`` lines at most: verdict, charts, the chosen view, and the keys."""
    lines = [*status.verdict(snapshot, style, now)[: max(3, height // 4)], ""]
    lines += charts(trail, style)
    name, title = VIEWS.get(view, VIEWS["o"])
    lines += ["", style.line(Cell(title, "bold")), *body(snapshot, style, now, name, height)]
    kept = lines[: max(0, height - 2)]
    return [*kept, *[""] * (height - 2 - len(kept)), status.footer(snapshot, style), keys(view, style)][:height]


def body(snapshot: Snapshot, style: Style, now: float, name: str, height: int) -> list[str]:
    """Return the lines of one view; a view without anything says so."""
    lines = {
        "operations": lambda: status.operations(snapshot, style, height),
        "workers": lambda: status.workers(snapshot, style, now),
        "errors": lambda: status.errors(snapshot, style, now, height),
        "health": lambda: [
            *status.checks(snapshot, style, now),
            *status.section("Resilience", resilience.notable(snapshot, style, now), style),
            *status.section("Incidents", status.incidents(snapshot, style, now), style),
            *status.section("Signals", status.received(snapshot, style, now), style),
        ],
    }[name]()
    return lines or [style.line(Cell("none", "dim"), indent=2)]


def charts(trail: Trail, style: Style) -> list[str]:
    """Return the figures with their recent past, two to a line where there is room."""
    wide = style.width >= 76  # noqa: PLR2004 - two charts of 24 bars with their words
    room = min(60, (style.width // 2 if wide else style.width) - 24)
    drawn = []
    for name, title, words in CHARTS:
        values = trail.values[name]
        latest = values[-1] if values else None
        bars = sparkline(values, max(4, room))
        drawn.append((f"{title:<10}", bars, f"{words(latest):>10}"))
    if not wide:
        return [style.line(Cell(title, "dim"), Cell(bars, "accent"), figure, indent=2) for title, bars, figure in drawn]
    lines = []
    for left, right in zip(drawn[::2], drawn[1::2], strict=True):
        gap = " " * 3
        cells = (
            Cell(left[0], "dim"),
            Cell(left[1], "accent"),
            left[2],
            gap,
            Cell(right[0], "dim"),
            Cell(right[1], "accent"),
            right[2],
        )
        lines.append(style.line(*cells, indent=2))
    return lines


def keys(view: str, style: Style) -> str:
    """Return the line that tells the keys."""
    cells: list[Cell | str] = []
    for key, (_, title) in VIEWS.items():
        cells += [Cell(key, "bold"), Cell(f" {title.lower()}  ", "accent" if key == view else "dim")]
    return style.line(*cells, Cell("q", "bold"), Cell(" quit", "dim"))


def frame(lines: Sequence[str]) -> str:
    """Return what draws these lines over the old ones without flicker."""
    return "\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J"
