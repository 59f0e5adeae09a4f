"""From a kind in ``reference.toml`` to the pydantic type that checks it; values and texts are taken alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from roadworthy.config import duration
from roadworthy.config.keys import PLACES, Key
from roadworthy.config.layers import from_text

LONGEST: Final = 4096
_NO_NUMBER: Final = "a number is wanted, not true or false"


class Rule(BaseModel):
    """An alert rule (CFG-28)."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    condition: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    severity: Literal["info", "warning", "error", "critical"] = "warning"
    cooldown_minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 15.0


def annotation(key: Key) -> Any:  # noqa: ANN401 - a type for pydantic
    """Return the type of a key's values."""
    return _KINDS[key.kind](key)


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(_NO_NUMBER)  # noqa: TRY004 - what pydantic turns into its own error
    return value


def _range(key: Key) -> Any:  # noqa: ANN401 - pydantic's
    return Field(ge=key.least, le=key.most, allow_inf_nan=False) if key.kind != "integer" else Field(
        ge=key.least if key.least is None else int(key.least), le=key.most if key.most is None else int(key.most)
    )  # fmt: skip


def _fine_text(value: str) -> str:
    if "\0" in value or len(value) > LONGEST:
        message = f"a text has at most {LONGEST} characters, none of them NUL"
        raise ValueError(message)
    return value


def _plain_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_TEXT: Final = Annotated[
    str, BeforeValidator(_plain_text), StringConstraints(strip_whitespace=True, max_length=LONGEST)
]


def _text(_key: Key) -> Any:  # noqa: ANN401 - as above
    return Annotated[_TEXT, BeforeValidator(lambda value: _fine_text(value) if isinstance(value, str) else value)]


def _choice(key: Key) -> Any:  # noqa: ANN401 - as above
    def fold(value: object) -> object:
        return value.strip().lower() if isinstance(value, str) and key.fold else value

    return Annotated[Literal[key.choices], BeforeValidator(fold)]


def _stage(key: Key) -> Any:  # noqa: ANN401 - as above
    def fold(value: object) -> object:
        word = value.strip().lower() if isinstance(value, str) else value
        return PLACES.get(word, word) if isinstance(word, str) else word

    return Annotated[Literal[key.choices], BeforeValidator(fold)]


def _duration(key: Key) -> Any:  # noqa: ANN401 - as above
    return Annotated[float, BeforeValidator(duration.seconds_in), Field(ge=key.least, le=key.most)]


def _milliseconds(value: object) -> object:
    """Return milliseconds; a number with a unit is converted."""
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
        return round(duration.seconds_in(value) * 1000, 6)
    return _no_flag(value)


def _strings(key: Key) -> Any:  # noqa: ANN401 - as above
    def fold(value: object) -> object:
        return from_text(key.kind, value) if isinstance(value, str) else value

    text: Any = _text(key)
    return Annotated[tuple[text, ...], BeforeValidator(fold)]


def _table(key: Key) -> Any:  # noqa: ANN401 - as above
    text: Any = _text(key)
    return dict[text, text]


def _path(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


_KINDS: Final[dict[str, Callable[[Key], Any]]] = {
    "text": _text,
    "path": lambda key: Annotated[_text(key), BeforeValidator(_path)],
    "integer": lambda key: Annotated[int, BeforeValidator(_no_flag), _range(key)],
    "number": lambda key: Annotated[float, BeforeValidator(_no_flag), _range(key)],
    "boolean": lambda _key: bool,
    "choice": _choice,
    "stage": _stage,
    "duration": _duration,
    "milliseconds": lambda key: Annotated[float, BeforeValidator(_milliseconds), _range(key)],
    "list": _strings,
    "paths": _strings,
    "table": _table,
    "rules": lambda _key: tuple[Rule, ...],
}
