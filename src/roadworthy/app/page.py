"""The control page as this process sees it: one mapping, looked at by whoever has a reason to, told to who follows it.

The agent writes log levels, sampling, switches and forced states there (``arena/FORMAT.md``). A look is one comparison
of words. The thread of ours looks four times a second where it runs; requests, operations that are not short and log
records look in passing, so that a program without that thread learns what is new, too.

Nothing here waits or takes a lock; followers must not either, for a look may happen in a signal handler.
"""

from __future__ import annotations

from roadworthy.app import guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Follower = Callable[[dict[str, Any]], object]

EVERY_NS = 250_000_000
"""How often those look who come by more often."""

_followers: dict[str, Follower] = {}
_unfinished: set[str] = set()
_reader: Any = None
_directory = ""
_generation = 0
_value: dict[str, Any] = {}


def follow(name: str, function: Follower) -> None:
    """Call ``function`` with the whole page whenever it has changed, in the thread that sees it first; never raises.

    Called at once when something is on the page already; the same name replaces the one before. It may be told the same
    page twice, and takes its own key out of it. A true answer asks to be called again at the next look, changed or not.
    """
    _followers[name] = function
    if _value:
        _tell(name, function, _value)


def look() -> None:
    """Compare the page with what was seen before, and tell the followers when it is new; never raises."""
    global _generation, _value  # noqa: PLW0603 - one page per process
    try:
        reader = _reader
        arena = start.current()
        if arena is None:
            return
        if reader is None or _directory is not arena.directory:
            reader = _open(arena.directory)
        seen = _generation
        while (generation := reader.generation()) != seen and not generation & 1:
            # Once more around after telling: another thread may have told a newer page in the meantime.
            _generation = seen = generation
            _value = value = reader.value()
            for name, function in tuple(_followers.items()):
                _tell(name, function, value)
        for name in tuple(_unfinished):
            if name in _followers:
                _tell(name, _followers[name], _value)
    except BaseException as error:
        _generation = -1  # a signal handler may have raised before everybody was told: the next look tells them again
        if guard.failed("page", error):
            raise


def _tell(name: str, function: Follower, value: dict[str, Any]) -> None:
    try:
        again = function(value)
    except Exception as error:
        again = False
        if guard.failed(f"page.{name}", error):
            raise
    if again:
        _unfinished.add(name)
    else:
        _unfinished.discard(name)


def _open(directory: str) -> Any:  # noqa: ANN401 - a ControlReader, which is imported late
    global _reader, _directory, _generation, _value
    from roadworthy.arena.control import ControlReader

    made = ControlReader(directory)
    _reader, _directory, _generation, _value = made, directory, 0, {}
    return made


def _started(arena: Any) -> None:  # noqa: ANN401 - as above
    _open(arena.directory)  # now, while the program may still open files there


start.when_started(_started)
