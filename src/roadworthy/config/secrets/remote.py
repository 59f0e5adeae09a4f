"""A vendor's client: made when it is first used, and anew in a forked child, which must not share its connections."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class Client:
    """Holds what ``connect`` returns, one for each process."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._made: Any = None
        self._process = 0

    def get(self) -> Any:  # noqa: ANN401 - vendors' clients are loaded late, and some have no types
        """Return the client of this process; raises what ``connect`` raises."""
        process = os.getpid()
        if self._made is None or self._process != process:
            self._made = self._connect()
            self._process = process
        return self._made
