"""What kind of error it is, how bad, and whose: tables and pure functions, no clock, no I/O.

An exception is judged by what it is (its class and the names of its bases, so that libraries need not be imported), by
the codes it carries (``errno``, SQLSTATE, SQLite's, HTTP status), and, where it says nothing itself, by its cause.
"""

from __future__ import annotations

import errno

from roadworthy import errors
from roadworthy.errors import RoadworthyError
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

ENDING = "ending"
REJECTED = "rejected"
CONNECTION = "connection"
RATE_LIMIT = "rate_limit"
TIMEOUT = "timeout"
LOCKED = "locked"
MEMORY = "memory"
DISK_FULL = "disk_full"
DESCRIPTORS = "descriptors"
FILE = "file"
IMPORT = "import"
PERMISSION = "permission"
SECURITY = "security"
INPUT = "input"
BUG = "bug"
UNKNOWN = "unknown"

INFO, WARNING, ERROR, CRITICAL = SEVERITIES = ("info", "warning", "error", "critical")
"""The values of :class:`roadworthy.types.Severity`, which costs a program more to import than this whole package."""

SEVERITY = {
    ENDING: INFO,
    REJECTED: WARNING,
    RATE_LIMIT: WARNING,
    TIMEOUT: WARNING,
    LOCKED: WARNING,
    INPUT: WARNING,
    CONNECTION: ERROR,
    FILE: ERROR,
    IMPORT: ERROR,
    PERMISSION: ERROR,
    BUG: ERROR,
    UNKNOWN: ERROR,
    SECURITY: CRITICAL,
    MEMORY: CRITICAL,
    DISK_FULL: CRITICAL,
    DESCRIPTORS: CRITICAL,
}
"""How bad each kind is; a component that is declared critical makes warnings errors and errors critical."""

EXIT_CODES = {
    CONNECTION: errors.EXIT_UNAVAILABLE,
    IMPORT: errors.EXIT_UNAVAILABLE,
    FILE: errors.EXIT_UNAVAILABLE,
    MEMORY: errors.EXIT_EXHAUSTED,
    DISK_FULL: errors.EXIT_EXHAUSTED,
    DESCRIPTORS: errors.EXIT_EXHAUSTED,
    PERMISSION: errors.EXIT_SECURITY,
    SECURITY: errors.EXIT_SECURITY,
    INPUT: errors.EXIT_USAGE,
    REJECTED: errors.EXIT_TEMPORARY,
    RATE_LIMIT: errors.EXIT_TEMPORARY,
    TIMEOUT: errors.EXIT_TEMPORARY,
    LOCKED: errors.EXIT_TEMPORARY,
}
"""What a program that ends because of such an error exits with (C-60); kinds that are not named: 1."""

_ERRNO = {
    **dict.fromkeys(errors.FULL, DISK_FULL),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), DESCRIPTORS),
    errno.ENOMEM: MEMORY,
    errno.ETIMEDOUT: TIMEOUT,
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), PERMISSION),
    **dict.fromkeys(
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN, errno.EHOSTUNREACH,
         errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL),
        CONNECTION,
    ),
}  # fmt: skip

_SQLITE = {
    3: PERMISSION,
    5: LOCKED,
    6: LOCKED,
    7: MEMORY,
    8: PERMISSION,
    10: FILE,
    13: DISK_FULL,
    14: FILE,
    23: SECURITY,
}
"""Primary result codes of SQLite."""

_SQLSTATE = (
    ("08", CONNECTION), ("57P0", CONNECTION), ("53300", CONNECTION), ("57014", TIMEOUT), ("55P03", LOCKED),
    ("40P01", LOCKED), ("40001", LOCKED), ("53100", DISK_FULL), ("53200", MEMORY), ("28", SECURITY),
    ("42501", PERMISSION),
)  # fmt: skip
"""Beginnings of SQLSTATE (PostgreSQL's appendix A)."""

