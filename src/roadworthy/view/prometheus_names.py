"""What a metric is called in Prometheus: the OpenTelemetry translation rules (CONFLICTS C-73). Pure.

A name is stored as its caller gave it. Here characters that Prometheus does not know become ``_``, the unit is spelled
out and appended, counters end in ``_total``. Two names that become the same one are told apart and reported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from roadworthy.types import Kind

_WORDS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "kBy": "kilobytes", "MBy": "megabytes", "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts",
    "g": "grams", "Cel": "celsius", "Hz": "hertz", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day"}
_RUNS = re.compile(r"[^a-zA-Z0-9_:]+|_{2,}")
_LABEL_RUNS = re.compile(r"[^a-zA-Z0-9_]")
_NOTE = re.compile(r"\{[^}]*\}")

RESERVED_LABELS = {Kind.HISTOGRAM: frozenset({"le"})}


def unit_word(unit: str, kind: Kind) -> str:
    """Return how a unit ends a name: ``s``: ``seconds``; ``By/s``: ``bytes_per_second``; a gauge's ``1``: ``ratio``."""
    unit = _NOTE.sub("", unit).strip()
    if unit == "1":
        return "ratio" if kind is Kind.GAUGE else ""
    above, slash, below = unit.partition("/")
    words = [_WORDS.get(above, above)] if above else []
    if slash and below:
        words.append(f"per_{_PER.get(below, below)}")
    return _RUNS.sub("_", "_".join(words)).strip("_")


def family_name(name: str, unit: str, kind: Kind, prefix: str = "") -> str:
    """Return the family's name without ``_total``; never empty and never beginning with a digit."""
    family = _RUNS.sub("_", f"{prefix}_{name}" if prefix else name).strip("_") or "unnamed"
    if kind is Kind.COUNTER:
        family = family.removesuffix("_total") or "total"
    word = unit_word(unit, kind)
    if word and not f"_{family}".endswith(f"_{word}"):
        family = f"{family}_{word}"
    return f"_{family}" if family[0].isdigit() else family


def label_name(name: str, kind: Kind = Kind.GAUGE) -> str:
    """Return the label's name; what Prometheus keeps for itself is prefixed ``exported_``."""
    label = _LABEL_RUNS.sub("_", name) or "_"
    if label[0].isdigit():
        label = f"key_{label}"
    if label.startswith("__"):
        label = f"key{label}"
    return f"exported_{label}" if label in RESERVED_LABELS.get(kind, ()) else label


def samples_of(family: str, kind: Kind) -> tuple[str, ...]:
    """Return every sample and family name that a family of this kind occupies."""
    endings = {Kind.COUNTER: ("", "_total"), Kind.HISTOGRAM: ("", "_bucket", "_count", "_sum"), Kind.GAUGE: ("",)}[kind]
    return tuple(family + ending for ending in endings)


def assign(
    wanted: Iterable[tuple[str, str, Kind]], prefix: str = ""
) -> tuple[dict[tuple[str, str, Kind], str], list[str]]:
    """Return a family name for each (name, unit, kind), and a sentence for each that had to be told apart from another.

    The alphabetically first keeps the plain name; the others get six hex digits of their own name's hash.
    """
    taken: dict[str, str] = {}
    names: dict[tuple[str, str, Kind], str] = {}
    findings: list[str] = []
    for key in sorted(set(wanted)):
        name, unit, kind = key
        family = family_name(name, unit, kind, prefix)
        rival = next((taken[sample] for sample in samples_of(family, kind) if sample in taken), None)
        if rival is not None:
            plain = family
            family = f"{family}_{hashlib.sha256(f'{name} {unit} {kind}'.encode()).hexdigest()[:6]}"
            findings.append(
                f"metric {name!r} ({kind.value}) would be {plain} like {rival!r}; it is exported as {family}"
            )
        taken.update(dict.fromkeys(samples_of(family, kind), name))
        names[key] = family
    return names, findings
