"""Reads ``reference.toml``: the one source of defaults, schema and documentation of roadworthy's own settings."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any, Final

from roadworthy.config.keys import Key, Keys

PREFIX: Final = "ROADWORTHY"
FILE: Final = "reference.toml"
ALIASES: Final = {"alerts": "monitoring.alerts"}
"""CONFLICTS C-55: alert rules may stand at the top."""


@functools.cache
def text() -> str:
    """Return the file as it stands."""
    return Path(__file__).with_name(FILE).read_text("utf-8")


@functools.cache
def reference() -> Keys:
    """Return roadworthy's own settings."""
    defaults = tomllib.loads(text())
    found: dict[str, Key] = {}
    section: tuple[str, ...] = ()
    doc: list[str] = []
    told: list[str] = []
    for line in text().splitlines():
        if line.startswith("["):
            section = tuple(line.strip("[]").split("."))
        elif line.startswith("#:"):
            told.append(line[2:].strip())
        elif not line.strip():
            doc, told = [], []
        elif told:
            name = line.removeprefix("# ").partition("=")[0].strip()
            key = _key(".".join((*section, name)), " ".join(doc), told, _default(defaults, (*section, name)))
            found[key.name] = key
            doc, told = [], []
        elif line.startswith("#"):
            doc.append(line.removeprefix("#").strip())
    return Keys(PREFIX, found, ALIASES)


def _default(defaults: dict[str, Any], path: tuple[str, ...]) -> object:
    at: Any = defaults
    for name in path:
        if not isinstance(at, dict) or name not in at:
            return None
        at = at[name]
    return at


def _key(name: str, doc: str, told: list[str], default: object) -> Key:
    raw: dict[str, Any] = tomllib.loads(f"key = {{ {', '.join(told)} }}")["key"]
    own = raw.pop("variable", f"{PREFIX}_{name.upper().replace('.', '_')}")
    durations = tuple(raw.pop("durations", ()))
    return Key(
        name,
        raw.pop("type"),
        default,
        doc,
        variables=tuple(dict.fromkeys((own, *durations, *raw.pop("env", ())))),
        also=tuple(raw.pop("keys", ())),
        choices=tuple(raw.pop("choices", ())),
        durations=durations,
        **raw,
    )
