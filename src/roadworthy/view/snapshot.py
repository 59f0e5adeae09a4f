"""The JSON form of a Snapshot: one documented, versioned schema for ``/api/snapshot`` and ``roadworthy status --json``.

The schema follows from the dataclasses in :mod:`roadworthy.types` and from nothing else: :func:`schema` writes it down
(``docs/snapshot.schema.json``), :func:`to_json` and :func:`from_json` follow it. Machine output is a promise: fields
are added, a change that would break a reader raises ``SNAPSHOT_SCHEMA``.

Unknown is ``null``. A figure that is no number (NaN, infinity) was not measured, so it is ``null`` too.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from roadworthy.arena.layout import quantile
from roadworthy.types import SNAPSHOT_SCHEMA, Histogram, Labels, Snapshot

Encoder = Callable[[Any], Any]

SCHEMA_URI = "https://json-schema.org/draft/2020-12/schema"

COMPACT_LEAVES_OUT = frozenset({"series", "events"})
"""Fields that the live stream does not repeat every second: metrics are in the history, events come one by one."""

_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def to_json(snapshot: Snapshot, *, compact: bool = False) -> dict[str, Any]:
    """Return the snapshot as plain JSON values; ``compact`` leaves out :data:`COMPACT_LEAVES_OUT`."""
    skipped = COMPACT_LEAVES_OUT if compact else frozenset()
    encoded: dict[str, Any] = {"schema": snapshot.schema}
    for name, encode in _encoders(Snapshot):
        if name not in skipped:
            value = getattr(snapshot, name)
            encoded[name] = value if encode is None else encode(value)
    return encoded


def dumps(snapshot: Snapshot, *, compact: bool = False, indent: int | None = None) -> str:
    """Return :func:`to_json` as text, without blanks unless ``indent`` is given."""
    separators = (",", ":") if indent is None else None
    document = to_json(snapshot, compact=compact)
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent)


def plain(value: Any) -> Any:  # noqa: ANN401 - any of the vocabulary's dataclasses, or tuples of them
    """Return one value of the vocabulary, or a sequence of them, as plain JSON values."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    encode = _encoder(typing.cast("Hashable", type(value)))
    return value if encode is None else encode(value)


