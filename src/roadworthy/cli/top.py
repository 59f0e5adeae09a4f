"""``roadworthy top``: the live screen in a terminal, without dependencies; in a pipe it prints once."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from roadworthy import _clock
from roadworthy.cli.status import ask, code_of, style_for
from roadworthy.errors import RoadworthyError
from roadworthy.view.client import choose, connect
from roadworthy.view.terminal.top import CHARTS, TRAIL, VIEWS, Trail, frame, screen

if TYPE_CHECKING:
    from roadworthy.config.places import Places
    from roadworthy.types import Snapshot

ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"
QUIT = frozenset({"q", "Q", "\x03", "\x04"})


@click.command()
@click.argument("name", required=False)
@click.option(
    "-r",
    "--refresh",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often.",
)
def top(name: str | None, refresh: float) -> int:
    """Watch a program live in the terminal: o operations, p processes, e errors, h health, q quits.

    NAME is the application's name; it may be left out when there is only one. Without a terminal it prints one screen.
    """
    place = choose(name)
    trail = Trail()
    snapshot = look(place)
    begin(place, trail, refresh)
    trail.add(snapshot.gauges)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        drawn = screen(snapshot, trail, style_for(sys.stdout), _clock.wall(), height=40)
        click.echo("\n".join(drawn), color=True)
        return code_of(snapshot)
    with full_screen():
        watch(place, snapshot, trail, refresh)
    return 0


def look(place: Places) -> Snapshot:
    """Return what is known now: from the agent, or from the arenas when none runs."""
    from roadworthy.view import offline
    from roadworthy.view.snapshot import from_json

    document = ask(place)
    return offline.snapshot(place) if document is None else from_json(document)


def begin(place: Places, trail: Trail, refresh: float) -> None:
    """Fill the trail with the history's last minutes, one point for each refresh to come."""
    agent = connect(place)
    if agent is None:
        return
    names = ",".join(name for name, _, _ in CHARTS)
    try:
        found = agent.get("/api/history", names=names, seconds=max(10.0, refresh * TRAIL), points=TRAIL)
    except RoadworthyError:
        return  # the past is an extra; what is wrong shows with the first look
    trail.begin(found.get("series", {}))


def watch(place: Places, snapshot: Snapshot, trail: Trail, refresh: float) -> None:
    """Draw until q; a moment without an agent is shown, not ended by."""
    view, trouble = "o", ""
    due = _clock.monotonic() + refresh
    while True:
        draw(snapshot, trail, view, trouble)
        key = pressed(max(0.0, due - _clock.monotonic()))
        if key in QUIT:
            return
        if key.lower() in VIEWS:
            view = key.lower()
        if _clock.monotonic() < due:
            continue
        due = _clock.monotonic() + refresh
        try:
            snapshot, trouble = look(place), ""
            trail.add(snapshot.gauges)
        except RoadworthyError as error:
            trouble = error.what
            trail.add({})


def draw(snapshot: Snapshot, trail: Trail, view: str, trouble: str) -> None:
    """Draw one screen at the terminal's present size."""
    size = shutil.get_terminal_size()
    style = replace(style_for(sys.stdout), width=max(20, size.columns))
    lines = screen(snapshot, trail, style, _clock.wall(), view=view, height=size.lines)
    if trouble:
        lines[-1] = style.line(trouble)
    sys.stdout.write(frame(lines))
    sys.stdout.flush()


def pressed(wait: float) -> str:
    """Return the key that was pressed within ``wait`` seconds, or nothing; the end of input counts as q."""
    ready, _, _ = select.select([sys.stdin], [], [], wait)
    if not ready:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") or "q"


@contextlib.contextmanager
def full_screen() -> Iterator[None]:
    """Take the terminal over and give it back as it was, whatever happens; also on SIGTERM and SIGHUP."""
    before = termios.tcgetattr(sys.stdin)
    handlers = {number: signal.signal(number, _ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(ENTER)
        sys.stdout.flush()
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _ended(number: int, _frame: object) -> None:
    sys.exit(128 + number)
