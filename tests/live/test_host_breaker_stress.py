"""Processes that call through one shared breaker, one of them killed: what they did, said and left must balance."""

from __future__ import annotations

import json
import signal
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from live.test_host_breaker import Started
from roadworthy.arena import files
from roadworthy.arena.reader import Reader
from support.running import wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

CALLS = 600
PROCESSES = 4

# Calls a backend that fails in waves; a line in the log is a call that reached it.
CALLER = textwrap.dedent(
    f"""
    import collections, json, os, random, sys, time
    import roadworthy
    from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy

    class Ignored(Exception):
        pass

    roadworthy.start()
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    chance = random.Random(int(sys.argv[2]))
    breaker = CircuitBreaker(
        window=20, min_calls=10, consecutive=5, open_for=(0.01, 0.05), probes=2, probe_lease=1, ignore=Ignored,
        scope="host",
    )
    db = Policy("db", breaker=breaker)
    mine = f"{{os.getpid()}}\\n".encode()

    @db
    def ask(share):
        os.write(log, mine)
        drawn = chance.random()
        if drawn < share:
            raise ConnectionError
        if drawn < share + 0.1:
            raise Ignored

    seen = collections.Counter()
    for call in range({CALLS}):
        try:
            ask(0.9 if call // 100 % 2 else 0.05)
            seen["success"] += 1
        except ConnectionError:
            seen["failure"] += 1
        except Ignored:
            seen["neutral"] += 1
        except BreakerOpen:
            seen["breaker_open"] += 1
        if call % 50 == 0:
            print("at", call, flush=True)
        time.sleep(0.001)
    print(json.dumps(seen), flush=True)
    while db.breaker.state != "closed":
        try:
            ask(-1)
        except (BreakerOpen, Ignored):
            time.sleep(0.002)
    print("closed", flush=True)
    time.sleep(600)
    """
)


def counted(arena_dir: Path, pid: int) -> Counter[str]:
    """Return what the arena of a process says of its calls by outcome."""
    found: Counter[str] = Counter()
    for name in files.base_names(str(arena_dir)):
        if name.split("-")[1] == str(pid):
            with Reader(str(arena_dir / name)) as reader:
                for series in reader.series():
                    if series.name == "resilience.calls":
                        found[dict(series.labels)["outcome"]] += round(series.value or 0)
    return Counter({name: n for name, n in found.items() if n})


@pytest.mark.timeout(180)
def test_calls_of_processes_balance_and_one_that_is_killed_neither_hides_nor_holds_anything(tmp_path):
    log = tmp_path / "calls.log"
    log.touch()
    with Started(tmp_path / "home", "stress") as processes:
        started = [processes.start(CALLER, log, seed) for seed in range(PROCESSES)]
        victim, others = started[0], started[1:]
        for _ in range(5):
            assert victim.stdout.readline().startswith("at ")
        victim.send_signal(signal.SIGKILL)
        victim.wait(30)
        told = []
        for process in others:
            line = process.stdout.readline()
            while line.startswith("at "):
                line = process.stdout.readline()
            told.append(Counter(json.loads(line)))
        reached = Counter(map(int, log.read_text().split()))
        arena_dir = wait_for(lambda: next((tmp_path / "home").rglob("shared"), None), "the shared words").parent
        assert [sum(seen.values()) for seen in told] == [CALLS] * len(others)
        for process in others:
            assert process.stdout.readline() == "closed\n"
        after = [counted(arena_dir, process.pid) for process in others]
        left = counted(arena_dir, victim.pid)
    print(f"together {sum(told, Counter())}; the one that was killed {left}")
    for seen, shown in zip(told, after, strict=True):
        # Between its word and "closed" it may have gone on asking, so no figure may have become less.
        assert shown["failure"] == seen["failure"]
        assert all(shown[name] >= n for name, n in seen.items())
    assert sum(seen["breaker_open"] for seen in told) > 0
    answered = left["success"] + left["failure"] + left["neutral"]
    assert reached[victim.pid] - 1 <= answered <= reached[victim.pid]
