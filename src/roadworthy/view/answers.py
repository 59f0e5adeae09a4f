"""The schemas of the API's answers that are made of the snapshot's parts; what is not listed here is any object.

References are to the definitions of :func:`roadworthy.view.snapshot.schema`. A contract test holds real answers
against them.
"""

from __future__ import annotations

from typing import Any, Final

NUMBER: Final = {"type": ["number", "null"]}
POINT: Final = {"type": "array", "prefixItems": [{"type": "number"}, NUMBER], "minItems": 2, "maxItems": 2}
COUNTS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}


def _of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _with(base: str, **more: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the snapshot with more fields."""
    return {"allOf": [_of(base), _object(**more)]}


def _object(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


_OUTSIDE: Final = _object(
    host={"type": "string"},
    calls={"type": "integer"},
    failures={"type": "integer"},
    sent_bytes={"type": ["integer", "null"]},
    received_bytes={"type": ["integer", "null"]},
    per_second=NUMBER,
)
_TARGET: Final = _object(percent=NUMBER, target={"type": "number"}, met={"type": ["boolean", "null"]})

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Incidents": _object(incidents=_list(_of("IncidentSummary"))),
    "SeriesList": _object(series=_list(_of("Series"))),
    "Signals": _object(signals=_list(_of("Signal")), beats=_list(_of("Beat"))),
    "Operations": _object(operations=_list(_of("Operation")), in_flight=_list(_of("InFlight"))),
    "History": _object(
        start={"type": "number"},
        end={"type": "number"},
        series={"type": "object", "additionalProperties": _list(POINT)},
    ),
    "ResourcesNow": _object(
        timestamp={"type": "string"},
        program=_of("Resources"),
        workers=_list(_with("Resources", slot={"type": "integer"}, pid={"type": ["integer", "null"]})),
        system=_of("System"),
        targets={"type": "object", "additionalProperties": _TARGET},
        cache_hit_rates={"type": "object", "additionalProperties": {"type": "number"}},
        outside=_list(_OUTSIDE),
    ),
    "ErrorsSummary": _object(
        total={"type": "integer"},
        unhandled={"type": "integer"},
        by_type=COUNTS,
        by_operation=COUNTS,
        last=NUMBER,
        error_rate=NUMBER,
        groups=_list(_with("ErrorGroup", per_minute=_list(POINT))),
    ),
}

BY_PATH: Final = {
    "/api/incidents": "Incidents",
    "/api/series": "SeriesList",
    "/api/signals": "Signals",
    "/api/operations": "Operations",
    "/api/history": "History",
    "/api/performance/resources/current": "ResourcesNow",
    "/api/performance/errors/summary": "ErrorsSummary",
}
"""What the answer to a GET of each path is."""
