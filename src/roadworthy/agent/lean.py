"""What the agent's process does without: modules that a library imports for what is not made of it here.

``import uvicorn`` brings its command line (click, multiprocessing) and the configuration of logging from files (pickle,
socketserver): 2 MB of the 45 that the agent may take, of which it uses nothing. In the agent's own process they are
left out; in any other one, where somebody may use them, and when a release of the library has come to need them here,
everything is imported as always.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Final

__all__ = ["Config", "H11Protocol", "RequestResponseCycle", "Server", "own_process", "prepare", "without"]

AGENT: Final = "roadworthy.cli.agent"
LEFT_OUT: Final = ("uvicorn.main", "logging.config", "configparser")


class _Nothing(ModuleType):
    """Stands for a module while others import names from it, which are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):  # what the import system asks of a module
            raise AttributeError(name)


@contextlib.contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """Have these modules, unless they are imported already, not imported within the block; afterwards they can be."""
    placed = {name: _Nothing(name) for name in names if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, one in placed.items():
            if sys.modules.get(name) is one:
                del sys.modules[name]


def prepare(package: str, names: Iterable[str]) -> bool:
    """Import a package without these modules; returns False, with nothing changed, when it cannot do without."""
    with without(names):
        try:
            importlib.import_module(package)
        except ImportError:
            return False
    return True


def own_process() -> bool:
    """Return whether this process was started as the agent, and is not one that only uses a part of it."""
    return getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "") == AGENT


if own_process():
    prepare("uvicorn.server", LEFT_OUT)

from uvicorn.config import Config  # noqa: E402 - it must not be imported before what is above
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle  # noqa: E402 - as before
from uvicorn.server import Server  # noqa: E402 - as before
