"""Warnings that the program's filters let through to be shown, by category; not those that a test records."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def install(module: ModuleType) -> None:
    """Watch the function that the interpreter calls to show a warning."""
    shows = getattr(module, "_showwarnmsg_impl", None)

    def make(original: Any) -> Any:
        def _showwarnmsg(msg: Any) -> Any:
            if getattr(module, "_showwarnmsg_impl", None) is shows:  # else somebody collects warnings in a list
                note(msg)
            return original(msg)

        return _showwarnmsg

    wrap(module, "_showwarnmsg", make)


def note(msg: Any) -> None:
    """Count one warning and keep it in the flight recorder."""
    try:
        category = msg.category.__name__
        counter = series.counter("warnings", (("category", category),), unit="{warning}", description="Warnings shown.")
        if counter is not None:
            counter.add()
            series.event("warning", 30, category, f"{msg.filename}:{msg.lineno}: {msg.message}")
    except Exception as error:
        if guard.failed("warnings", error):
            raise
