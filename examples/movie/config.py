"""Settings of the film: defaults, then `config/<stage>.json` or `.toml`, then MOVIE_* variables; the later wins.

Every rejected value is named together with where it came from and what would have been right.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = ("development", "testing", "staging", "production")
_FOLDER = Path(__file__).with_name("config")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class ConfigError(ValueError):
    """A setting cannot be used; the message names it, its value, its origin and what is allowed."""


def _setting(section: str, default: float | str, *, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a dataclass field
    """Declare a setting: `allowed` is (least, most) for a number, the values for a text, () for any text."""
    return field(default=default, metadata={"section": section, "allowed": allowed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings, checked. Files group them by section: `{"performance": {"target_fps": 30}}`."""

    stage: str = _setting("", "development", allowed=STAGES)
    target_fps: int = _setting("performance", 60, allowed=(1, 1000))
    turn_seconds: float = _setting("performance", 0.25, allowed=(0.01, 10.0))
    seed: int = _setting("world", 7, allowed=(0, 2**31))
    columns: int = _setting("world", 80, allowed=(32, 200))
    rows: int = _setting("world", 40, allowed=(16, 120))
    animals: int = _setting("world", 12, allowed=(0, 500))
    log_level: str = _setting("logging", "INFO", allowed=_LEVELS)
    monitoring: bool = _setting("monitoring", True, allowed=())  # noqa: FBT003 - a default, not an argument
    out: str = _setting("output", "", allowed=())


def load(environ: Mapping[str, str], file: Path | None = None) -> Config:
    """Return the settings for the stage in MOVIE_STAGE (or MOVIE_ENV), read from `file` or that stage's own file.

    A stage without a file runs on the defaults. Raises ConfigError for everything else that is not right.
    """
    known = {spec.name: spec for spec in fields(Config)}
    stage = environ.get("MOVIE_STAGE") or environ.get("MOVIE_ENV") or "development"
    given: dict[str, tuple[object, str]] = {"stage": (stage, "MOVIE_STAGE")}
    if file is None:
        candidates = (_FOLDER / f"{stage}.json", _FOLDER / f"{stage}.toml")
        file = next((path for path in candidates if path.is_file()), None)
    if file is not None:
        given |= {name: (value, str(file)) for name, value in _read(file, known).items()}
    for variable, text in environ.items():
        name = variable.removeprefix("MOVIE_").lower()
        if variable.startswith("MOVIE_") and name != "env":
            _must_be_known(name, list(known), variable)
            given[name] = (text, variable)
    values: dict[str, Any] = {name: _checked(known[name], value, origin) for name, (value, origin) in given.items()}
    return Config(**values)


def _read(file: Path, known: Mapping[str, Field[Any]]) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file}: cannot be read as settings: {exc}") from exc
    if not isinstance(document, dict) or not all(isinstance(part, dict) for part in document.values()):
        raise ConfigError(f"{file}: settings are grouped by section, as in {{'performance': {{'target_fps': 60}}}}")
    qualified = {f"{spec.metadata['section']}.{name}": name for name, spec in known.items() if name != "stage"}
    found: dict[str, object] = {}
    for section, part in document.items():
        for key, value in part.items():
            _must_be_known(f"{section}.{key}", list(qualified), str(file))
            found[qualified[f"{section}.{key}"]] = value
    return found


def _must_be_known(name: str, known: list[str], origin: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        raise ConfigError(f"{origin}: there is no setting {name}; {hint}")


def _checked(spec: Field[Any], value: object, origin: str) -> float | str:
    """Return the value as the type of its default, within what is allowed. Raises ConfigError."""
    allowed, default = spec.metadata["allowed"], cast("float | str", spec.default)
    result: float | str | None
    if isinstance(default, bool):
        truth = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        result = truth.get(str(value).lower())
        wanted = "true or false"
    elif isinstance(default, str):
        text = str(value).upper() if allowed is _LEVELS else str(value)
        result = text if not allowed or text in allowed else None
        wanted = f"one of {', '.join(allowed)}"
    else:
        result = _number(type(default), value, *allowed)
        wanted = f"a {'whole ' * isinstance(default, int)}number from {allowed[0]} to {allowed[1]}"
    if result is None:
        raise ConfigError(f"{origin}: {spec.name} = {value!r} is not {wanted}")
    return result


def _number(kind: type[float], value: object, least: float, most: float) -> float | None:
    try:
        number = kind(str(value))
    except ValueError:
        return None
    return number if least <= number <= most else None