_STATUS = {401: PERMISSION, 403: PERMISSION, 408: TIMEOUT, 429: RATE_LIMIT, 500: CONNECTION, 502: CONNECTION,
           503: CONNECTION, 504: TIMEOUT, 507: DISK_FULL}  # fmt: skip
"""HTTP status of an answer that was raised as an exception."""

_NAMES = {
    "SSLCertVerificationError": SECURITY,
    "InvalidSignature": SECURITY,
    "AuthenticationError": SECURITY,
    "gaierror": CONNECTION,
    "SSLError": CONNECTION,
    "RateLimitError": RATE_LIMIT,
    "TooManyRequests": RATE_LIMIT,
    "Timeout": TIMEOUT,
    "TimeoutException": TIMEOUT,
    "ConnectTimeout": TIMEOUT,
    "ReadTimeout": TIMEOUT,
    "PoolTimeout": TIMEOUT,
    "ConnectError": CONNECTION,
    "ConnectionError": CONNECTION,
    "ConnectionClosed": CONNECTION,
    "ClientConnectionError": CONNECTION,
    "NetworkError": CONNECTION,
    "RemoteProtocolError": CONNECTION,
    "RemoteDisconnected": CONNECTION,
    "ServerDisconnectedError": CONNECTION,
    "LockNotAvailable": LOCKED,
}
"""Classes of libraries, by name: requests, httpx, aiohttp, redis, websockets, ssl, socket, psycopg."""

_CLASSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((MemoryError,), MEMORY),
    ((ImportError,), IMPORT),
    ((TimeoutError,), TIMEOUT),
    ((ConnectionError,), CONNECTION),
    ((PermissionError,), PERMISSION),
    ((FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError), FILE),
)
_BUILTIN: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((UnicodeError, ValueError), INPUT),
    ((TypeError, AttributeError, NameError, LookupError, ArithmeticError, AssertionError, RecursionError,
      NotImplementedError), BUG),
)  # fmt: skip
_ENDING_NAMES = frozenset({"CancelledError", "Cancelled"})
_DEEPEST = 4
_MOST_FRAMES = 2000


def kind_of(error: BaseException) -> str:
    """Return what kind of error it is, one of the names above; of a group its worst member's."""
    return _kind(error, 0)


def _kind(error: BaseException, depth: int) -> str:  # noqa: PLR0911 - one return for each way to know
    if isinstance(error, BaseExceptionGroup):
        kinds = [_kind(member, depth + 1) for member in error.exceptions[:100]] if depth < _DEEPEST else []
        return max(kinds, key=lambda kind: SEVERITIES.index(SEVERITY[kind]), default=UNKNOWN)
    names = [cls.__name__ for cls in type(error).__mro__]
    if not isinstance(error, Exception) or not _ENDING_NAMES.isdisjoint(names[:-2]):
        return ENDING
    if isinstance(error, Rejected):
        return REJECTED
    declared = getattr(error, "kind", None)
    if isinstance(declared, str) and declared in SEVERITY:
        return declared
    found = _by_code(error, names) or _by_class(error, names)
    if found:
        return found
    inner = getattr(error, "orig", None) or error.__cause__
    if isinstance(inner, BaseException) and depth < _DEEPEST:
        found = _kind(inner, depth + 1)
        if found not in {UNKNOWN, BUG, INPUT}:
            return found
    return next((kind for classes, kind in _BUILTIN if isinstance(error, classes)), UNKNOWN)


def _by_code(error: Exception, names: list[str]) -> str:
    sqlite = getattr(error, "sqlite_errorcode", None)
    if isinstance(sqlite, int):
        return _SQLITE.get(sqlite & 0xFF, "")
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return next((kind for start, kind in _SQLSTATE if state.startswith(start)), "")
    if "OperationalError" in names and "locked" in text_of(error):
        return LOCKED
    status = status_of(error, names)
    if status in _STATUS:
        return _STATUS[status]
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        by_name = next((_NAMES[name] for name in names if name in _NAMES), "")
        return by_name or _ERRNO.get(error.errno or 0, "")
    return ""


