"""What is written down: logs, redaction, correlation. Names are resolved lazily: importing this loads nothing else."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.log.correlation import CorrelationContext, bind_session
    from roadworthy.log.fast import Logger, logger
    from roadworthy.log.security import log_security_event, on_security_event
    from roadworthy.log.setup import Configured, configure, unconfigure
    from roadworthy.log.structlogs import add_correlation, configure_structlog, redact_event

_NAMES = {
    "Configured": "setup",
    "CorrelationContext": "correlation",
    "Logger": "fast",
    "add_correlation": "structlogs",
    "bind_session": "correlation",
    "configure": "setup",
    "configure_structlog": "structlogs",
    "log_security_event": "security",
    "logger": "fast",
    "on_security_event": "security",
    "redact_event": "structlogs",
    "unconfigure": "setup",
}

__all__ = [
    "Configured",
    "CorrelationContext",
    "Logger",
    "add_correlation",
    "bind_session",
    "configure",
    "configure_structlog",
    "log_security_event",
    "logger",
    "on_security_event",
    "redact_event",
    "unconfigure",
]


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = f"{__name__}.{_NAMES[name]}"
    __import__(module)
    value: object = getattr(sys.modules[module], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
