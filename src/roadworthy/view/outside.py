"""What the program exchanges with outside services over HTTP, host by host (RES-07). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from roadworthy.watch.operations import CLIENT, attempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roadworthy.types import Snapshot

BYTES: Final = "http.client.io"
MOST: Final = 50
"""Hosts that are told; those with the most traffic."""

_FIELDS: Final = {"transmit": "sent_bytes", "receive": "received_bytes"}


def services(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return calls, failures, bytes and calls a second for each host, the largest traffic first.

    Bytes of a direction in which none was counted, and a rate that is not known yet, are None.
    """
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, set[str]] = {}
    for one in snapshot.series:
        said = dict(one.labels)
        host = said.get("server.address", "?")
        which = attempt(one.name, one.labels, one.unit) if one.name == CLIENT else None
        if which is not None and one.histogram is not None:
            row = found.setdefault(host, _empty(host))
            number = sum(one.histogram.buckets.values())
            row["calls"] += number
            row["failures"] += number if which.failed else 0
            names.setdefault(host, set()).add(which.name)
        elif (
            one.name == BYTES and one.value is not None and (field := _FIELDS.get(said.get("network.io.direction", "")))
        ):
            row = found.setdefault(host, _empty(host))
            row[field] = (row[field] or 0) + int(one.value)
    rates = {operation.name: operation.rate for operation in snapshot.operations}
    for host, known in names.items():
        found[host]["per_second"] = _sum(rates.get(name) for name in known)
    return sorted(found.values(), key=_largest_first)[:MOST]


def _empty(host: str) -> dict[str, Any]:
    return {"host": host, "calls": 0, "failures": 0, "sent_bytes": None, "received_bytes": None, "per_second": None}


def _largest_first(row: dict[str, Any]) -> tuple[int, int, str]:
    return -((row["sent_bytes"] or 0) + (row["received_bytes"] or 0)), -row["calls"], row["host"]


def _sum(rates: Iterable[float | None]) -> float | None:
    """Return the sum of what is known, None when nothing is."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
