"""The rows of what runs beside the program: keeper and agent at 1 Hz with 1 000 series, and their history."""

from __future__ import annotations

from benchmarks.rows import Line, Plan, Row
from benchmarks.running import (
    application,
    arranged,
    cpu_seconds,
    probe,
    python,
    resident_bytes,
    running,
    set_free,
    wait_until,
)
from benchmarks.statistics import estimate, median, percentile
from roadworthy._clock import monotonic, sleep

SETTLE = 5.0
WINDOW = 5.0
MB = 1e-6


def beside(plan: Plan) -> list[Line]:
    """Measure memory and CPU of keeper and agent while they watch a program whose thousand series all change."""
    plan.say("beside: keeper and agent at 1 Hz with 1 000 series")
    name = application("thousand")
    command = arranged([python(), "-m", "benchmarks.programs.thousand"], name=name)
    memory: dict[str, list[float]] = {"keeper": [], "agent": []}
    busy: dict[str, list[float]] = {"keeper": [], "agent": []}
    with running(command, name=name) as run:
        wait_until("keeper and agent are up", lambda: set_free(run), run)
        sleep(SETTLE)
        pids = {"keeper": int(run.said_by_keeper()["pid"]), "agent": int(run.said_by_agent()["pid"])}
        for _ in range(plan.pick(9, 2)):
            began, used = monotonic(), {who: cpu_seconds(pid) for who, pid in pids.items()}
            sleep(WINDOW)
            took = monotonic() - began
            for who, pid in pids.items():
                busy[who].append((cpu_seconds(pid) - used[who]) / took)
                memory[who].append(float(resident_bytes(pid)))
    return [
        Line("beside: keeper, resident memory", estimate([memory["keeper"]]).scaled(MB), "MB", 12),
        Line("beside: agent, resident memory", estimate([memory["agent"]]).scaled(MB), "MB", 45),
        Line("beside: agent, share of a core", estimate([busy["agent"]]), "%", 0.01, f"windows of {WINDOW:.0f} s"),
        Line("beside: keeper, share of a core", estimate([busy["keeper"]]), "%"),
    ]


def history(plan: Plan) -> list[Line]:
    """Measure the disk that an hour of 1 000 series takes, at the times that its ticks would have."""
    plan.say("history: 1 000 series")
    minutes = plan.pick(60, 20)
    found = [
        probe(["benchmarks.probes.history", "--minutes", str(minutes), "--seed", str(seed)])
        for seed in range(plan.pick(3, 1))
    ]
    once = max(one["once"] for one in found) * MB
    ticks = [one["milliseconds"] for one in found]
    slow = [[percentile(one, 0.99)] for one in ticks]
    note = f"{minutes} minutes of ticks; {once:.1f} MB more is allocated once (head file, write-ahead log)"
    return [
        Line(
            "history: growth on disk a minute",
            estimate([one["bytes_per_minute"] for one in found]).scaled(1e-3),
            "kB",
            100,
            note,
        ),
        Line("history: time of a tick in the agent", estimate([[median(one)] for one in ticks]), "ms"),
        Line("history: p99 of the time of a tick", estimate(slow), "ms"),
    ]


ROWS = (
    Row("beside", "keeper and agent at 1 Hz, 1 000 series", beside),
    Row("history", "history on disk, 1 000 series", history),
)
