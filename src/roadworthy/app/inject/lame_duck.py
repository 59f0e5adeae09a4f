"""Lame duck: a worker about to be replaced accepts no more, and answers what it has with ``Connection: close``.

The agent lists process ids on the control page; a process whose parent was listed (a worker forked by a server's
master) follows it. The page is one word to compare, looked at by the runtime's thread and wherever a request begins.

What stops accepting: every asyncio server (its sockets leave the selector), uvicorn also on uvloop, gunicorn's sync
and gthread workers, and ``socketserver`` (http.server, wsgiref, Werkzeug's). Listening sockets stay open: their queue
belongs to the other workers as well.
"""

from __future__ import annotations

import os
import socket

from roadworthy.app import guard, page, start
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

active = False
"""True when this process is a lame duck: answers say ``Connection: close``."""

_duties: list[Callable[[], object]] = []
_following = False
_mine: set[int] = set()
_quiet: list[socket.socket] = []


def when_lame(duty: Callable[[], object]) -> None:
    """Call ``duty`` once, from whatever thread notices, when this process becomes a lame duck; now if it is one."""
    _duties.append(duty)
    if active:
        _run(duty)


def duties() -> tuple[Callable[[], object], ...]:
    """Return what will be done."""
    return tuple(_duties)


def watch(_now: int) -> None:
    """Look, as a duty of the runtime's thread."""
    look()


def look() -> bool:
    """Look at the control page; return True when this process is a lame duck."""
    global _following  # noqa: PLW0603 - one state per process
    if not active:
        if not _following:
            _following = True
            _mine.update((os.getpid(), os.getppid()))
            page.follow("lame duck", _told)
        page.look()
    return active


def _told(value: dict[str, Any]) -> None:
    if not _mine.isdisjoint(value.get("lame_duck") or ()):
        become()


def become() -> None:
    """Become a lame duck."""
    global active  # noqa: PLW0603 - one state per process
    if active:
        return
    active = True
    arena = start.current()
    if arena is not None:
        arena.mark("checkpoint", "lame duck")  # the agent waits for it: from here on connections only become fewer
    series.event("state", 20, "roadworthy", "lame duck: no new connections, answers say Connection: close")
    for duty in tuple(_duties):
        _run(duty)


def hush(listener: socket.socket) -> None:
    """Put a socket that nobody can reach in the place of ``listener``, so that accepting from it finds nothing.

    For servers that accept in a loop of their own: blocking, ``select`` or ``poll``. The queue stays with the other
    processes.
    """
    quiet = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    quiet.bind("")  # an abstract name that the kernel chooses and we tell nobody
    quiet.listen(1)
    quiet.setblocking(listener.gettimeout() is None)
    os.dup2(quiet.fileno(), listener.fileno(), os.get_inheritable(listener.fileno()))
    quiet.close()


def after_fork() -> None:
    """Follow the parents: a child of a process that is listed is meant too."""
    _mine.add(os.getpid())
    _duties.clear()


def _run(duty: Callable[[], object]) -> None:
    try:
        duty()
    except Exception as error:
        if guard.failed("lame duck", error):
            raise
