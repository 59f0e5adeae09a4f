"""Measure log lines, round by round: bare, ours, the peers, and again; every arm into a file of its own.

    python -m benchmarks.probes.log CASE --arms "roadworthy;structlog" --rounds 40 --slice 10 --out FILE

Writes what :mod:`benchmarks.probes.calls` writes. A line has a message, four fields (one that is new in most lines, one
number that changes) and a correlation identifier. Ours redacts; the peers do not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.probes.arms import Arm
from benchmarks.probes.calls import GC, MILLISECOND, turns, wait_for_agent

USERS = 5_000
MODEL = "claude-haiku"
CORRELATION = "4bf92f3577b34da6a3ce929d0e0e4736"
STATEMENT = "i = n(); info('dialogue_generated', user=users[i % 5000], response_time_ms=i % 1000, model=model, ok=True)"
EXTRA = (
    "i = n(); info('dialogue_generated', "
    "extra={'user': users[i % 5000], 'response_time_ms': i % 1000, 'model': model, 'ok': True})"
)
BARE = "i = n(); {'user': users[i % 5000], 'response_time_ms': i % 1000, 'model': model, 'ok': True}"


def _ours(folder: str) -> dict[str, Any]:
    from roadworthy import log

    log.configure("ours", json=True, level="INFO", directory=folder, stream=None, threads=False, environ={})
    log.CorrelationContext(CORRELATION).__enter__()
    return {"info": log.logger("benchmark").info}


def _ours_of_logging(folder: str) -> dict[str, Any]:
    _ours(folder)
    return {"info": logging.getLogger("benchmark").info}


def _structlog(folder: str) -> dict[str, Any]:
    import orjson
    import structlog

    sink = Path(folder, "structlog.log").open("ab")  # noqa: SIM115 - it is written to until the process ends
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=sink),
    )
    structlog.contextvars.bind_contextvars(correlation_id=CORRELATION)
    return {"info": structlog.get_logger().info}


def _json_logger(folder: str) -> dict[str, Any]:
    from pythonjsonlogger.json import JsonFormatter

    handler = logging.FileHandler(Path(folder, "stdlib.log"))
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("peer")
    logger.propagate = False
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return {"info": logger.info}


ARMS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "bare": (BARE, lambda _folder: {}),
    "roadworthy": (STATEMENT, _ours),
    "roadworthy, through logging": (EXTRA, _ours_of_logging),
    "structlog": (STATEMENT, _structlog),
    "python-json-logger": (EXTRA, _json_logger),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--arms", required=True, help="separated by semicolons")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--slice", type=float, default=10.0, help="milliseconds that one arm runs in one round")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-log-") as folder:
        arms = {name: _arm(name, folder) for name in dict.fromkeys(("bare", *options.arms.split(";")))}
        attached = wait_for_agent()
        timers = {name: timeit.Timer(arm.statement, "gc.enable()", globals=arm.names) for name, arm in arms.items()}
        times = dict.fromkeys(arms, 1)
        found = turns(timers, times, options.rounds, options.slice * MILLISECOND)
        lines = {path.name: path.read_bytes().count(b"\n") for path in Path(folder).glob("*.log")}
        if not all(count for name, count in lines.items() if name not in {"ours-errors.log", "ours-security.log"}):
            raise SystemExit(f"an arm has written nothing: {lines}")
    options.out.write_text(json.dumps({"attached": attached, "ns": found}), encoding="utf-8")


def _arm(name: str, folder: str) -> Arm:
    statement, prepare = ARMS[name]
    users = [os.urandom(8).hex() for _ in range(USERS)]
    shared = {"n": itertools.count().__next__, "users": users, "model": MODEL, **GC}
    return Arm(statement, {**shared, **prepare(folder)})


if __name__ == "__main__":
    main()
