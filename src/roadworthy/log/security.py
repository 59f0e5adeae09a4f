"""Security events: what somebody who watches over a program's security wants to see, as structured audit records.

An event goes into the application's trail when it has a state directory, and to everybody who asked for it with
:func:`on_security_event` (the security log file, the flight recorder). Errors that nobody caught and errors with
security relevance make one by themselves, once a minute for each cause. Nothing here raises, and nothing waits longer
than a tenth of a second.
"""

from __future__ import annotations

import os

from roadworthy import _clock
from roadworthy.log import hook as hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Hook = Callable[[Mapping[str, object]], object]

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
ACT = "security"
PATIENCE = 0.05
"""Seconds that a record may wait for another process's append."""

EVERY = 60.0
"""Seconds between two events that one cause makes by itself."""

MOST = 20
"""Events that all causes together make by themselves in that time; what is held back is counted in the next."""

_MOST_CAUSES = 512
_FLOW = frozenset({"SSLWantReadError", "SSLWantWriteError", "SSLZeroReturnError", "SSLEOFError", "SSLSyscallError"})
"""What TLS raises in the course of things: more is to be read, the other side has hung up."""

_DENIED = ("accessdenied", "permissiondenied", "forbidden", "notpermitted", "disallowed", "suspiciousoperation")
_LOGIN = (
    "authentication", "authenticationerror", "autherror", "authfail", "authorization", "unauthorized", "unauthorised",
    "invalidtoken", "tokenexpired", "expiredtoken", "invalidsignature", "badsignature", "expiredsignature",
    "signatureexpired", "credential", "csrf", "loginfail", "loginerror", "wrongpassword", "invalidpassword",
)  # fmt: skip
_kinds: dict[type[BaseException] | str, str] = {}
_causes: dict[str, list[float]] = {}
"""Cause -> when it last made an event, and how many were held back since."""

_window = [0.0, 0.0, 0.0]
"""When the present minute began, the events made in it, those held back."""

_app = ""


def log_security_event(
    event_type: str,
    description: str = "",
    severity: str = "WARNING",
    additional_data: Mapping[str, object] | None = None,
) -> bool:
    """Write an audit record and return whether the trail has it. Never raises.

    ``log_security_event(event_type="authentication_failure", description="three wrong passwords",
    additional_data={"attempts": 3})``. ``severity`` is DEBUG, INFO, WARNING, ERROR or CRITICAL; any other word counts
    as WARNING and is kept in the record. Without a state directory of the application only the hooks hear of it.
    """
    try:
        return _tell(_record(event_type, description, severity, additional_data))
    except Exception as error:
        if hooks.passes("security.event", error):
            raise
        return False


def on_security_event(hook: Hook) -> Hook:
    """Call ``hook`` with each record from now on.

    A record is a mapping with ``event_type``, ``severity``, ``description``, ``data`` and more. What it is given
    is not redacted yet. What it raises is swallowed. May be used as a decorator; returns ``hook``.
    """
    if hook not in hooks.on_security_event:
        hooks.on_security_event.append(hook)
    return hook


def off_security_event(hook: Hook) -> None:
    """Call ``hook`` no more; nothing happens when it was not called before."""
    if hook in hooks.on_security_event:
        hooks.on_security_event.remove(hook)


def belongs_to(app: str) -> None:
    """Say which application this process is."""
    global _app  # noqa: PLW0603 - one in a process
    _app = app


def security_relevant(error: BaseException | type[BaseException] | str) -> str:
    """Return what kind of security event an error is, empty when it is none: told by its type's name alone.

    ``permission_denied``, ``authentication_failure``, ``tls_failure`` or ``refused`` (a security rule of ours).
    """
    key: type[BaseException] | str = type(error) if isinstance(error, BaseException) else error
    found = _kinds.get(key)
    if found is None:
        found = _kind_of(key)
        if len(_kinds) >= _MOST_CAUSES:
            _kinds.clear()
        _kinds[key] = found
    return found


