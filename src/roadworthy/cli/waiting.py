"""Waiting for a background run to be up, to be ready, to be gone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from roadworthy import _clock
from roadworthy.cli.running import look, start_ticks
from roadworthy.cli.socket import ask
from roadworthy.errors import RoadworthyError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.config.places import Places

UP_WITHIN = 15.0
LATE = 5.0
"""Seconds past the ready timeout that the agent has to act on it."""

_EVERY = 0.05


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true within some seconds."""
    limit = _clock.monotonic() + seconds
    while not condition():
        if _clock.monotonic() >= limit:
            return False
        _clock.sleep(_EVERY)
    return True


def wait_until_up(app: Places, pid: int, ticks: int | None) -> None:
    """Return when the keeper ``pid`` has written its index; raises :class:`Unavailable` when it ends before."""

    def up_or_gone() -> bool:
        found = look(app).keeper
        return (found is not None and found[0] == pid) or start_ticks(pid) != ticks or ticks is None

    wait(up_or_gone, UP_WITHIN)
    if start_ticks(pid) is None:
        log = app.state / "output.log"
        lines = [line for line in _tail(log) if line.strip()]
        raise Unavailable(
            f"{app.app} ended right after its start",
            why=lines[-1] if lines else "It left no output.",
            hint=f"See {log}, or run it without --daemon.",
        )


def wait_until_ready(app: Places, pid: int, timeout: float) -> bool:
    """Return whether the agent said that the program is ready while its keeper lived and within the timeout."""
    ready = False

    def done() -> bool:
        nonlocal ready
        ready = is_ready(app)
        return ready or start_ticks(pid) is None

    wait(done, timeout + LATE)
    return ready


def is_ready(app: Places) -> bool:
    """Return whether the agent says that the program is ready: on its socket, else by ``/readyz``."""
    try:
        answer = ask(app.run / "agent.sock", {"do": "ping"}, timeout=2.0)
    except RoadworthyError:
        return False
    if isinstance(answer.get("ready"), bool):
        return bool(answer["ready"])
    try:
        url = json.loads((app.run / "agent.json").read_text(encoding="utf-8"))["url"]
        probe = f"{str(url).rstrip('/')}/readyz"
        with urllib.request.urlopen(probe, timeout=2.0) as reply:  # noqa: S310 - our own agent's address
            return bool(reply.status == 200)  # noqa: PLR2004 - HTTP's OK
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return False


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
