"""Calls that were refused before, or ended instead of, reaching the other side.

::

    Rejected                    a call was refused; the policy's name is on it
    ├── BreakerOpen             … the other side fails too often: not asked until it had time to recover
    ├── RateLimited             … more calls than are allowed in this time
    ├── BulkheadFull            … more calls at once than are allowed, and none ended while it waited
    └── DeadlineExceeded        … there is no time left for it (a ``TimeoutError``, too)

Each refusal is a new object: one that is raised again and again would grow its traceback without end. They count as
neutral: no policy retries them or takes them for a failure of the other side.
"""

from __future__ import annotations

from roadworthy.errors import EXIT_TEMPORARY, RoadworthyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Rejected(RoadworthyError):
    """A call was refused by the policy named ``policy``; it may pass in ``retry_after`` seconds (None: unknown)."""

    exit_code: ClassVar[int] = EXIT_TEMPORARY

    def __init__(
        self, what: str, *, policy: str = "", retry_after: float | None = None, why: str = "", hint: str = ""
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.policy = policy
        self.retry_after = retry_after


class BreakerOpen(Rejected):
    """The other side fails too often and is not asked until it had time to recover."""


class RateLimited(Rejected):
    """More calls were made than are allowed in this time."""


class BulkheadFull(Rejected):
    """More calls are under way than are allowed, and none ended while this one waited."""


class DeadlineExceeded(Rejected, TimeoutError):
    """There is no time left for the call."""
