"""Exceptions for the application itself, one class for each kind of failure (ERR-17).

::

    ApplicationError             1   something of the application failed
    ├── InvalidInput             2   what was asked for or entered is not valid
    ├── DependencyFailed         4   a service, database or upstream cannot be used
    │   ├── DependencyTimedOut  75   … it took too long
    │   └── DependencyBusy      75   … it asks to be left alone for a while
    ├── DataLocked              75   somebody else holds the data
    ├── StorageFailed            4   a file or directory cannot be used
    ├── OutOfResources           5   memory, disk or descriptors are used up
    ├── NotAllowed               6   the caller may not do this
    ├── SecurityBreach           6   a signature, certificate or token is wrong
    └── BrokenState              1   the application's own state contradicts itself

Recovery goes by ``kind``, a program that ends by ``exit_code`` (C-60). ``str(error)`` is for logs; ``public`` is the
one sentence that users may see, and must hold nothing secret; without it they get the sentence for the kind.
"""

from __future__ import annotations

from roadworthy import errors
from roadworthy.resilience.recover import classify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class ApplicationError(Exception):
    """Something of the application failed."""

    kind: ClassVar[str] = classify.UNKNOWN
    exit_code: ClassVar[int] = errors.EXIT_GENERAL

    def __init__(self, message: str = "", *, public: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])
        self.public = public
        self.retry_after = retry_after


class InvalidInput(ApplicationError):
    """What was asked for or entered is not valid."""

    kind = classify.INPUT
    exit_code = errors.EXIT_USAGE


class DependencyFailed(ApplicationError):
    """A service, database or upstream cannot be used."""

    kind = classify.CONNECTION
    exit_code = errors.EXIT_UNAVAILABLE


class DependencyTimedOut(DependencyFailed):
    """A service, database or upstream took too long."""

    kind = classify.TIMEOUT
    exit_code = errors.EXIT_TEMPORARY


class DependencyBusy(DependencyFailed):
    """A service, database or upstream asks to be left alone for a while."""

    kind = classify.RATE_LIMIT
    exit_code = errors.EXIT_TEMPORARY


class DataLocked(ApplicationError):
    """Somebody else holds the data."""

    kind = classify.LOCKED
    exit_code = errors.EXIT_TEMPORARY


class StorageFailed(ApplicationError):
    """A file or directory cannot be used."""

    kind = classify.FILE
    exit_code = errors.EXIT_UNAVAILABLE


class OutOfResources(ApplicationError):
    """Memory, disk or descriptors are used up."""

    kind = classify.MEMORY
    exit_code = errors.EXIT_EXHAUSTED


class NotAllowed(ApplicationError):
    """The caller may not do this."""

    kind = classify.PERMISSION
    exit_code = errors.EXIT_SECURITY


class SecurityBreach(ApplicationError):
    """A signature, certificate or token is wrong."""

    kind = classify.SECURITY
    exit_code = errors.EXIT_SECURITY


class BrokenState(ApplicationError):
    """The application's own state contradicts itself."""

    kind = classify.BUG
