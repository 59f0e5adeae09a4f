"""Words that all processes of one application on one host share: breakers, limits and switches of scope ``host``.

They lie in the ``shared`` file of the application's arena directory, so that workers that were started independently
meet there, and what a killed worker committed stays. Reading never waits. An update that does not get the record lock
in its patience is None: then a breaker or a limit decides for itself, with care.
"""

from __future__ import annotations

import os

from roadworthy.app import guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.arena.shared import SharedWords

# One per directory and process: record locks of a process go when it closes any descriptor of their file.
_stores: dict[str, SharedWords] = {}


def store() -> SharedWords | None:
    """Return the words of this application on this host, a :class:`~roadworthy.types.StateStore`.

    Starts roadworthy if need be. Returns None when there is no place for them: roadworthy is switched off here, or its
    directory cannot be used, which is told once on standard error. Never raises.
    """
    try:
        arena = start.current() or start.ensure()
        if arena is None:
            return None
        directory = os.fspath(arena.directory)
        found = _stores.get(directory)
        if found is None:
            from roadworthy.arena.shared import SharedWords

            found = _stores.setdefault(directory, SharedWords(directory))
        return found
    except Exception as error:
        if guard.failed("host_state", error):
            raise
        return None
