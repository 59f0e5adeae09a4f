"""What a store of secrets has to offer. Caching, names, rotation and counting are the backend's, the same for all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from roadworthy.errors import UsageError

if TYPE_CHECKING:
    from roadworthy.types import Secret

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,199}")


@dataclass(frozen=True, slots=True)
class Held:
    """One secret as a store gave it; ``changed`` in wall seconds, None when the store does not tell."""

    secret: Secret
    changed: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what a store lists: a name, and when it was last changed, None when the store does not tell."""

    name: str
    changed: float | None = None


class Store(Protocol):
    """One place that secrets are kept in.

    ``kind`` is the value of ``SECRETS_BACKEND``, ``place`` what errors call it; ``whole`` says that one reading brings
    everything; ``plain`` that values lie there unencrypted.
    """

    kind: str
    place: str
    writable: bool
    whole: bool
    plain: bool

    def read(self, name: str) -> Mapping[str, Held]:
        """Return the secret, and what else came along; raises what :mod:`.failures` makes, NotFound if it is absent."""
        ...

    def entries(self) -> tuple[Entry, ...]:
        """Return what is there, by name; raises as :meth:`read`."""
        ...

    def write(self, name: str, value: str) -> None:
        """Put a value there, new or in place of the old; raises as :meth:`read`, UsageError when it is read-only."""
        ...

    def remove(self, name: str) -> None:
        """Take a secret away; raises as :meth:`write`."""
        ...


def check_name(name: str) -> str:
    """Return ``name`` if a secret may be called so, else raise :class:`UsageError`: it becomes a path or address."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot be the name of a secret",
            why="A name is a letter or '_', then letters, digits, '_', '.', '-'; at most 200 of them.",
            hint="Name it as an environment variable, for example: ANTHROPIC_API_KEY",
        )
    return name
