"""Runs our code right after the program imported a module, without importing anything that the program does not.

A finder stands first on ``sys.meta_path``. For the few names that somebody waits for it asks the other finders and
arms the loader they return; for every other name it is one dictionary look-up. Modules, specs and loaders stay what
they would be without us.
"""

from __future__ import annotations

import sys
from _frozen_importlib_external import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader

from roadworthy.app import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Hook = Callable[[ModuleType], None]

_waiting: dict[str, list[Hook]] = {}
# These loaders are made anew for each module. Others (zip files, frozen modules) are shared, and arming one would
# change how other modules load: what comes from there stays uninstrumented.
_ARMABLE = frozenset({SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader})


def when_imported(name: str, hook: Hook) -> None:
    """Call ``hook`` with the module ``name`` once its own code has run, each time it is loaded; now if it is there.

    What the hook raises is counted, told once, and never reaches the program's import.
    """
    _waiting.setdefault(name, []).append(hook)
    module = sys.modules.get(name)
    if module is not None and not _initializing(module):
        _run(module, hook)


def install() -> None:
    """Put the finder in its place; calling it again changes nothing."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())  # the protocol, without importing its abstract class


def uninstall() -> None:
    """Take the finder away and forget the hooks; for tests."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
    _waiting.clear()


class Finder:
    """Lets the other finders find, and arms what they found."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the others find for a module that is waited for; None for all else, so that they are asked."""
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                _arm(spec)
                return spec
        return None


def _arm(spec: ModuleSpec) -> None:
    loader = spec.loader
    if type(loader) not in _ARMABLE:
        return
    execute = loader.exec_module  # type: ignore[union-attr]  # the loaders above have it

    def armed(module: ModuleType) -> None:
        vars(loader).pop("exec_module", None)
        execute(module)
        for hook in tuple(_waiting.get(spec.name, ())):
            _run(module, hook)

    loader.exec_module = armed  # type: ignore[union-attr,method-assign]  # on the instance; gone before the module runs


def _run(module: ModuleType, hook: Hook) -> None:
    try:
        hook(module)
    except Exception as error:
        if guard.failed(f"integration {getattr(module, '__name__', '?')}", error):
            raise


def _initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
