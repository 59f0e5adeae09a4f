"""Who wants to be called when the configuration is to be read anew: the program's own settings, and subscribers.

:mod:`roadworthy.app` calls them when the agent says so. It is called back here when the first one comes, so that a
program without settings of ours does not pay for them. Nothing is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

reloaders: list[Callable[[], object]] = []
"""Each is called without arguments, in a thread of its own; what it raises is counted and told, and ends nothing."""

_used: list[Callable[[], object]] = []


def add(function: Callable[[], object]) -> None:
    """Have ``function`` called at every reload."""
    reloaders.append(function)
    for tell in tuple(_used):
        tell()


def remove(function: Callable[[], object]) -> None:
    """Call ``function`` no more."""
    if function in reloaders:
        reloaders.remove(function)


def when_used(tell: Callable[[], object]) -> None:
    """Have ``tell`` called whenever a reloader is added, and now if there is one."""
    _used.append(tell)
    if reloaders:
        tell()
