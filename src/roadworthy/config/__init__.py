"""Settings: what is in force and where it came from, and where things live. The names here are resolved lazily.

``Settings`` is the base class of an application's own settings; its markers are ``Env``, ``Group``, ``RequiredIf``,
``Folder`` and ``Asset``. ``initialize_config`` and ``get_config`` keep one configuration a process.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself would cost the start of every program that we watch
if TYPE_CHECKING:
    from roadworthy.config.markers import Asset, Env, Folder, Group, RequiredIf
    from roadworthy.config.settings import Settings, get_config, initialize_config

__all__ = ["Asset", "Env", "Folder", "Group", "RequiredIf", "Settings", "get_config", "initialize_config"]

_PLACES = {
    "Asset": "markers", "Env": "markers", "Folder": "markers", "Group": "markers", "RequiredIf": "markers",
    "Settings": "settings", "get_config": "settings", "initialize_config": "settings",
}  # fmt: skip


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    value: object = getattr(importlib.import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