def from_json(document: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that :func:`to_json` was given; unknown fields are passed over.

    Raises ``ValueError`` when the document has another schema version or is no snapshot.
    """
    if document.get("schema") != SNAPSHOT_SCHEMA:
        message = f"the snapshot has schema {document.get('schema')!r}, this version reads {SNAPSHOT_SCHEMA}"
        raise ValueError(message)
    try:
        return typing.cast("Snapshot", _decode(Snapshot, document))
    except (TypeError, AttributeError, KeyError) as error:
        message = f"this is no snapshot: {error}"
        raise ValueError(message) from error


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of :func:`to_json`."""
    definitions: dict[str, Any] = {}
    root = _describe(Snapshot, definitions)
    body = definitions.pop("Snapshot")
    body["properties"] = {**body["properties"], "schema": {"const": SNAPSHOT_SCHEMA}}
    body["required"] = ["schema", *(name for name in body["required"] if name not in COMPACT_LEAVES_OUT | {"schema"})]
    assert root == {"$ref": "#/$defs/Snapshot"}  # noqa: S101 - the shape this function itself just made
    return {
        "$schema": SCHEMA_URI,
        "title": "roadworthy snapshot",
        "description": (
            "Everything known about one application at one instant. Times ending in _ns are nanoseconds of the "
            "monotonic clock, 'at', 'since', 'started', 'first', 'last' are seconds since the epoch, durations are "
            "seconds. null: not measured. "
            "The compact form of the live stream leaves out series and events."
        ),
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


# -- encoding


def _finite(value: float | None) -> float | None:
    return value if value is None or value - value == 0 else None


def _each(encode: Encoder) -> Encoder:
    return lambda value: [encode(item) for item in value]


def _or_null(encode: Encoder) -> Encoder:
    return lambda value: None if value is None else encode(value)


def _histogram(value: Histogram) -> dict[str, Any]:
    largest = _finite(value.max)
    encoded: dict[str, Any] = {
        "buckets": {str(index): count for index, count in value.buckets.items()},
        "sum": _finite(value.sum),
        "max": largest,
        "scale": value.scale,
        "count": sum(value.buckets.values()),
    }
    for name, q in _QUANTILES:
        at = quantile(value.buckets, q, largest)
        encoded[name] = None if at is None else at / value.scale
    return encoded


def _told(cls: Any) -> list[dataclasses.Field[Any]]:  # noqa: ANN401 - a dataclass
    """Return the fields that are in the document."""
    return [one for one in dataclasses.fields(cls) if not one.metadata.get("inner")]


@functools.cache
def _encoders(cls: type) -> tuple[tuple[str, Encoder | None], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((f.name, _encoder(hints[f.name])) for f in _told(cls) if f.name != "schema" or cls is not Snapshot)


@functools.cache
def _encoder(hint: Any) -> Encoder | None:  # noqa: ANN401, PLR0911 - a type hint has no type; one return per shape
    """Return what turns a value of this type into JSON values, or None when it is one already."""
    if hint == Labels:
        return dict
    if hint is Histogram:
        return _histogram
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        fields = _encoders(hint)
        return lambda value: {
            name: (getattr(value, name) if encode is None else encode(getattr(value, name))) for name, encode in fields
        }
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        inner = _encoder(next(argument for argument in arguments if argument is not type(None)))
        return None if inner is None else _or_null(inner)
    if origin is tuple:
        element = _encoder(arguments[0])
        return list if element is None else _each(element)
    if origin is not None and issubclass(origin, Mapping):
        element = _encoder(arguments[1])
        if element is None:
            return dict
        return lambda value: {key: element(item) for key, item in value.items()}
    if hint is float:
        return _finite
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return str
    return None


# -- decoding


def _decode(hint: Any, value: Any) -> Any:  # noqa: ANN401, PLR0911 - driven by type hints; one return per shape
    if value is None:
        return None
    if hint == Labels:
        return tuple(sorted(value.items()))
    if hint is Histogram:
        buckets = {int(index): count for index, count in value["buckets"].items()}
        total, largest = (math.nan if value[name] is None else value[name] for name in ("sum", "max"))
        return Histogram(buckets, total, largest, value["scale"])
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        return hint(**{name: _decode(hints[name], value[name]) for name in hints if name in value})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return _decode(next(argument for argument in arguments if argument is not type(None)), value)
    if origin is tuple:
        return tuple(_decode(arguments[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    return value


# -- describing

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _describe(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401, PLR0911 - as _encoder
    if hint == Labels:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # reserved first, so that a type which contains itself ends
            definitions[hint.__name__] = _describe_class(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        inner = _describe(next(argument for argument in arguments if argument is not type(None)), definitions)
        if isinstance(inner.get("type"), str) and "enum" not in inner:
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    message = f"the snapshot's schema has no form for {hint!r}"
    raise TypeError(message)


def _describe_class(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    properties = {f.name: _nullable(_describe(hints[f.name], definitions)) for f in _told(cls)}
    if cls is Histogram:
        properties["count"] = {"type": "integer"}
        properties.update({name: {"type": ["number", "null"]} for name, _ in _QUANTILES})
    summary = " ".join((cls.__doc__ or "").split("\n\n")[0].replace("``", "").split())
    return {"type": "object", "description": summary, "properties": properties, "required": list(properties)}


def _nullable(description: dict[str, Any]) -> dict[str, Any]:
    """Allow null for a float: it may turn out to be no number, which JSON cannot say."""
    return {"type": ["number", "null"]} if description == {"type": "number"} else description


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))  # noqa: T201 - how docs/snapshot.schema.json is made
