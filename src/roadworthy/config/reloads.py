"""Who wants to be called when the configuration is to be read anew: the programs' own settings, and subscribers.

:mod:`roadworthy.app` calls them when the agent says so, and is told here when the first one comes. Nothing is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

reloaders: list[Callable[[], object]] = []
"""Each is called without arguments, in a thread of its own; what it raises is counted and told, and ends nothing."""

wanted: list[Callable[[], object]] = []
"""Called when a reloader was added."""


def add(function: Callable[[], object]) -> None:
    """Have ``function`` called at every reload."""
    reloaders.append(function)
    for tell in tuple(wanted):
        tell()


def remove(function: Callable[[], object]) -> None:
    """Call ``function`` no more."""
    if function in reloaders:
        reloaders.remove(function)
