"""A turn loop that gets stuck: each step fails alike, until a new process goes on from the saved state.

Argument: a folder. ``stuck`` in it makes every step of a process that finds no saved state fail. Each process appends
what it did to ``said.txt``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import roadworthy
from roadworthy.resilience import RecoveryAction, feature, initialize_error_recovery, recovery

FOLDER = Path(sys.argv[1])


def say(what: str) -> None:
    """Append a line, whole."""
    with (FOLDER / "said.txt").open("a") as file:
        file.write(f"{os.getpid()} {what}\n")


roadworthy.start()
manager = initialize_error_recovery()
state = {"turn": 40}
recovery.emergency_state(lambda: state)
saved = recovery.load_emergency_state()
if saved is not None:
    state = dict(saved["state"])
say(f"began at turn {state['turn']}")


def step() -> None:
    """Do a turn, or fail like the one before."""
    if (FOLDER / "stuck").exists() and saved is None:
        raise KeyError("unit 7")
    state["turn"] += 1


while True:
    with_it = feature("music").is_on
    if (FOLDER / "music").exists() and with_it and saved is not None:
        feature("music").off(reason="too loud", for_=60)
    try:
        with manager.attempt("world", "step") as tried:
            step()
    except KeyError:
        assert tried.advice is not None
        if tried.advice.action is RecoveryAction.RESTART:
            say(f"restart advised: {tried.advice.reason}")  # if the end leaves it the time
    time.sleep(0.05)
