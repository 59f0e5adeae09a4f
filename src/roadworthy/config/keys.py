"""What settings there are: their names, kinds and sources. Plain values; standard library only.

roadworthy's own come from ``reference.toml`` (:mod:`.reference`), an application's from its ``Settings`` class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

STAGES: Final = ("development", "testing", "staging", "production")

PLACES: Final[Mapping[str, str]] = {
    "local": "development",
    "codespaces": "development",
    "container": "production",
    "cloud": "production",
    "kubernetes": "production",
}
"""Kinds of place that may be named instead of a stage, and the stage that they mean (CONFLICTS C-05)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its dotted name, its kind, and the names under which sources may have it.

    ``variables`` are environment variables, the prefixed first; ``also`` other dotted names in files. ``advice`` is
    taken from a profile only when the environment was named by hand; ``durations`` are variables whose plain numbers
    are seconds, whatever the key's own unit is; ``group`` is the prefix of variables that make up a table.
    """

    name: str
    kind: str = "text"
    default: object = None
    doc: str = ""
    variables: tuple[str, ...] = ()
    flag: str = ""
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    fold: bool = False
    least: float | None = None
    most: float | None = None
    secret: bool = False
    required: bool = False
    live: bool = False
    advice: bool = False
    unused: bool = False
    durations: tuple[str, ...] = ()
    must: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """All settings of one schema by name; ``prefix`` is that of its environment variables."""

    prefix: str
    by_name: Mapping[str, Key]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names of whole sections that are taken for another one, such as ``alerts`` for ``monitoring.alerts``."""

    def canonical(self, name: str) -> str | None:
        """Return the key's name that ``name`` means, None for a name that is none."""
        if name in self.by_name:
            return name
        for old, new in self.aliases.items():
            if name == old or name.startswith(f"{old}."):
                moved = new + name[len(old) :]
                return moved if moved in self.by_name else None
        return next((key.name for key in self.by_name.values() if name in key.also), None)

    def is_section(self, name: str) -> bool:
        """Return whether keys stand below ``name``."""
        begin = f"{self.moved(name)}."
        also = (one for key in self.by_name.values() for one in key.also)
        return any(one.startswith((begin, f"{name}.")) for one in (*self.by_name, *also))

    def moved(self, name: str) -> str:
        """Return ``name`` with an alias of its section replaced."""
        for old, new in self.aliases.items():
            if name == old or name.startswith(f"{old}."):
                return new + name[len(old) :]
        return name

    def known(self) -> Sequence[str]:
        """Return all names of keys."""
        return tuple(self.by_name)
