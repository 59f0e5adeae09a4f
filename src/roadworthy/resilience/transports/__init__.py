"""HTTP clients whose every request goes through a policy: httpx, requests, aiohttp, each only where it is installed.

What all of them do: a request of a method that may not be repeated (RFC 9110, 9.2.2), or whose body can be read only
once, is neither retried nor hedged; the remaining deadline is sent as a header
(:data:`~roadworthy.resilience.timeout.HEADER`) and shortens the client's own timeouts; an answer that is not returned,
because another attempt follows, is closed. The pause that an answer asks for in ``Retry-After`` is kept by
:class:`~roadworthy.resilience.retry.Retry` itself.

An answer is no exception: whether one with status 503 is tried again, or is a failure of the other side, is
for the policy to say: ``Retry(..., on_result=busy)``, ``CircuitBreaker(..., failure_if=failed)``.
"""

from __future__ import annotations

from roadworthy.errors import Unavailable
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.timeout import HEADER, deadline_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods of which two requests have the effect of one (RFC 9110, 9.2.2)."""

BUSY = frozenset({429, 502, 503, 504})
"""Status codes that say: not now (RFC 9110, RFC 6585)."""

FAILED_FROM = 500


def status(answer: object) -> int | None:
    """Return the status code of an answer of httpx, requests, aiohttp or urllib; None for anything else."""
    for name in ("status_code", "status"):
        found = getattr(answer, name, None)
        if isinstance(found, int):
            return found
    return None


def busy(answer: object) -> bool:
    """Return whether an answer says that the request may be made again later: for ``Retry(on_result=busy)``."""
    return status(answer) in BUSY


def failed(answer: object) -> bool:
    """Return whether an answer tells of a fault of the other side: for ``CircuitBreaker(failure_if=failed)``."""
    code = status(answer)
    return code is not None and code >= FAILED_FROM


def methods_of(methods: Iterable[str]) -> frozenset[str]:
    """Return names of methods in capitals; raises :class:`~roadworthy.resilience.arguments.BadArgument`."""
    names: tuple[object, ...] = (methods,) if isinstance(methods, str) else tuple(methods)
    if isinstance(methods, str) or not all(isinstance(name, str) and name.isalpha() for name in names):
        raise BadArgument("methods", methods, "a set of method names")
    return frozenset(str(name).upper() for name in names)


def missing(library: str) -> Unavailable:
    """Return the error for a client library that is not installed."""
    return Unavailable(
        f"{library} is not installed",
        why=f"roadworthy.resilience.transports.{library} applies a policy to it, and it cannot be imported",
        hint=f"pip install {library}",
    )


class DeadlineHeader:
    """The header that tells the other side how long this one will wait: anew for each attempt, unless it was given."""

    __slots__ = ("_given",)

    def __init__(self, headers: MutableMapping[str, str]) -> None:
        self._given = HEADER in headers

    def write(self, headers: MutableMapping[str, str]) -> None:
        """Write what is left now."""
        if self._given:
            return
        value = deadline_header()
        if value is not None:
            headers[HEADER] = value
