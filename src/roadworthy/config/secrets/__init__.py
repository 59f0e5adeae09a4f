"""Secrets: one interface to the stores they are kept in. Importing this loads the standard library only.

::

    from roadworthy.config.secrets import open_backend, secret_of

    secret_of("ANTHROPIC_API_KEY")             # a Secret, or None when the store has none of that name
    backend = open_backend()                   # as SECRETS_BACKEND says; the environment when nothing does
    backend.get("ANTHROPIC_API_KEY").reveal()  # raises NotFound, Refused, Temporary, Unavailable, ConfigurationError

Each error names the secret and the store and never holds a value. Vendors' clients are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roadworthy.config.secrets.backend import Backend, Described
    from roadworthy.config.secrets.choose import BACKENDS, open_backend, secret_of, use
    from roadworthy.config.secrets.store import Entry, Held, Store

__all__ = ["BACKENDS", "Backend", "Described", "Entry", "Held", "Store", "open_backend", "secret_of", "use"]

_WHERE = {
    "BACKENDS": "choose",
    "Backend": "backend",
    "Described": "backend",
    "Entry": "store",
    "Held": "store",
    "Store": "store",
    "open_backend": "choose",
    "secret_of": "choose",
    "use": "choose",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
