"""Each source of settings read into a layer: what it has for which key, where exactly, and what is wrong in it.

A key that nobody knows is an error below our own root (``roadworthy.toml``, ``[tool.roadworthy]``) and a warning
elsewhere, always with the nearest name. A file that is not there is an empty layer. Nothing is checked here beyond that
a source can be read: whether a value fits is for the schema to say.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from roadworthy.config import dotenv, positions, regular
from roadworthy.config.origin import Candidate, Issue, Origin, Source, nearest
from roadworthy.errors import RoadworthyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from roadworthy.config.keys import Key, Keys
    from roadworthy.types import Secret

MOST_BYTES: Final = 1 << 20

OURS: Final = frozenset({
    "APP", "ARENA_DIR", "CI", "CONFIG", "ENABLED", "GENERATION", "HOME", "INJECT", "KEEPER_FD", "KEEPER_PID", "LISTEN",
    "PURE", "RUN_DIR", "SLOT",
})  # fmt: skip
"""Variables with our prefix that are no settings: they tell processes where they are."""


@dataclass(slots=True)
class Layer:
    """One source: candidates by key, what is wrong in it, and whether it was there at all."""

    source: Source
    entries: dict[str, Candidate] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    found: str = ""


def from_text(kind: str, text: str) -> object:
    """Return what a text in a variable or an option means: lists and tables are JSON, or parted by commas.

    Raises ``ValueError`` for JSON that is none.
    """
    stripped = text.strip()
    if kind in {"list", "paths", "rules", "table", "json"} and stripped[:1] in {"[", "{"}:
        return json.loads(stripped)
    if kind in {"list", "paths"}:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "table":
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        return {name.strip(): value.strip() for name, _, value in pairs}
    return text


def with_unit(key: Key, given: str) -> str:
    """Return a text from a source that speaks of durations, with the unit that a plain number has there."""
    plain = given.strip().replace(".", "", 1).isdecimal()
    return f"{given.strip()}s" if plain and key.kind == "milliseconds" else given


def of_options(keys: Keys, given: Mapping[str, object], *, source: Source = "flag") -> Layer:
    """Return the layer of values given by hand: by key; those of ``--set KEY=VALUE`` too, whose origin that is."""
    layer = Layer(source)
    for name, value in given.items():
        key = keys.by_name.get(keys.canonical(name) or "")
        where = f"--set {name}" if source == "flag" else f"set {name}"
        if key is None:
            layer.issues.append(_unknown(keys, name, Origin(source, where), error=True))
            continue
        _put(layer, key, value, Origin(source, where))
    return layer


def _put(layer: Layer, key: Key, value: object, origin: Origin) -> None:
    try:
        made = from_text(key.kind, value) if isinstance(value, str) else value
    except ValueError as error:
        layer.issues.append(Issue(key.name, f"is no JSON: {error}", origin))
        return
    layer.entries[key.name] = Candidate(made, origin)


def of_environment(keys: Keys, environ: Mapping[str, str], *, strays: bool = True) -> Layer:
    """Return what the process environment has; an empty variable counts as not set.

    With ``strays``, variables that have the prefix and are no setting are warned about.
    """
    layer = Layer("environment")
    _variables(
        layer, keys, {name: (value, f"environment variable {name}") for name, value in environ.items()}, strays=strays
    )
    return layer


def of_dotenv(keys: Keys, path: Path, *, shown: str, strays: bool = True) -> Layer:
    """Return what a ``.env`` file has, by the names of variables."""
    layer = Layer("dotenv")
    text = _read(layer, path, shown)
    if text is None:
        return layer
    parsed = dotenv.parse(text)
    layer.issues += [Issue("", what, Origin("dotenv", f"{shown}:{line}")) for line, what in parsed.errors]
    rows = {name: (entry.value, f"{shown}:{entry.line} ({name})") for name, entry in parsed.entries.items()}
    _variables(layer, keys, rows, strays=strays)
    return layer


def _variables(layer: Layer, keys: Keys, rows: Mapping[str, tuple[str, str]], *, strays: bool) -> None:
    begin = f"{keys.prefix}_" if keys.prefix else ""
    known: set[str] = set()
    for key in keys.by_name.values():
        names = (*key.variables, key.name) if "." in key.name else key.variables
        known.update(names)
        found = [name for name in names if rows.get(name, ("", ""))[0] != ""]
        if key.group and not found:
            _group(layer, key, rows)
        if not found:
            continue
        first = found[0]
        value, where = rows[first]
        for other in found[1:]:
            if rows[other][0] != value:
                text = f"{first} and {other} have different values; {first} counts"
                layer.issues.append(Issue(key.name, text, Origin(layer.source, where), error=False))
        spoken = with_unit(key, value) if first in key.durations else value
        _put(layer, key, spoken, Origin(layer.source, where))
    for name in rows if strays else ():
        if begin and name.startswith(begin) and name not in known and name.removeprefix(begin) not in OURS:
            like = nearest(name, [one for one in known if one.startswith(begin)])
            hint = f"Did you mean {like}?" if like else ""
            origin = Origin(layer.source, rows[name][1])
            layer.issues.append(Issue("", f"{name} is no setting", origin, hint, error=False))


def _group(layer: Layer, key: Key, rows: Mapping[str, tuple[str, str]]) -> None:
    """Gather the variables that begin with a group's prefix into one table, by the rest of their names."""
    own = sorted(name for name in rows if name.startswith(key.group) and name != key.group and rows[name][0])
    if own:
        made = {name.removeprefix(key.group).lower(): rows[name][0] for name in own}
        where = rows[own[0]][1] if len(own) == 1 else f"{len(own)} variables {key.group}*"
        layer.entries[key.name] = Candidate(made, Origin(layer.source, where))


