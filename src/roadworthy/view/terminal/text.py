"""Text for terminals: figures as people write them, tables that fit, colours that mean something. Pure.

What a program wrote into its log, names and arguments may hold anything, escape sequences too: :func:`clean` stands
between it and the terminal.
"""

# ruff: noqa: RUF001 - the signs for what is unknown and for times are meant

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from roadworthy.types import Severity, Status

Role = Literal["", "good", "warn", "bad", "dim", "bold", "accent"]

UNKNOWN: Final = "–"
SPARKS: Final = "▁▂▃▄▅▆▇█"
_CODES: Final[Mapping[Role, str]] = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "bold": "1", "accent": "36"}
_ASCII: Final = str.maketrans(
    {"–": "-", "·": "|", "…": "~", "×": "x", "─": "-", "µ": "u", **dict(zip(SPARKS, "._-~=+*#", strict=True))}
)

STATUS_ROLE: Final[Mapping[Status, Role]] = {
    Status.OK: "good",
    Status.DEGRADED: "warn",
    Status.RECOVERING: "warn",
    Status.UNHEALTHY: "bad",
    Status.UNKNOWN: "warn",
}
SEVERITY_ROLE: Final[Mapping[Severity, Role]] = {
    Severity.INFO: "dim",
    Severity.WARNING: "warn",
    Severity.ERROR: "bad",
    Severity.CRITICAL: "bad",
}


class Cell(NamedTuple):
    """A piece of text and what it means."""

    text: str
    role: Role = ""


class Column(NamedTuple):
    """A table's column; the one with ``flex`` gives way when the terminal is narrow."""

    title: str
    right: bool = False
    flex: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """How text is drawn: with colours or without, with Unicode signs or ASCII only, and how wide."""

    colour: bool = False
    unicode: bool = True
    width: int = 80

    def paint(self, text: str, role: Role = "") -> str:
        """Return the text in the colour of its role."""
        if not self.unicode:
            text = text.translate(_ASCII)
        return f"\x1b[{_CODES[role]}m{text}\x1b[0m" if self.colour and role and text else text

    def line(self, *cells: Cell | str, indent: int = 0) -> str:
        """Return one line of these pieces, cut at the terminal's width."""
        left = self.width - indent
        parts = [" " * indent]
        for cell in cells:
            text, role = (cell, "") if isinstance(cell, str) else cell
            text = fit(clean(text), left)
            left -= columns(text)
            parts.append(self.paint(text, role))  # type: ignore[arg-type]  # mypy forgets the literal in the tuple
        return "".join(parts).rstrip()

    def table(self, heads: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, indent: int = 2) -> list[str]:
        """Return the rows under their titles; nothing for no rows."""
        if not rows:
            return []
        cells = [
            [Cell(clean(one)) if isinstance(one, str) else Cell(clean(one.text), one.role) for one in row]
            for row in rows
        ]
        widths = [max(columns(head.title), *(columns(row[at].text) for row in cells)) for at, head in enumerate(heads)]
        over = indent + sum(widths) + 2 * (len(heads) - 1) - self.width
        for at, head in enumerate(heads):
            if head.flex and over > 0:
                less = min(over, max(0, widths[at] - max(8, columns(head.title))))
                widths[at] -= less
                over -= less
        lines = [self._row([Cell(head.title, "dim") for head in heads], heads, widths, indent)]
        lines.extend(self._row(row, heads, widths, indent) for row in cells)
        return lines

    def _row(self, row: Sequence[Cell], heads: Sequence[Column], widths: Sequence[int], indent: int) -> str:
        left = self.width - indent
        parts: list[str] = []
        for at, (cell, head, width) in enumerate(zip(row, heads, widths, strict=True)):
            room = min(width, left)
            if room <= 0:
                break
            text = fit(cell.text, room)
            gap = " " * (room - columns(text))
            last = at == len(heads) - 1
            painted = self.paint(text, cell.role)
            parts.append(gap + painted if head.right else painted + ("" if last else gap))
            left -= room + 2
        return (" " * indent + "  ".join(parts)).rstrip()


def clean(text: str) -> str:
    """Return the text on one line and without anything that a terminal would act on."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char in "\t\n\r":
        return " "
    category = unicodedata.category(char)
    return "\ufffd" if category in {"Cc", "Cf", "Cs", "Zl", "Zp"} else char


def columns(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
        for char in text
    )


def fit(text: str, room: int) -> str:
    """Return the text cut to ``room`` columns, with ``…`` where something is missing."""
    if columns(text) <= room:
        return text
    if room <= 0:
        return ""
    kept, used = [], 0
    for char in text:
        used += columns(char)
        if used > room - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def sparkline(values: Sequence[float | None], room: int) -> str:
    """Return the newest ``room`` values as bars over zero; an unknown one is a gap."""
    shown = list(values)[-room:]
    top = max((value for value in shown if value is not None), default=0.0)
    if top <= 0:
        return "".join(" " if value is None else SPARKS[0] for value in shown).rjust(room)
    bars = (" " if value is None else SPARKS[min(7, max(0, int(value / top * 7.999)))] for value in shown)
    return "".join(bars).rjust(room)


# -- figures


def seconds(value: float | None) -> str:
    """Return a duration with three digits that matter: ``340 µs``, ``4.1 ms``, ``1.25 s``, ``130 s``."""
    if value is None:
        return UNKNOWN
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale or unit == "µs":
            return f"{_three(value / scale)} {unit}"
    raise AssertionError


def rate(value: float | None) -> str:
    """Return a rate a second."""
    return UNKNOWN if value is None else f"{_three(value)}/s"


def share(value: float | None) -> str:
    """Return a share of one as per cent."""
    return UNKNOWN if value is None else percent(value * 100)


def percent(value: float | None) -> str:
    """Return per cent; what is not zero is not shown as zero."""
    if value is None:
        return UNKNOWN
    return "<0.1 %" if 0 < value < 0.1 else f"{_three(value)} %"  # noqa: PLR2004 - one digit after the point is shown


def size(value: float | None) -> str:
    """Return bytes in binary units."""
    if value is None:
        return UNKNOWN
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            return f"{amount:.0f} B" if unit == "B" else f"{_three(amount)} {unit}"
        amount /= 1024
    raise AssertionError


def number(value: float | None) -> str:
    """Return a count with thin groups of three."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace(",", " ")


def _three(value: float) -> str:
    if abs(value) >= 99.95:  # noqa: PLR2004 - where rounding would make four digits
        return f"{value:.0f}"
    text = f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"  # noqa: PLR2004 - as above
    return text.rstrip("0").rstrip(".") if "." in text else text
