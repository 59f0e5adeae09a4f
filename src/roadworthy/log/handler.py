"""The standard library's records, written by our pipeline: the handler that ``configure`` gives the root logger."""

from __future__ import annotations

import logging

from roadworthy._clock import NS
from roadworthy.log import fast, hook, pipeline

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Handler(logging.Handler):
    """Writes records without a lock: a line is written in one step, and does not mix with another thread's."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record that the handler's filters let through."""
        passed: object = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)  # a filter may give another: 3.12
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; never raises."""
        try:
            pipe = pipeline.current
            if pipe is None:
                return
            fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
            event: object = record.msg
            if isinstance(event, dict):  # structlog hands its event dictionary to the standard library's formatter
                fields = {**{str(name): value for name, value in event.items() if name != "event"}, **fields}
                event = event.get("event", "")
                fields.pop("_logger", None)
                fields.pop("_name", None)
            elif record.args:
                event = fast.formatted(event, _tuple(record.args))
            if record.threadName and record.threadName != "MainThread":
                fields.setdefault("thread", record.threadName)
            pipe.write(
                record.name,
                record.levelno,
                event,
                fields,
                now=int(record.created * NS),
                error=fast.raised(record.exc_info),
                stack=record.stack_info,
            )
        except Exception as error:
            if hook.passes("log handler", error):
                raise


def _tuple(args: object) -> tuple[object, ...]:
    return args if isinstance(args, tuple) else (args,)