def of_secrets(keys: Keys, secret_of: Callable[[str], Secret | None] | None) -> Layer:
    """Return what the secrets backend has; it is asked for secret keys alone, by the names of their variables."""
    layer = Layer("secrets")
    if secret_of is None:
        return layer
    for key in keys.by_name.values():
        if not key.secret:
            continue
        for name in key.variables:
            try:
                secret = secret_of(name)
            except RoadworthyError as error:
                text = ". ".join(part.rstrip(".") for part in (error.what, error.why) if part)
                layer.issues.append(Issue(key.name, text, Origin("secrets", f"secret {name}"), error.hint))
                return layer  # each further question could take as long, and be answered in the same way
            if secret is not None:
                layer.entries[key.name] = Candidate(secret, Origin("secrets", f"secret {name}"))
                break
    return layer


def of_toml(
    keys: Keys, path: Path, *, shown: str, below: tuple[str, ...] = (), strict: bool = True, leave: str = "app"
) -> Layer:
    """Return what a TOML file has, below ``below`` (``[tool.roadworthy]`` of ``pyproject.toml``).

    The section ``leave`` is somebody else's: ``[app]`` is the application's own.
    """
    layer = Layer("pyproject" if below[:1] == ("tool",) else "toml")
    text = _read(layer, path, shown)
    if text is None:
        return layer
    try:
        tree: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        layer.issues.append(Issue("", f"{shown} is no TOML: {error}", Origin(layer.source, shown)))
        return layer
    for name in below:
        tree = tree.get(name) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        own = {name: value for name, value in tree.items() if name != leave}
        _walk(_Walk(layer, keys, shown, positions.toml_lines(text), below, strict), own, ())
    elif tree is not None:
        layer.issues.append(Issue(".".join(below), "is no table", Origin(layer.source, shown)))
    return layer


