"""What the operations API tells from the history: trends, the comparison with a baseline, the report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from roadworthy.errors import RoadworthyError
from roadworthy.view import performance, report
from roadworthy.view.web.endpoint import Endpoint, Parameter, Problem
from roadworthy.view.web.probes import answer
from roadworthy.watch import baseline as baselines
from roadworthy.watch.trends import MOST_POINTS, limits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from roadworthy.types import History, Snapshot, SnapshotSource
    from roadworthy.watch.baseline import Baseline
    from roadworthy.watch.trends import Points

P = ParamSpec("P")
T = TypeVar("T")

MINUTES = 10.0
SECONDS = 600
"""Points that a baseline is taken from: every second of ten minutes, so that a young program soon has one."""

_HOURS = Parameter("hours", "number", "How far back.", 1.0, 1 / 60, 24 * 366)
_POINTS = Parameter("points", "integer", "At most so many points a figure.", 120, 2, 2000)
_MINUTES = Parameter("minutes", "number", "Over how long the figures are taken.", MINUTES, 1, 24 * 60)


class Baselines(Protocol):
    """Keeps one baseline."""

    def load(self) -> Baseline | None:
        """Return it, None when none was taken; raises :class:`Unavailable` when it cannot be read."""

    def save(self, baseline: Baseline) -> None:
        """Replace it; raises when it cannot be written."""


class PastViews:
    """Answers from the history; what cannot be read of it is a 503 with the reason."""

    def __init__(
        self,
        source: SnapshotSource,
        history: History,
        kept: Baselines | None,
        frequency: performance.Frequency | None,
    ) -> None:
        self._source = source
        self._history = history
        self._kept = kept
        self._frequency = frequency

    def endpoints(self) -> list[Endpoint]:
        """Return the table."""
        base = "/api/performance"
        taken = (
            (200, "It was taken."), (403, "CSRF value or origin is wrong."), (409, "Too little is known yet."),
            (501, "This agent keeps none."),
        )  # fmt: skip
        return [
            Endpoint(
                f"{base}/resources/trends", self.trends, "Where figures are going.", "performance",
                parameters=(_HOURS, _POINTS),
            ),
            Endpoint(
                f"{base}/baseline", self.compared, "How figures stand against the baseline.", "performance",
                parameters=(_MINUTES,),
            ),
            Endpoint(
                f"{base}/baseline", self.take, "Take the figures of the last minutes as the baseline.", "performance",
                "POST", (_MINUTES,), taken,
            ),
            Endpoint(
                f"{base}/report", self.report, "What a report says, with trends and the baseline.", "performance",
                parameters=(_HOURS,),
            ),
        ]  # fmt: skip

    async def trends(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer where figures are going."""
        return answer(await self._trends(self._now(), asked["hours"], asked["points"]))

    async def compared(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer how figures stand against the baseline; ``baseline`` is null when none was taken."""
        found = await self._compared(self._now(), asked["minutes"])
        return answer(found or {"baseline": None, "now": None, "worse": [], "figures": []})

    async def take(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Take the baseline."""
        if self._kept is None:
            raise Problem(501, "cannot-do", "This agent keeps no baseline.", "It was made without one.")
        snapshot = self._now()
        start = snapshot.at - asked["minutes"] * 60
        found = await beside(self._history.query, _baseline_names(snapshot), start, snapshot.at, SECONDS)
        made = baselines.take(found, start, snapshot.at)
        if not made.levels:
            raise Problem(409, "too-little", "Too little was measured for a baseline.", "Wait some ten seconds.")
        await beside(self._kept.save, made)
        return answer({"taken": len(made.levels), **made.to_json()})

    async def report(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer the report."""
        return answer(await self.reported(asked["hours"]))

    async def reported(self, hours: float) -> dict[str, Any]:
        """Return the report over the last ``hours``; raises :class:`Problem` before the first snapshot."""
        snapshot = self._now()
        trends = await self._trends(snapshot, hours, 2)
        return report.build(snapshot, trends, await self._compared(snapshot, MINUTES), self._frequency)

    async def _trends(self, snapshot: Snapshot, hours: float, points: int) -> dict[str, Any]:
        names, start = performance.resource_names(snapshot), snapshot.at - hours * 3600
        shown = await beside(self._history.query, names, start, snapshot.at, points)
        judged = shown if points >= MOST_POINTS else None
        if judged is None:
            judged = await beside(self._history.query, names, start, snapshot.at, MOST_POINTS)
        since = performance.known_since(judged)
        if since is not None and since > start + (snapshot.at - start) / 2:
            # Most of the time asked for is from before we watched: the rest deserves all the points.
            since -= (snapshot.at - start) / MOST_POINTS
            judged = await beside(self._history.query, names, since, snapshot.at, MOST_POINTS)
        return performance.trends(hours, judged, limits(snapshot), shown)

    async def _compared(self, snapshot: Snapshot, minutes: float) -> dict[str, Any] | None:
        kept = await beside(self._kept.load) if self._kept is not None else None
        if kept is None:
            return None
        start = max(snapshot.at - minutes * 60, kept.end)
        found: Mapping[str, Points] = {}
        if start < snapshot.at:
            found = await beside(self._history.query, list(kept.levels), start, snapshot.at, SECONDS)
        differences = baselines.compare(kept, found)
        return {
            "baseline": {"start": kept.start, "end": kept.end},
            "now": {"start": start, "end": snapshot.at},
            "worse": [one.figure for one in differences if one.worse],
            "figures": [asdict(one) for one in differences],
        }

    def _now(self) -> Snapshot:
        snapshot = self._source.latest()
        if snapshot is None:
            raise not_measured()
        return snapshot


def _baseline_names(snapshot: Snapshot) -> list[str]:
    figures = ("p50", "p95", "p99", "rate")
    operations = [f"operation.{one.name}.{figure}" for one in snapshot.operations[:50] for figure in figures]
    return list(dict.fromkeys([*performance.resource_names(snapshot), *snapshot.gauges, *operations]))


def not_measured() -> Problem:
    """Return the refusal that stands for an agent that has only begun."""
    return Problem(503, "not-measured", "Nothing was measured yet.", "Ask again in a second.", {"Retry-After": "1"})


async def beside(ask: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Ask the history beside the loop: reading a day takes longer than a tick may. What it refuses is a 503."""
    try:
        return await asyncio.to_thread(ask, *arguments, **named)
    except RoadworthyError as error:
        raise Problem(503, "no-history", error.what, error.hint) from error
