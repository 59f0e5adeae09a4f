"""Correlation identifiers go along into threads and pools of an injected program: those of who starts or asks them."""

from __future__ import annotations

from roadworthy.log import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def install_threads(module: ModuleType) -> None:
    """Carry them into threads; ``module`` is :mod:`threading`."""
    threads.carry_threads(module)


def install_pools(module: ModuleType) -> None:
    """Carry them into pools; ``module`` is :mod:`concurrent.futures.thread`."""
    threads.carry_pools(module)
