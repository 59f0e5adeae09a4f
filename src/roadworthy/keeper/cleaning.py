"""Leaving nothing behind: what only makes sense while a keeper runs goes with it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.keeper.wire import Message

_RUN_FILES = (
    "keeper.json",
    "keeper.json.new",
    "agent.json",
    "agent.sock",
    "token",
    "run.json",
    "config.json",
    "changes.json",
    "reload.json",
    "lock",
)
_ARENA_FILES = ("control", "shared", "stacks-", "declined-")
"""Beginnings of names; the arenas themselves are the agent's to remove, after it has read the last words in them."""


def clean_up(settings: Message) -> None:
    """Remove the pid file if it is ours, the run directory's index, the control page; what cannot be removed stays."""
    if settings["pid_file"]:
        _quietly(_remove_pid_file, settings["pid_file"])
    for name in _RUN_FILES:
        _quietly(os.unlink, f"{settings['run_dir']}/{name}")
    for name in _names(settings["run_dir"]):
        if name.startswith(".changes.json."):  # what an agent that was killed had begun to write
            _quietly(os.unlink, f"{settings['run_dir']}/{name}")
    for name in _names(settings["arena_dir"]):
        if name.startswith(_ARENA_FILES):
            _quietly(os.unlink, f"{settings['arena_dir']}/{name}")
    for folder in (settings["run_dir"], settings["arena_dir"]):
        _quietly(os.rmdir, folder)


def _remove_pid_file(path: str) -> None:
    with open(path, encoding="ascii") as file:
        ours = file.readline().strip() == str(os.getpid())
    if ours:
        os.unlink(path)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _quietly(act: Callable[[str], object], path: str) -> None:
    try:
        act(path)
    except OSError:
        pass  # gone already, or somebody else still keeps something there
