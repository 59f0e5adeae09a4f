"""Which provider there is a key for, looked up anew for every answer: a key that is rotated is used without a restart.

A key stands in `.env` in the data folder, else where `SECRETS_BACKEND` says, else in the environment.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from actors.providers import KINDS, Make, Provider
from roadworthy.config.secrets import Backend, open_backend
from roadworthy.errors import RoadworthyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from roadworthy.types import Secret

log = logging.getLogger("actors")
FRESH = 1.0
"""Seconds that a key which was read is taken for the present one."""

NO_KEY = "no API key"
UNREADABLE = "the API key cannot be read"


class Keys:
    """The keys, and the client of the one that is there."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        """Remember where they may be; raises ConfigurationError for a SECRETS_BACKEND that there is not."""
        self._environ = environ
        dotenv = open_backend({}, kind="dotenv", folder=folder, max_age=FRESH)
        self._backends: tuple[Backend, ...] = (dotenv, open_backend(environ, max_age=FRESH))
        self._made: tuple[str, Secret, Provider] | None = None
        self._making = threading.Lock()
        self._trouble: set[str] = set()
        self._told: set[str] = set()

    def find(self, name: str) -> Secret | None:
        """Return a key; None where nobody has it or who has it cannot be asked, which is logged once."""
        for backend in self._backends:
            try:
                found = backend.find(name)
            except RoadworthyError as error:
                if error.what not in self._told | self._trouble:
                    fields = {"key_name": name, "reason": error.what, "hint": error.hint}
                    log.warning("key_not_read", extra=fields)
                self._trouble.add(error.what)
                continue
            if found:
                return found
        return None

    def provider(self) -> tuple[Provider | None, str, Provider | None]:
        """Return the provider of the first key there is, else why there is none; and one that is used no more."""
        with self._making:
            self._told, self._trouble = self._trouble, set()
            return self._provider()

    def _provider(self) -> tuple[Provider | None, str, Provider | None]:
        wanted = self._environ.get("ACTORS_PROVIDER", "")
        for kind, (name, model, make) in KINDS.items():
            if wanted not in {"", kind}:
                continue
            key = self.find(name)
            if key is None:
                continue
            if self._made is not None and self._made[:2] == (kind, key):
                return self._made[2], "", None
            before = self._made
            try:
                made = self._client(kind, make, key, model)
            except ImportError as error:
                return None, f"{error.name} is not installed", None
            self._made = (kind, key, made)
            log.info("provider_chosen", extra={"provider": kind, "model": made.model, "rotated": before is not None})
            return made, "", before[2] if before else None
        before, self._made = self._made, None
        return None, UNREADABLE if self._trouble else NO_KEY, before[2] if before else None

    def _client(self, kind: str, make: Make, key: Secret, model: str) -> Provider:
        prefix = f"ACTORS_{kind.upper()}"
        return make(key, self._environ.get(f"{prefix}_MODEL", model), self._environ.get(f"{prefix}_BASE_URL", ""))
