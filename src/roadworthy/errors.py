"""The tree of errors; each carries a hint, and each maps to one exit code.

::

    RoadworthyError                      1   something failed
    ├── UsageError                       2   an option or argument is wrong
    │   └── NotFound                     2   … it names something that is not there
    ├── ConfigurationError               3   a setting is wrong
    ├── Unavailable                      4   a dependency, file or socket cannot be used
    │   ├── NotRunning                   4   no such application is running
    │   └── PortInUse                    4   somebody else listens there
    ├── Exhausted                        5   a disk, a limit or a descriptor table is full
    ├── Refused                          6   a security rule forbids it (token, owner, link, foreign host)
    ├── Unhealthy                        7   a health check or verification failed
    ├── ArenaError                       1   an arena file cannot be read
    │   ├── ArenaVersion                 1   … it was written by another version of the format
    │   └── ArenaBroken                  1   … its contents contradict themselves
    └── Temporary                       75   may work if tried again

Exit codes follow CONFLICTS C-60 and, where it names none, ``sysexits.h``. A program that could not be started
exits with the shell's codes: 126 (not executable) and 127 (not found).
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False  # typing itself would cost the start of every program that we watch
if TYPE_CHECKING:
    from typing import ClassVar

EXIT_OK = 0
EXIT_GENERAL = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 3
EXIT_UNAVAILABLE = 4
EXIT_EXHAUSTED = 5
EXIT_SECURITY = 6
EXIT_UNHEALTHY = 7
EXIT_TEMPORARY = 75
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_INTERRUPT = 130
EXIT_TERMINATED = 143

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room: the disk is full, or a quota is used up."""


class RoadworthyError(Exception):
    """Something of ours failed: *what* happened, *why*, and *hint*, what the reader can do about it."""

    exit_code: ClassVar[int] = EXIT_GENERAL

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.hint) if line)


class UsageError(RoadworthyError):
    """An option or argument is wrong."""

    exit_code = EXIT_USAGE


class NotFound(UsageError):
    """Something was named that is not there: a policy, a service, a feature."""


class ConfigurationError(RoadworthyError):
    """A setting is wrong."""

    exit_code = EXIT_CONFIGURATION


class Unavailable(RoadworthyError):
    """A dependency, file or socket cannot be used."""

    exit_code = EXIT_UNAVAILABLE


class NotRunning(Unavailable):
    """No such application is running."""


class PortInUse(Unavailable):
    """Somebody else listens on the wanted port."""


class Exhausted(RoadworthyError):
    """A disk, a limit or a descriptor table is full."""

    exit_code = EXIT_EXHAUSTED


class Refused(RoadworthyError):
    """A security rule forbids what was asked."""

    exit_code = EXIT_SECURITY


class Unhealthy(RoadworthyError):
    """A health check or a verification failed."""

    exit_code = EXIT_UNHEALTHY


class ArenaError(RoadworthyError):
    """An arena file cannot be read."""


class ArenaVersion(ArenaError):
    """The arena was written by another version of the format."""


class ArenaBroken(ArenaError):
    """The arena's contents contradict themselves."""


class Temporary(RoadworthyError):
    """It may work if tried again."""

    exit_code = EXIT_TEMPORARY


def problem(status: int, phrase: str, code: str, detail: str, hint: str = "") -> dict[str, object]:
    """Return a problem document (RFC 9457) of an HTTP answer; ``phrase`` names the status, ``code`` for programs."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if hint:
        document["hint"] = hint
    return document