def _by_class(error: Exception, names: list[str]) -> str:
    for classes, kind in _CLASSES:
        if isinstance(error, classes):
            return kind
    return next((_NAMES[name] for name in names if name in _NAMES), FILE if isinstance(error, OSError) else "")


def status_of(error: BaseException, names: list[str] | None = None) -> int | None:
    """Return the HTTP status that an exception carries (itself or its ``response``), None without one."""
    response = getattr(error, "response", None)
    for holder in (error, response):
        for attribute in ("status_code", "status"):
            found = getattr(holder, attribute, None)
            if isinstance(found, int) and not isinstance(found, bool):
                return found
    if "HTTPError" in (names or [cls.__name__ for cls in type(error).__mro__]):
        code = getattr(error, "code", None)
        return code if isinstance(code, int) else None
    return None


def retry_after_of(error: BaseException) -> float | None:
    """Return for how many seconds the other side asked to be left alone, None when it did not say it in seconds.

    Looked for in ``retry_after`` and in the headers of the exception or its ``response`` (``Retry-After: 120``).
    """
    response = getattr(error, "response", None)
    given: object = getattr(error, "retry_after", None)
    for holder in (error, response):
        headers = getattr(holder, "headers", None)
        if given is None and headers is not None and hasattr(headers, "get"):
            given = headers.get("Retry-After", None) or headers.get("retry-after", None)
    try:
        seconds = float(given)  # type: ignore[arg-type]  # what is no number is refused here
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 1e6 else None  # noqa: PLR2004 - more is no pause, and NaN is none


def severity_of(kind: str, *, critical: bool = False) -> str:
    """Return how bad an error of this kind is; in a critical component one step worse than elsewhere."""
    severity = SEVERITY.get(kind, ERROR)
    if critical and severity in {WARNING, ERROR}:
        severity = SEVERITIES[SEVERITIES.index(severity) + 1]
    return severity


def exit_code_of(error: BaseException) -> int:
    """Return what a program that ends by this error exits with (C-60): ours carry theirs, others by their kind."""
    if isinstance(error, RoadworthyError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return errors.EXIT_INTERRUPT
    declared = getattr(error, "exit_code", None)
    if isinstance(declared, int):
        return declared
    return EXIT_CODES.get(kind_of(error), errors.EXIT_GENERAL)


def component_of(error: BaseException) -> str:
    """Return the module whose code raised it, for errors that nobody gave a component; else "unknown"."""
    names = [frame[0] for frame in _frames(error.__traceback__)]
    return names[-1] if names else UNKNOWN


def fingerprint_of(error: BaseException, component: str, operation: str) -> str:
    """Return 12 hex digits, the same for errors of one class from one place of one component's operation."""
    from hashlib import blake2b

    places = [f"{module}.{function}" for module, function in _frames(error.__traceback__)[-8:]]
    kind = type(error)
    text = "\x1f".join((f"{kind.__module__}.{kind.__qualname__}", component, operation, *places))
    return blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def _frames(trace: TracebackType | None) -> list[tuple[str, str]]:
    """Return (module, function) of the frames that are not ours, outermost first; recursion is one frame."""
    found: list[tuple[str, str]] = []
    ahead = trace
    for _ in range(_MOST_FRAMES):
        ahead = ahead and ahead.tb_next
    while ahead is not None and trace is not None:  # a recursion may be a million deep: its end tells enough
        ahead, trace = ahead.tb_next, trace.tb_next
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        place = (module, frame.f_code.co_qualname)
        if not module.startswith("roadworthy.resilience") and (not found or found[-1] != place):
            found.append(place)
        trace = trace.tb_next
    return found


def text_of(error: BaseException) -> str:
    """Return an exception's text, lower case, bounded; empty when its own ``__str__`` fails."""
    try:
        return str(error)[:400].lower()
    except Exception:  # noqa: BLE001 - its own affair
        return ""
