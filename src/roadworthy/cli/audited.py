"""Acts of the command line that belong into the audit trail: who did what to which, why, and whether it was done."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from roadworthy import _clock
from roadworthy.cli.errors import warn
from roadworthy.config import places
from roadworthy.errors import RoadworthyError

T = TypeVar("T")


def audited(act: str, target: str, reason: str, app: str, change: Callable[[], T]) -> T:
    """Do it and put it into the trail, also when it fails; what the trail's own failure is, is told and undoes nothing.

    The trail is that of the application ``app``, else of one with this folder's name.
    """
    result = "failed"
    try:
        done = change()
        result = "done"
        return done
    finally:
        _record(act, target, reason, app, result)


def _record(act: str, target: str, reason: str, app: str, result: str) -> None:
    from roadworthy.log import trail

    name = app or re.sub(r"[^A-Za-z0-9._-]+", "-", Path.cwd().name).strip("-._")[:48] or "program"
    try:
        actor = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        actor = str(os.getuid())
    record = {"at": _clock.wall(), "actor": actor, "act": act, "target": target, "reason": reason, "result": result}
    try:
        state = places.places(name).state
        places.private(state.parent)
        trail.append(places.private(state), record)
    except RoadworthyError as error:
        warn(f"the audit trail could not be written: {error.what}")
