"""What the logs tell to parts above them, which announce themselves here: the flight recorder, the guard, the trail.

Nothing here imports anything, so that announcing oneself costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Recorder = Callable[[int, str, str, str, int, "BaseException | None"], object]

recorder: Recorder | None = None
"""Told of each entry of our own loggers: level, logger, text, fields (JSON, after commas), wall ns, the error."""

failed: Callable[[str, BaseException], bool] | None = None
"""The runtime's guard: counts and tells a failure of ours, and returns whether the exception must pass."""

on_security_event: list[Callable[[Mapping[str, object]], object]] = []
"""Told of each security event as it stands in the audit log."""


def security_event(record: Mapping[str, object]) -> None:
    """Tell everybody who listens of a security event; whoever fails does not keep it from the others."""
    for listener in tuple(on_security_event):
        try:
            listener(record)
        except Exception as error:  # noqa: BLE001 - one listener's trouble is not another's
            passes("security event", error)


def passes(place: str, error: BaseException) -> bool:
    """Return whether an exception that came up in code of ours is somebody else's and must be raised again."""
    return failed(place, error) if failed is not None else not isinstance(error, Exception)
