"""``roadworthy status``: the verdict, what it rests on, and the worst of everything, as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from roadworthy.types import CheckResult, ExitStatus, Liveness, Operation, Snapshot, Status, Worker, WorkerState
from roadworthy.view.health import STALE_AFTER
from roadworthy.view.terminal import resilience
from roadworthy.view.terminal.text import (
    SEVERITY_ROLE,
    STATUS_ROLE,
    UNKNOWN,
    Cell,
    Column,
    Role,
    Style,
    number,
    percent,
    rate,
    seconds,
    share,
    size,
)
from roadworthy.watch.operations import worst_first
from roadworthy.watch.words import span

MOST_ROWS: Final = 10
ERROR_SHARE_BAD: Final = 0.05

_STATE_ROLE: Final[dict[WorkerState, Role]] = {
    WorkerState.READY: "good",
    WorkerState.STARTING: "warn",
    WorkerState.STOPPING: "warn",
    WorkerState.BACKOFF: "warn",
    WorkerState.HELD: "bad",
    WorkerState.EXITED: "bad",
    WorkerState.LOST: "bad",
}
_LIVENESS_ROLE: Final[dict[Liveness, Role]] = {
    Liveness.WORKING: "good",
    Liveness.IDLE_OR_BUSY: "",
    Liveness.UNKNOWN: "dim",
}


def status(snapshot: Snapshot, style: Style, now: float, *, signals: bool = False, own: bool = False) -> list[str]:
    """Return the page at ``now`` (wall seconds); ``signals`` adds what was really received, ``own`` our own use."""
    lines = [*verdict(snapshot, style, now), ""]
    sections: list[Sequence[str]] = [
        section("Workers", workers(snapshot, style, now), style),
        section("Operations", operations(snapshot, style), style),
        section("Checks", checks(snapshot, style, now), style),
        section("Resilience", resilience.notable(snapshot, style, now), style),
        section("Errors", errors(snapshot, style, now), style),
        section("Incidents", incidents(snapshot, style, now), style),
    ]
    if signals:
        sections.append(section("Signals", received(snapshot, style, now), style))
    sections.append(
        section("roadworthy itself", overhead(snapshot, style), style) if own else [footer(snapshot, style)]
    )
    for part in sections:
        if part:
            lines.extend((*part, ""))
    return lines[:-1]


def section(title: str, lines: Sequence[str], style: Style) -> list[str]:
    """Return the lines under a title; nothing when there are none."""
    return [style.line(Cell(title, "bold")), *lines] if lines else []


def verdict(snapshot: Snapshot, style: Style, now: float) -> list[str]:
    """Return the one answer: how it is, why, since when, and each finding."""
    said = snapshot.verdict
    now_is, reason = judged(snapshot, now)
    word = Cell(now_is.value.upper(), STATUS_ROLE[now_is])
    program = " ".join(snapshot.command)
    lines = [
        style.line(Cell(snapshot.app, "bold"), "  ", word, "  ", reason),
        style.line(
            Cell(f"for {_since(said.since, now)}, running for {_since(snapshot.started, now)}", "dim"),
            Cell(f"  {program}" if program else "", "dim"),
            indent=2,
        ),
    ]
    for finding in said.findings:
        since = f" for {_since(finding.since, now)}" if finding.since is not None else ""
        evidence = f" ({finding.evidence})" if finding.evidence else ""
        mark = Cell("! ", SEVERITY_ROLE[finding.severity])
        lines.append(
            style.line(
                mark, Cell(finding.subject, "bold"), f": {finding.reason}{evidence}", Cell(since, "dim"), indent=2
            )
        )
    return lines


def judged(snapshot: Snapshot, now: float) -> tuple[Status, str]:
    """Return status and reason: the verdict's, or unknown when its figures are too old to say anything."""
    said, age = snapshot.verdict, now - snapshot.at
    if age > STALE_AFTER:
        return Status.UNKNOWN, f"the figures are {span(age)} old; then it was {said.status.value}: {said.reason}"
    return said.status, said.reason


