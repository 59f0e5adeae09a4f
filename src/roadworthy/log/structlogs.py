"""structlog on our pipeline: one call, or one processor in a chain of the program's own."""

# ruff: noqa: ANN401 - structlog's own types, which are not imported where it is absent

from __future__ import annotations

from roadworthy.log import correlation, text
from roadworthy.log.fast import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EVENT = "event"


def configure_structlog(**options: Any) -> None:
    """Have structlog's loggers write through ours, with the same fields, redaction and levels.

    Its context variables and bound values become fields. ``options`` go to ``structlog.configure`` and override ours.
    """
    import structlog

    ours: dict[str, Any] = {
        "processors": [structlog.contextvars.merge_contextvars, hand_over],
        "logger_factory": _factory,
        "wrapper_class": structlog.make_filtering_bound_logger(0),
        "cache_logger_on_first_use": True,
    }
    structlog.configure(**{**ours, **options})


def _factory(*args: Any) -> Any:
    return logger(str(args[0]) if args else "")


def hand_over(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Hand structlog's event and fields to our logger: the last processor of a chain."""
    event = event_dict.pop(EVENT, "")
    return (event,), event_dict


def add_correlation(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Add the identifiers of the context to an event, where it does not bring its own: a processor for any chain."""
    here = correlation.found()
    for name, value in here.fields().items():
        event_dict.setdefault(name, text.session_mark(value) if name == "session_id" else value)
    return event_dict


def redact_event(_logger: Any, _method: str, event_dict: Any) -> Any:
    """Take secrets and personal data out of an event, nested ones too: a processor for any chain."""
    from roadworthy.log.redact import REDACTED, secret_key

    for name, value in list(event_dict.items()):
        if name == "session_id":
            event_dict[name] = text.session_mark(text.as_text(value))
        elif secret_key(str(name)):
            event_dict[name] = REDACTED
        elif not isinstance(value, (int, float, type(None), BaseException, tuple)):
            event_dict[name] = text.value(value)[1]
    return event_dict
