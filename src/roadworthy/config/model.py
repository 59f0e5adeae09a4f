"""The typed schema: a pydantic model made from the keys, and what it says of a set of candidates."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from roadworthy.config.kinds import annotation
from roadworthy.config.origin import DEFAULT, Candidate, Issue
from roadworthy.config.reference import reference
from roadworthy.types import Secret

if TYPE_CHECKING:
    from roadworthy.config.keys import Key, Keys


@functools.cache
def model() -> type[BaseModel]:
    """Return the model of roadworthy's own settings; each key that has no default may be left out."""
    return _section(reference(), "")


def _section(keys: Keys, path: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    begin = f"{path}." if path else ""
    for name, key in keys.by_name.items():
        if not name.startswith(begin):
            continue
        first, _, rest = name.removeprefix(begin).partition(".")
        if rest:
            if first not in fields:
                below = _section(keys, begin + first)
                fields[first] = (below, Field(default_factory=below))
        else:
            fields[first] = _field(key)
    title = "".join(part.title().replace("_", "") for part in path.split(".")) or "Settings"
    config = ConfigDict(extra="forbid", validate_default=True, frozen=True, hide_input_in_errors=True)
    made: type[BaseModel] = create_model(title, __config__=config, **fields)
    return made


def _field(key: Key) -> tuple[Any, Any]:
    made = annotation(key)
    if key.default is None:
        return made | None, Field(default=None, description=key.doc)
    return made, Field(default=key.default, description=key.doc)


def checked(chosen: Mapping[str, Candidate]) -> tuple[dict[str, Any], list[Issue]]:
    """Return all values by key, and what is wrong; a value that is wrong is left out, its default is not put there."""
    tree: dict[str, Any] = {}
    for name, candidate in chosen.items():
        *sections, last = name.split(".")
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = candidate.value.reveal() if isinstance(candidate.value, Secret) else candidate.value
    keys = reference()
    issues: list[Issue] = []
    try:
        made = model().model_validate(tree)
    except ValidationError as error:
        issues = issues_of(error, keys, chosen)
        return {}, issues
    return {name: value_at(made, name) for name in keys.by_name}, issues


def issues_of(error: ValidationError, keys: Keys, chosen: Mapping[str, Candidate]) -> list[Issue]:
    """Return what pydantic found as issues; the values of secrets are not in them."""
    found: dict[str, Issue] = {}
    for one in error.errors(include_url=False, include_context=False):
        name, inside = _key_of([str(part) for part in one["loc"]], keys)
        candidate = chosen.get(name)
        key = keys.by_name.get(name)
        given = ""
        if candidate is not None and key is not None and not key.secret and not isinstance(candidate.value, Secret):
            given = f"{_brief(candidate.value)} is not accepted: "
        where = f" at {inside}" if inside else ""
        text = f"{given}{_clause(one['msg'])}{where}" if candidate is not None else _clause(one["msg"])
        origin = candidate.origin if candidate is not None else DEFAULT
        found.setdefault(name, Issue(name, text, origin))
    return list(found.values())


def _key_of(parts: list[str], keys: Keys) -> tuple[str, str]:
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in keys.by_name:
            return name, ".".join(parts[length:])
    return ".".join(parts), ""


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line


def _clause(message: str) -> str:
    text = message.removeprefix("Value error, ").rstrip(".")
    return text[:1].lower() + text[1:]


def value_at(made: object, name: str) -> Any:  # noqa: ANN401 - what the key's kind makes it
    """Return the value of a key in a model with sections."""
    for part in name.split("."):
        made = getattr(made, part)
    return made