def workers(snapshot: Snapshot, style: Style, now: float) -> list[str]:
    """Return the workers' table."""
    heads = (
        Column("slot", right=True),
        Column("state"),
        Column("pid", right=True),
        Column("for", right=True),
        Column("cpu", right=True),
        Column("memory", right=True),
        Column("restarts", right=True),
        Column("doing", flex=True),
    )
    rows = [_worker(worker, now) for worker in snapshot.workers]
    lines = style.table(heads, rows)
    for worker in snapshot.workers:
        if worker.last_exit is not None:
            lines.append(
                style.line(Cell(f"worker {worker.slot} last ended: {exit_words(worker.last_exit)}", "dim"), indent=2)
            )
        if worker.injected is False and worker.inject_reason:
            lines.append(
                style.line(
                    Cell(f"worker {worker.slot} is watched from outside only: {worker.inject_reason}", "dim"), indent=2
                )
            )
    return lines


def _worker(worker: Worker, now: float) -> list[Cell | str]:
    known = worker.liveness is not Liveness.UNKNOWN
    doing = worker.reason or (worker.liveness.value.replace("_", " ") if known else UNKNOWN)
    used = worker.resources
    return [
        str(worker.slot),
        Cell(worker.state.value, _STATE_ROLE[worker.state]),
        UNKNOWN if worker.pid is None else str(worker.pid),
        _since(worker.since, now),
        percent(used.cpu_percent),
        size(used.rss),
        Cell(str(worker.restarts), "warn" if worker.restarts else "dim"),
        Cell(doing, _LIVENESS_ROLE.get(worker.liveness, "bad")),
    ]


def operations(snapshot: Snapshot, style: Style, most: int = MOST_ROWS) -> list[str]:
    """Return the operations' table, worst first."""
    heads = (
        Column("operation", flex=True),
        Column("rate", right=True),
        Column("failing", right=True),
        Column("p50", right=True),
        Column("p95", right=True),
        Column("p99", right=True),
        Column("most", right=True),
        Column("now", right=True),
        Column("count", right=True),
    )
    ordered = sorted(snapshot.operations, key=worst_first)
    lines = style.table(heads, [_operation(one) for one in ordered[:most]])
    return [*lines, *_more(len(ordered) - most, style)]


def _operation(one: Operation) -> list[Cell | str]:
    failing = one.error_rate or 0.0
    role: Role = "bad" if failing >= ERROR_SHARE_BAD else "warn" if failing > 0 else ""
    return [
        one.name,
        rate(one.rate),
        Cell(share(one.error_rate), role),
        seconds(one.p50),
        seconds(one.p95),
        seconds(one.p99),
        seconds(one.max),
        str(one.in_flight) if one.in_flight else "",
        number(one.count),
    ]


def checks(snapshot: Snapshot, style: Style, now: float) -> list[str]:
    """Return the checks' table, failing ones first."""
    heads = (
        Column("check"),
        Column("status"),
        Column("checked", right=True),
        Column("took", right=True),
        Column("detail", flex=True),
    )
    ordered = sorted(snapshot.checks, key=lambda check: (check.status is Status.OK, not check.outage, check.name))
    return style.table(heads, [_check(check, now) for check in ordered])


def _check(check: CheckResult, now: float) -> list[Cell | str]:
    name = check.name if check.slot is None else f"{check.name} (worker {check.slot})"
    word = f"{check.status.value}, outage" if check.outage else check.status.value
    checked = UNKNOWN if check.at is None else f"{_since(check.at, now)} ago"
    return [name, Cell(word, STATUS_ROLE[check.status]), checked, seconds(check.duration), check.detail]


def errors(snapshot: Snapshot, style: Style, now: float, most: int = MOST_ROWS) -> list[str]:
    """Return the error groups, newest first."""
    heads = (
        Column("count", right=True),
        Column("last", right=True),
        Column("type"),
        Column("where"),
        Column("message", flex=True),
    )
    ordered = sorted(snapshot.errors, key=lambda group: group.last, reverse=True)
    rows: list[list[Cell | str]] = [
        [
            number(group.count),
            f"{_since(group.last, now)} ago",
            Cell(group.type, "bad" if not group.handled else ""),
            group.operation or UNKNOWN,
            group.message,
        ]
        for group in ordered[:most]
    ]
    return [*style.table(heads, rows), *_more(len(ordered) - most, style)]