def raised(
    error: BaseException | type[BaseException] | str, cause: str, text: str, *, handled: bool, operation: str = ""
) -> None:
    """Make an event of an error if it is one: relevant to security, or caught by nobody. ``cause`` is a fingerprint.

    What a failed login says is left out: it may hold what was tried.
    """
    kind = security_relevant(error)
    if kind or not handled:
        severity = "WARNING" if handled else "CRITICAL"
        text = text.partition(":")[0] if kind == "authentication_failure" else text
        limited(cause, kind or "critical_error", text, severity, {"fingerprint": cause, "operation": operation})


def limited(cause: str, event_type: str, text: str, severity: str, data: Mapping[str, object]) -> bool:
    """Make an event, unless this cause made one within the last minute or all together made too many. Never raises."""
    try:
        now = _clock.monotonic()
        held = _may(cause, now)
        if held is None:
            return False
        return _tell(_record(event_type, text, severity, {**data, "held_back": held} if held else data))
    except Exception as error:
        if hooks.passes("security.limited", error):
            raise
        return False


def _may(cause: str, now: float) -> int | None:
    """Return how many events of this cause were held back since its last one, None to hold back this one too."""
    known = _causes.get(cause)
    if known is not None and now - known[0] < EVERY:
        known[1] += 1
        return None
    if now - _window[0] >= EVERY or not _window[0]:
        _window[:] = [now, 0.0, _window[2]]
    if _window[1] >= MOST:
        _window[2] += 1
        return None
    _window[1] += 1
    held = int((known[1] if known is not None else 0) + _window[2])
    _window[2] = 0.0
    if len(_causes) >= _MOST_CAUSES:
        _causes.clear()
    _causes[cause] = [now, 0.0]
    return held


def _record(event_type: str, description: str, severity: str, data: Mapping[str, object] | None) -> dict[str, object]:
    from roadworthy.log.correlation import current

    word = str(severity).upper()
    told = dict(data or {})
    if word not in LEVELS:
        told["severity_given"], word = severity, "WARNING"
    record: dict[str, object] = {
        "at": round(_clock.wall(), 3),
        "actor": "program",
        "act": ACT,
        "target": event_type,
        "event_type": event_type,
        "severity": word,
        "description": description,
        "data": told,
        "app": _app or os.environ.get("ROADWORTHY_APP", ""),
        "pid": os.getpid(),
    }
    if correlation := current():
        record["correlation_id"] = correlation
    return record


def _tell(record: dict[str, object]) -> bool:
    hooks.security_event(record)
    folder = _folder(str(record["app"]))
    if not folder:
        return False
    from roadworthy.log import trail

    # Not brought to the disk here: that may take long, and the program has better things to do.
    trail.append(folder, record, patience=PATIENCE, sync=False)
    return True


def _folder(app: str) -> str:
    """Return the application's state directory if there is one; raises :class:`Refused` when it is somebody else's."""
    if not app:
        return ""
    from roadworthy.config import where

    path = where.state_root(os.environ, where.check_name(app, "ROADWORTHY_APP"))
    if not os.path.isdir(path):
        return ""
    where.verify(path, os.lstat(path))
    return path


def _kind_of(key: type[BaseException] | str) -> str:
    names = [key.rpartition(".")[2]] if isinstance(key, str) else [one.__name__ for one in key.__mro__]
    if not _FLOW.isdisjoint(names):
        return ""
    if "PermissionError" in names:
        return "permission_denied"
    if any(name.startswith("SSL") for name in names) or "CertificateError" in names:
        return "tls_failure"
    if "Refused" in names and (
        isinstance(key, str) or any(one.__module__ == "roadworthy.errors" for one in key.__mro__)
    ):
        return "refused"
    lowered = [name.lower().replace("_", "") for name in names]
    if any(word in name for name in lowered for word in _LOGIN):
        return "authentication_failure"
    return "permission_denied" if any(word in name for name in lowered for word in _DENIED) else ""