def of_json(keys: Keys, path: Path, *, shown: str, only: tuple[str, ...] = (), strict: bool = False) -> Layer:
    """Return what a JSON file has; with ``only`` no more than what stands below these names."""
    layer = Layer("json")
    text = _read(layer, path, shown)
    if text is None:
        return layer
    try:
        tree = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        layer.issues.append(Issue("", f"{shown} is no JSON: {error}", Origin("json", shown)))
        return layer
    if not isinstance(tree, dict):
        layer.issues.append(Issue("", f"{shown} is no JSON object", Origin("json", shown)))
        return layer
    walk = _Walk(layer, keys, shown, positions.json_lines(text), (), strict)
    for name in tree.keys() - set(only) if only else ():
        layer.issues.append(Issue(name, "has no meaning here", walk.origin((name,)), error=False))
    _walk(walk, {name: value for name, value in tree.items() if not only or name in only}, ())
    return layer


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        message = f"{twice!r} comes twice in one object"
        raise ValueError(message)
    return made


@dataclass(frozen=True, slots=True)
class _Walk:
    layer: Layer
    keys: Keys
    shown: str
    lines: Mapping[positions.Path, int]
    below: tuple[str, ...]
    strict: bool

    def origin(self, path: tuple[str, ...]) -> Origin:
        line = self.lines.get((*self.below, *path))
        return Origin(self.layer.source, self.shown if line is None else f"{self.shown}:{line}")


def _walk(walk: _Walk, tree: Mapping[str, Any], path: tuple[str, ...]) -> None:
    for name, value in tree.items():
        here = (*path, name)
        dotted = ".".join(here)
        canonical = walk.keys.canonical(dotted)
        if canonical is not None:
            _take(walk, canonical, dotted, value, walk.origin(here))
        elif isinstance(value, dict) and walk.keys.is_section(dotted):
            _walk(walk, value, here)
        elif walk.keys.is_section(dotted):
            walk.layer.issues.append(Issue(dotted, "is a section, not a value", walk.origin(here)))
        else:
            walk.layer.issues.append(_unknown(walk.keys, dotted, walk.origin(here), error=walk.strict))


def _take(walk: _Walk, canonical: str, dotted: str, value: object, origin: Origin) -> None:
    before = walk.layer.entries.get(canonical)
    key = walk.keys.by_name[canonical]
    if before is None:
        walk.layer.entries[canonical] = Candidate(value, origin)
    elif key.kind == "rules" and isinstance(value, list) and isinstance(before.value, list):
        walk.layer.entries[canonical] = Candidate([*before.value, *value], before.origin)
    else:
        own, other = (Candidate(value, origin), before) if dotted == canonical else (before, Candidate(value, origin))
        walk.layer.entries[canonical] = own
        if own.value != other.value:
            text = f"{own.origin.where} and {other.origin.where} have different values; {own.origin.where} counts"
            walk.layer.issues.append(Issue(canonical, text, own.origin, error=False))


def _unknown(keys: Keys, name: str, origin: Origin, *, error: bool) -> Issue:
    like = nearest(name, keys.known())
    return Issue(name, "is no setting", origin, f"Did you mean {like}?" if like else "", error=error)


def of_profile(keys: Keys, label: str, values: Mapping[str, str], *, chosen: bool) -> Layer:
    """Return what an environment profile has, by names of variables; advice is taken only from a ``chosen`` one."""
    layer = Layer("profile")
    for key in keys.by_name.values():
        name = next((one for one in key.variables if one in values), None)
        if name is not None and (chosen or not key.advice):
            _put(layer, key, values[name], Origin("profile", f"profile {label} ({name})"))
    return layer


def _read(layer: Layer, path: Path, shown: str) -> str | None:
    """Return a file's text, None when it is not there or cannot be read (which is then an issue)."""
    try:
        data = regular.read(path, MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        layer.issues.append(Issue("", f"{shown} cannot be read: {error.strerror}", Origin(layer.source, shown)))
        return None
    layer.found = shown
    if len(data) > MOST_BYTES:
        layer.issues.append(Issue("", f"{shown} is larger than 1 MiB", Origin(layer.source, shown)))
        return None
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        layer.issues.append(Issue("", "is no UTF-8", Origin(layer.source, f"{shown}:{line}")))
        return None
