"""From an application's ``Settings`` class to its keys: names, variables, secrets, what is required when."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from roadworthy.config.keys import Key, Keys
from roadworthy.config.markers import Asset, Env, Folder, Group, Marker, RequiredIf
from roadworthy.types import Secret

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

SHELL: Final = frozenset({
    "PATH", "HOME", "USER", "SHELL", "PWD", "LANG", "TERM", "TMPDIR", "HOSTNAME", "LOGNAME",
    "DISPLAY", "EDITOR", "MAIL",
})  # fmt: skip
"""Variables that every process has: no setting takes them by its plain name."""

ADVICE: Final = frozenset({"workers", "port"})


@dataclass(frozen=True, slots=True)
class Declared:
    """The keys of a class, and what its markers say, by key."""

    keys: Keys
    marks: Mapping[str, tuple[Marker, ...]] = field(default_factory=dict)

    def of(self, kind: type[Any]) -> Iterable[tuple[str, Any]]:
        """Return the keys with a marker of this kind, and that marker."""
        for name, marks in self.marks.items():
            yield from ((name, one) for one in marks if isinstance(one, kind))


def declared(model: type[BaseModel], prefix: str) -> Declared:
    """Return what a class declares; sections are nested models."""
    keys: dict[str, Key] = {}
    marks: dict[str, tuple[Marker, ...]] = {}
    _walk(model, (), prefix, keys, marks)
    return Declared(Keys(prefix, keys), marks)


def _walk(
    model: type[BaseModel], path: tuple[str, ...], prefix: str, keys: dict[str, Key], marks: dict[str, Any]
) -> None:
    for name, info in model.model_fields.items():
        here = (*path, name)
        dotted = ".".join(here)
        below = _section(info.annotation)
        if below is not None:
            _walk(below, here, prefix, keys, marks)
            continue
        found = tuple(one for one in info.metadata if isinstance(one, Marker))
        marks[dotted] = found
        keys[dotted] = _key(here, info, prefix, found)


def _section(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _key(path: tuple[str, ...], info: FieldInfo, prefix: str, marks: tuple[Marker, ...]) -> Key:
    plain = "_".join(path).upper()
    further = [name for one in marks if isinstance(one, Env) for name in one.names]
    names = [f"{prefix}_{name}" for name in (plain, *further)] if prefix else []
    names += [name for name in (plain, *further) if name not in SHELL]
    group = next((one.prefix for one in marks if isinstance(one, Group)), "")
    default = info.default if info.default is not PydanticUndefined else None
    if info.default_factory is not None:
        default = info.get_default(call_default_factory=True, validated_data={})
    return Key(
        ".".join(path),
        _kind(info.annotation),
        None if isinstance(default, Secret) else default,
        info.description or "",
        variables=tuple(dict.fromkeys(names)),
        secret=Secret in _types(info.annotation),
        required=info.is_required(),
        advice=path[-1] in ADVICE,
        must="write" if any(isinstance(one, Folder) and one.write for one in marks) else "",
        group=group,
    )


def _types(annotation: Any) -> set[Any]:  # noqa: ANN401 - a type
    """Return a type, or all members of a union."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return {inner for one in typing.get_args(annotation) for inner in _types(one)}
    if typing.get_origin(annotation) is typing.Annotated:
        return _types(typing.get_args(annotation)[0])
    return {annotation}


def _kind(annotation: Any) -> str:  # noqa: ANN401 - a type
    """Return how a text in a variable is read for a type: parted by commas, as JSON, or as it stands."""
    found = _types(annotation)
    outer = {typing.get_origin(one) or one for one in found}
    if outer & {list, tuple, set, frozenset}:
        return "list"
    if dict in outer:
        return "table"
    return "boolean" if bool in found else "text"


__all__ = ["Asset", "Declared", "Folder", "RequiredIf", "declared"]
