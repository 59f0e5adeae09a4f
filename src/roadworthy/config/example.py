"""Writes what people begin with: a commented ``roadworthy.toml`` and a complete ``.env.example``, from the schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from roadworthy.config import dotenv
from roadworthy.config.reference import text

if TYPE_CHECKING:
    from roadworthy.config.keys import Key, Keys

WIDTH: Final = 100
_HEAD: Final = """\
# Settings of roadworthy for this application. What is commented out is the default. Which value is in force, and where
# it comes from: roadworthy config show --origin. What is not written here may be, see: roadworthy config why KEY
"""


def toml_example() -> str:
    """Return a ``roadworthy.toml`` in which every setting stands, commented out, with what it does."""
    _, _, body = text().partition("\n\n")
    lines = []
    for line in body.splitlines():
        if line.startswith("#:"):
            continue
        lines.append(f"# {line}" if line and not line.startswith(("#", "[")) else line)
    return f"{_HEAD}\n" + "\n".join(lines) + "\n"


def env_example(keys: Keys, title: str = "roadworthy") -> str:
    """Return a ``.env.example`` with every variable of these settings; those that are required are not commented."""
    lines = [f"# Variables of {title}. Copy this file to .env; what is commented out is the default."]
    for key in keys.by_name.values():
        if key.variables or key.group:
            lines += ["", *_entry(key)]
    return "\n".join(lines) + "\n"


def _entry(key: Key) -> Iterable[str]:
    name = f"{key.group}NAME" if key.group else key.variables[-1]
    others = [one for one in key.variables if one != name] if not key.group else []
    also = f" Also {', '.join(others)}." if others else ""
    kind = "" if key.kind == "text" else f" ({_described(key)})"
    yield from textwrap.wrap(f"{key.doc or key.name}{kind}{also}", WIDTH, initial_indent="# ", subsequent_indent="# ")
    value = "" if key.secret or key.default is None else dotenv.quoted(written(key.default))
    yield f"{name}={value}" if key.required else f"# {name}={value}"


def _described(key: Key) -> str:
    if key.choices:
        return " | ".join(choice or '""' for choice in key.choices)
    bounds = [
        f"{word} {bound:g}" for word, bound in (("at least", key.least), ("at most", key.most)) if bound is not None
    ]
    return ", ".join([key.kind, *bounds])


def written(value: object) -> str:
    """Return a value as a variable has it: lists parted by commas, tables as ``name=value``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(written(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    return str(value)
