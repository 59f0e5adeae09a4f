"""Replacing somebody else's function by one that calls it and looks like it."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


MARK = "__roadworthy__"


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> bool:
    """Replace ``owner.name`` by ``make(original)``; return False when there is none, or when it is ours already.

    The new function carries the old one's names, documentation, attributes and, as ``__wrapped__``, the old one itself.
    """
    original = getattr(owner, name, None)
    if original is None or getattr(original, MARK, False):
        return False
    new = disguise(make(original), original)
    setattr(owner, name, new)
    return True


def disguise(new: Any, original: Any) -> Any:
    """Return ``new`` with the names, documentation and attributes of ``original``."""
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        try:
            setattr(new, attribute, getattr(original, attribute))
        except (AttributeError, TypeError):
            continue
    new.__dict__.update(getattr(original, "__dict__", {}))
    new.__wrapped__ = original
    setattr(new, MARK, True)
    return new
