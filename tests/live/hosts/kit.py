"""What tests of unmodified programs ask: a program under ``roadworthy run``, its figures, what is left of it."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.agent.signals import KINDS
from roadworthy.arena.merge import Totals
from support.running import Running, start_ticks

if TYPE_CHECKING:
    from support.load import Counts

HOSTS = Path(__file__).parent
REQUESTS = "http.server.request.duration"
PYTHON = sys.executable


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def all_ready(snapshot: dict) -> bool:
    return bool(snapshot["workers"]) and all(one["state"] == "ready" for one in snapshot["workers"])


@contextmanager
def running(home: Path, command: list[str], *options: str, **given) -> Iterator[Running]:
    """Run a program until the block ends, from when all its workers are ready; nothing of it may be left then."""
    cwd = Path.cwd()
    os.chdir(HOSTS)
    try:
        run = Running(home, command, options=options, **given)
        with run:
            os.chdir(cwd)
            run.agent()
            snapshot = run.until(all_ready, "all workers are ready")
            assert (snapshot["verdict"]["status"], snapshot["verdict"]["ready"]) == ("ok", True), snapshot["verdict"]
            yield run
    finally:
        os.chdir(cwd)
    assert leftovers(run) == []


def leftovers(run: Running) -> list[str]:
    """Return what is left of a run that has ended: processes that carry its marks, files, sockets."""
    found = [f"process {pid}: {command}" for pid, command in processes(run)]
    for folder in (run.arena_dir, run.run_dir):
        found += [str(path) for path in folder.rglob("*")] if folder.exists() else []
    return found


def processes(run: Running) -> list[tuple[int, str]]:
    """Return pid and command of every process that was started with the run's environment."""
    mark = f"ROADWORTHY_HOME={run.home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0") and start_ticks(int(folder.name)) is not None:
                found.append((int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            continue
    return found


# -- figures


def figures(snapshot: dict, name: str) -> Counter:
    """Return how often something was counted, by its labels; histograms by how many values they took."""
    found: Counter = Counter()
    for one in snapshot["series"]:
        if one["name"] == name and (value := _count(one)) is not None:
            found[tuple(sorted(one["labels"].items()))] += value
    return found


def _count(series: dict) -> int | None:
    if series.get("histogram") is not None:
        return sum(series["histogram"]["buckets"].values())
    return None if series["value"] is None else int(series["value"])


def count(figures: Counter, **labels: object) -> int:
    """Return how often something with all these labels was counted; ``_`` in a label's name stands for a dot."""
    wanted = {(key.replace("__", "."), str(value)) for key, value in labels.items()}
    return sum(value for found, value in figures.items() if wanted <= set(found))


def by_status(snapshot: dict) -> dict[int, int]:
    """Return the requests that were counted, by status."""
    found: Counter = Counter()
    for labels, value in figures(snapshot, REQUESTS).items():
        found[int(dict(labels)["http.response.status_code"])] += value
    return dict(found)


def counted(run: Running, counts: Counts) -> dict:
    """Wait until as many requests were counted as the client has answers; returns a snapshot with all figures in it."""

    def enough(snapshot: dict) -> bool:
        return sum(by_status(snapshot).values()) >= counts.requests and not snapshot["in_flight"]

    return run.until(enough, f"{counts.requests} requests are counted")


def agree(run: Running, counts: Counts) -> dict:
    """Assert that Snapshot and Prometheus text count exactly the client's answers; returns the snapshot."""
    assert counts.failures == []
    snapshot = counted(run, counts)
    wanted = {status: counts.status(status) for status in {status for _, status in counts.answers}}
    assert by_status(snapshot) == wanted
    assert scraped(run) == wanted
    assert snapshot["overhead"]["internal_errors"] == 0
    return snapshot


def scraped(run: Running) -> dict[int, int]:
    """Return the requests that ``/metrics`` tells of, by status, read by prometheus_client's own parser."""
    url = json.loads((run.run_dir / "agent.json").read_text())["url"].rstrip("/")
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 - our own agent's address
        text = answer.read().decode()
    found: Counter = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "http_server_request_duration_seconds_count":
                found[int(sample.labels["http_response_status_code"])] += int(sample.value)
    return dict(found)


def totals(run: Running) -> dict[int, int]:
    """Return the requests by status that the state directory keeps of a run that has ended."""
    raw = json.loads((run.state_dir / "totals.json").read_text())
    found: Counter = Counter()
    for (_, name, labels), total in Totals.from_json(raw["totals"]).entries.items():
        if name == REQUESTS:
            found[int(dict(labels)["http.response.status_code"])] += sum(total.buckets.values())
    return dict(found)


# -- signals


def received(snapshot: dict) -> set[str]:
    """Return the kinds of signals that were really received; every other kind is shown as never seen."""
    kinds: dict[str, int] = dict.fromkeys(KINDS, 0)
    for one in snapshot["signals"]:
        assert one["kind"] in kinds, one
        assert one["count"] > 0 or one["last"] is None, f"never came, and yet it was there: {one}"
        kinds[one["kind"]] += one["count"]
    return {kind for kind, found in kinds.items() if found}


def never_came(snapshot: dict) -> set[tuple[str, str]]:
    """Return kind and name of what was declared and never came."""
    return {(one["kind"], one["name"]) for one in snapshot["signals"] if one["declared"] and not one["count"]}


def signal(snapshot: dict, kind: str, name: str | None = None) -> int:
    """Return how often a kind of signal was received."""
    return sum(one["count"] for one in snapshot["signals"] if one["kind"] == kind and name in {None, one["name"]})
