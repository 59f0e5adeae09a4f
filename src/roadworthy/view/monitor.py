"""A running program's state for Python code in any other process (C-18, C-70): it reads what the agent knows.

::

    python -c "from roadworthy.view.monitor import Monitor; Monitor().print_status()"

Nothing is measured here: figures are those of the program, found by its name, from its agent or, without one, from its
arenas. So a second process can never report on itself by mistake.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from roadworthy import _clock
from roadworthy.view import health, offline
from roadworthy.view.client import choose, connect
from roadworthy.view.snapshot import from_json, to_json

if TYPE_CHECKING:
    from typing import TextIO

    from roadworthy.types import Snapshot


class Monitor:
    """One application, looked at from outside; ``app`` may be left out when only one runs.

    Every method raises :class:`~roadworthy.errors.NotRunning` when nothing of it runs, and
    :class:`~roadworthy.errors.Unavailable` when its agent does not answer.
    """

    def __init__(self, app: str | None = None) -> None:
        self._place = choose(app)

    @property
    def app(self) -> str:
        """The application's name."""
        return self._place.app

    def snapshot(self) -> Snapshot:
        """Return everything that is known now."""
        agent = connect(self._place)
        return offline.snapshot(self._place) if agent is None else from_json(agent.get("/api/snapshot"))

    def health_status(self) -> dict[str, Any]:
        """Return ``status``, ``checks``, ``degraded``, ``breakers``, ``timestamp`` and what they rest on (HLT-13)."""
        snapshot = self.snapshot()
        # Ages are judged by the wall clock: the figures may come from another boot's monotonic one in a container.
        age_ns = int(max(0.0, _clock.wall() - snapshot.at) * _clock.NS)
        return health.health_status(snapshot, snapshot.mono_ns + age_ns)

    def metrics(self) -> dict[str, Any]:
        """Return nested groups: ``metrics["system"]["cpu_percent"]``, ``resources``, ``operations``, ``gauges`` …."""
        return to_json(self.snapshot(), compact=True)

    def all_metrics(self) -> dict[str, Any]:
        """Return everything, the program's own series included, for exporters."""
        return to_json(self.snapshot())

    def print_status(self, stream: TextIO | None = None) -> None:
        """Print the state as ``roadworthy status`` does, without colours."""
        from roadworthy.view.terminal.status import status
        from roadworthy.view.terminal.text import Style

        style = Style(colour=False, unicode=True, width=120)
        print("\n".join(status(self.snapshot(), style, _clock.wall())), file=stream or sys.stdout)
