"""Calls a backend under policies, forty times a second, and says in a file what it sees.

Arguments: a folder. ``down`` in it makes the backend fail, ``broken`` lets recovery fail. ``seen.json`` tells what the
program itself knows, independently of what the agent shows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import roadworthy
from roadworthy.resilience import (
    BreakerOpen,
    CircuitBreaker,
    Policy,
    Retry,
    degradation_manager,
    error_recovery_manager,
    feature,
)

FOLDER = Path(sys.argv[1])
SEEN = FOLDER / "seen.json"
seen = {"pid": os.getpid(), "backend": 0, "refused": 0, "failed": 0, "ok": 0, "last": "", "recoveries": 0}


def backend() -> str:
    """Answer, or fail as a dead server does."""
    seen["backend"] += 1
    if (FOLDER / "down").exists():
        raise ConnectionError("nobody listens")
    return "row"


def reconnect() -> None:
    """Recover, unless that is broken too."""
    seen["recoveries"] += 1
    if (FOLDER / "broken").exists():
        raise ConnectionError("still nobody")


def tell() -> None:
    """Replace the file by what is known now."""
    beside = SEEN.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(seen))
    beside.replace(SEEN)


roadworthy.start()
db = Policy(
    "db",
    retry=Retry(2, on=ConnectionError, backoff=(0.01, 0.02)),
    breaker=CircuitBreaker(window=20, failure_rate=0.5, min_calls=6, open_for=2, probes=1, slow_after=None),
)
database = error_recovery_manager.register_service("database", policy=db, recover=reconnect)
error_recovery_manager.register_service("engine", restart=True)
reports = feature("reports")
degradation_manager.register_degradation_rule("reports", {"degraded_responses": {"list": {"reports": []}}})

while True:
    try:
        database.call(backend)
    except ConnectionError:
        seen["failed"] += 1
        seen["last"] = "failed"
    except BreakerOpen as error:
        seen["refused"] += 1
        seen["last"] = type(error).__name__
    else:
        seen["ok"] += 1
        seen["last"] = "ok"
    seen["reports"] = reports.is_on
    seen["degraded"] = degradation_manager.is_degraded("reports")
    tell()
    time.sleep(0.025)
