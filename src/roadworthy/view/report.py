"""The report: how a program did, as a document and as a page of text (MON-15). Pure.

The document is made of the same parts as the operations API; the text says them in an order to read them in: how it
is, where time and memory go, where figures are going, what is worse than at the baseline, and what to do about
measuring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roadworthy.view import performance
from roadworthy.view.health import stamp
from roadworthy.view.terminal.text import number, rate, seconds, share, size
from roadworthy.watch.words import span

if TYPE_CHECKING:
    from roadworthy.types import Snapshot

SCHEMA = 1
MOST = 10


def build(
    snapshot: Snapshot,
    trends: Mapping[str, Any],
    compared: Mapping[str, Any] | None,
    frequency: performance.Frequency | None = None,
) -> dict[str, Any]:
    """Return the report as JSON values; ``trends`` and ``compared`` as the operations API answers them."""
    shown = {
        name: {key: value for key, value in one.items() if key != "points"} for name, one in trends["trends"].items()
    }
    return {
        "schema": SCHEMA,
        "made": stamp(snapshot.at),
        **performance.overview(snapshot, frequency),
        "trends": {"hours": trends["hours"], "labels": trends["labels"], "figures": shown},
        "baseline": compared,
    }


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as text."""
    verdict = report["verdict"]
    up = span(report["uptime_seconds"])
    found = [
        f"{report['app']}: {verdict['status']}, {verdict['reason']}",
        f"made {report['made']}, running for {up}",
    ]
    found += [f"! {one['subject']}: {one['reason']}" for one in verdict["findings"]]
    for title, part in (
        ("Operations, worst first", _operations(report["operations"])),
        ("Where the time goes", _bottlenecks(report["bottlenecks"])),
        ("What runs add to the memory", _memory(report["memory_impact"])),
        ("Errors", _errors(report["errors"])),
        ("Usage", _usage(report["usage"])),
        (f"Trends over {report['trends']['hours']:g} h", _trends(report["trends"]["figures"])),
        ("Against the baseline", _baseline(report["baseline"])),
        ("Starts", _starts(report["startup"])),
        ("Operating targets", _targets(report["resources"])),
        ("Measuring better", [f"{one['operation']}: {one['hint']}" for one in report["hints"]]),
    ):
        if part:
            found += ["", title, *(f"  {line}" for line in part)]
    return found


def _operations(operations: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    return [
        f"{one['name']}: {number(one['count'])} runs, {rate(one['rate'])}, failing {share(one['error_rate'])}, "
        f"p50 {seconds(one['p50'])}, p95 {seconds(one['p95'])}, p99 {seconds(one['p99'])}"
        for one in operations[:MOST]
    ]


def _bottlenecks(found: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    return [f"{one['operation']}: {'; '.join(one['why'])}" for one in found]


def _memory(found: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    return [
        f"{one['operation']}: {size(one['gained'])} in {number(one['runs'])} runs, {size(one['mean'])} a run, "
        f"{size(one['most'])} at most"
        for one in found
    ]


def _errors(errors: Mapping[str, Any]) -> Iterable[str]:
    if not errors["total"]:
        return []
    return [
        f"{number(errors['total'])} in all, {number(errors['unhandled'])} that nobody caught",
        *(
            f"{number(one['count'])} of {one['type']} in {one['operation'] or 'no operation'}: {one['message']}"
            for one in errors["groups"][:MOST]
        ),
    ]


def _usage(usage: Mapping[str, Any]) -> Iterable[str]:
    features = sorted(usage["features"].items(), key=lambda item: -item[1]["count"])[:MOST]
    told = [
        f"{name}: {number(one['count'])} times, {number(one['success'].get('true', 0.0))} with success"
        for name, one in features
    ]
    return [*told, *(f"{step}: {number(count)} times" for step, count in list(usage["workflow"].items())[:MOST])]


def _trends(trends: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    told = []
    for name, one in trends.items():
        if one["mean"] is None:
            continue
        left = f", its limit is reached in {span(one['limit_in'])}" if one["limit_in"] is not None else ""
        told.append(
            f"{name}: {one['label']}; least {one['least']:.6g}, mean {one['mean']:.6g}, most {one['most']:.6g}{left}"
        )
    return told


def _baseline(compared: Mapping[str, Any] | None) -> Iterable[str]:
    if compared is None:
        return ["none was taken: roadworthy baseline --take"]
    moved = [one for one in compared["figures"] if one["change"] in {"higher", "lower"}]
    if not moved:
        return ["nothing has moved"]
    return [difference(one) for one in moved[: 2 * MOST]]


def difference(one: Mapping[str, Any]) -> str:
    """Return one figure's standing against the baseline as a line."""
    if one["now"] is None:
        return f"{one['figure']}: unknown now, {one['then']:.6g} then"
    times = f", {one['ratio']:.2f} times" if one["ratio"] is not None else ""
    mark = " (worse)" if one["worse"] else ""
    return f"{one['figure']}: {one['change']}{mark}, {one['now']:.6g} after {one['then']:.6g}{times}"


def _starts(startup: Mapping[str, Any]) -> Iterable[str]:
    if not startup["finished"]:
        return []
    steps = ", ".join(f"{one['label']} {seconds(one['mean'])} ({one['share']:.0%})" for one in startup["bottlenecks"])
    return [
        f"{startup['finished']} finished: {seconds(startup['mean'])} in the mean, {seconds(startup['max'])} at most",
        *([f"slow steps: {steps}"] if steps else []),
    ]


def _targets(resources: Mapping[str, Any]) -> Iterable[str]:
    told = []
    for name, one in resources["targets"].items():
        if one["percent"] is not None:
            state = "met" if one["met"] else "missed"
            told.append(f"{name}: {one['percent']:.0f} %, should be below {one['target']:.0f} %: {state}")
    return [*told, *(f"{name}: {value:.3g}" for name, value in resources["cache_hit_rates"].items())]
