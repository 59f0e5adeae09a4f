"""What switches and recovery tell the outside, and what they ask of it; by default nobody listens.

The application's runtime attaches itself here (``app/services.py``) when the first feature, service or recovery is
used, so that a program without them does not pay for them, and this package needs neither arena nor log.
A listener's failure is its own: nothing that it raises reaches the program, and it is counted in :data:`failures`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from roadworthy.types import StateStore

    class Outward(Protocol):
        """Who listens."""

        def changed(
            self, kind: str, name: str, before: str, after: str, reason: str, fields: Mapping[str, object]
        ) -> None:
            """Learn that a feature or service went from one state to another."""

        def failed(self, error: BaseException, fields: Mapping[str, object]) -> None:
            """Learn of an error that recovery was asked about."""

        def recovered(self, component: str, kind: str, action: str, outcome: str) -> None:
            """Learn how a recovery turned out: ``success`` or ``failure`` of the next real call."""

        def security(self, event: str, severity: str, text: str, fields: Mapping[str, object]) -> None:
            """Learn of an error that somebody who watches over security wants to see."""

        def correlation(self) -> str:
            """Return the identifier of what is being worked on, empty when there is none."""

        def redact(self, text: str) -> str:
            """Return the text without secrets."""

        def ask_restart(self, reason: str) -> bool:
            """Ask for a new process in this one's place; tells whether somebody is there who may do it."""

        def declared(self) -> None:
            """Learn that what services and features say of themselves has changed."""

        def state_directory(self) -> str:
            """Return where this application keeps its state, empty when that is not known."""

        def store(self) -> StateStore | None:
            """Return the words that all processes of the application share, None when there are none."""


listener: Outward | None = None
"""Who listens; set by :func:`attach`."""

_used = False
_first_use: list[Callable[[], object]] = []
failures = 0
"""How often the listener failed."""


def attach(other: Outward | None) -> None:
    """Have ``other`` told from now on, instead of the one before; None: nobody."""
    global listener  # noqa: PLW0603 - one outside per process
    listener = other


def attached() -> Outward | None:
    """Return who listens, None when nobody does."""
    return listener


def when_used(function: Callable[[], object]) -> None:
    """Call ``function`` once, when the first feature, service or recovery is used; now if one was. Never raises."""
    _first_use.append(function)
    if _used:
        used()


def used() -> None:
    """Note that something here is used."""
    global _used, failures  # noqa: PLW0603 - one number per process
    _used = True
    while _first_use:
        try:
            _first_use.pop(0)()
        except Exception:  # noqa: BLE001 - as below
            failures += 1


def tell(method: str, *given: object) -> Any:  # noqa: ANN401 - what the named method returns
    """Call ``method`` of the listener and return its answer; None when there is none, or when it failed."""
    global failures  # noqa: PLW0603 - one number per process
    who = listener
    if who is None:
        return None
    try:
        call: Callable[..., object] = getattr(who, method)
        return call(*given)
    except Exception:  # noqa: BLE001 - the listener's own trouble is no reason for the program to fail
        failures += 1
        return None