def incidents(snapshot: Snapshot, style: Style, now: float, most: int = 5) -> list[str]:
    """Return the newest incidents."""
    heads = (
        Column("when", right=True),
        Column("what", flex=True),
        Column("seen after", right=True),
        Column("well after", right=True),
        Column("id"),
    )
    ordered = sorted(snapshot.incidents, key=lambda one: one.at, reverse=True)
    rows: list[list[Cell | str]] = [
        [
            f"{_since(one.at, now)} ago",
            one.title,
            seconds(one.detected_after),
            Cell(seconds(one.recovered_after), "" if one.recovered_after is not None else "bad"),
            Cell(one.id, "dim"),
        ]
        for one in ordered[:most]
    ]
    return [*style.table(heads, rows), *_more(len(ordered) - most, style)]


def received(snapshot: Snapshot, style: Style, now: float) -> list[str]:
    """Return every kind of signal with when it was last really received; declared ones that never came stand out."""
    heads = (
        Column("kind"),
        Column("name", flex=True),
        Column("count", right=True),
        Column("last", right=True),
        Column(""),
    )
    rows: list[list[Cell | str]] = []
    for one in sorted(snapshot.signals, key=lambda one: (one.last is not None, one.count > 0, one.kind, one.name)):
        never = one.last is None and one.count == 0
        note = (
            Cell("declared, never came", "bad")
            if never and one.declared
            else Cell("stale", "bad")
            if one.stale
            else Cell("")
        )
        last = "never" if never else "before we looked" if one.last is None else f"{_since(one.last, now)} ago"
        rows.append([one.kind, one.name, number(one.count), Cell(last, "bad" if never else ""), note])
    return style.table(heads, rows) or [style.line(Cell("nothing was received yet", "dim"), indent=2)]


def overhead(snapshot: Snapshot, style: Style) -> list[str]:
    """Return what roadworthy itself uses, in full."""
    own = snapshot.overhead
    total = snapshot.system.memory_total

    def part(pid: int | None, cpu: float | None, rss: int | None) -> str:
        of_all = f" ({rss / total:.2%} of the memory)" if rss is not None and total else ""
        return f"pid {UNKNOWN if pid is None else pid}, {percent(cpu)} of a core, {size(rss)}{of_all}"

    rows: Iterable[tuple[str, str]] = (
        ("agent (rw-agent)", part(snapshot.agent_pid, own.agent_cpu_percent, own.agent_rss)),
        ("keeper", part(snapshot.keeper_pid, own.keeper_cpu_percent, own.keeper_rss)),
        ("one tick", seconds(own.tick_seconds)),
        ("arenas", f"{size(own.arena_bytes)}, {number(own.series)} series"),
        ("on disk", size(own.state_bytes)),
        ("events missed", number(own.events_missed)),
        ("series refused by a limit", number(own.series_overflowed)),
        ("internal errors", number(own.internal_errors)),
    )
    return [style.line(f"{name:<26}", value, indent=2) for name, value in rows]


def footer(snapshot: Snapshot, style: Style) -> str:
    """Return what roadworthy itself uses, in one line."""
    own = snapshot.overhead
    both = None if own.agent_cpu_percent is None else own.agent_cpu_percent + (own.keeper_cpu_percent or 0.0)
    rss = None if own.agent_rss is None else own.agent_rss + (own.keeper_rss or 0)
    lost = [
        f"{number(count)} {what}"
        for count, what in ((own.events_missed, "events missed"), (own.internal_errors, "internal errors"))
        if count
    ]
    return style.line(
        Cell(f"roadworthy itself: {percent(both)} of a core, {size(rss)}, {number(own.series)} series", "dim"),
        Cell("".join(f", {one}" for one in lost), "warn"),
    )


def exit_words(ended: ExitStatus) -> str:
    """Return how a process ended, in words."""
    if ended.words:
        return ended.words
    if ended.signal is not None:
        return f"signal {ended.signal}"
    return "unknown" if ended.code is None else f"exit code {ended.code}"


def _more(count: int, style: Style) -> list[str]:
    return [style.line(Cell(f"and {count} more: --json", "dim"), indent=2)] if count > 0 else []


def _since(at: float, now: float) -> str:
    return span(max(0.0, now - at))
