"""The environment that the program is given: the user's own, plus what tells our runtime where it is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from roadworthy.keeper.wire import Message

_NOT_FOR_THE_PROGRAM = (
    "NOTIFY_SOCKET",  # systemd listens to the keeper; a program that answered for it would be refused
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "ROADWORTHY_INJECT",  # of a keeper above us
    "ROADWORTHY_LISTEN",
    "ROADWORTHY_KEEPER_FD",
)


def program_environment(settings: Message, env: Mapping[str, str], listen: int) -> dict[str, str]:
    """Return the program's environment; ``listen`` is the descriptor of its listening socket, or -1."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    site = os.path.join(package, "app", "inject", "site")
    given = {name: value for name, value in env.items() if name not in _NOT_FOR_THE_PROGRAM}
    given["ROADWORTHY_APP"] = settings["app"]
    given["ROADWORTHY_ARENA_DIR"] = settings["arena_dir"]
    given["ROADWORTHY_RUN_DIR"] = settings["run_dir"]
    given["ROADWORTHY_KEEPER_PID"] = str(os.getpid())
    path = [entry for entry in given.pop("PYTHONPATH", "").split(os.pathsep) if entry and entry != site]
    if settings["inject"]:
        path.insert(0, site)
        given["ROADWORTHY_INJECT"] = package
    if path:
        given["PYTHONPATH"] = os.pathsep.join(path)
    if settings["log_level"]:
        given["ROADWORTHY_LOG_LEVEL"] = settings["log_level"]
    if settings.get("environment"):
        given["ROADWORTHY_ENV"] = settings["environment"]
    if settings.get("log_json") is not None:
        given["LOG_FORMAT_JSON"] = "true" if settings["log_json"] else "false"
    if settings["port"] is not None:
        given["PORT"] = str(settings["port"])
        if listen >= 0:
            given["ROADWORTHY_LISTEN"] = f"{listen}:{settings['bind']}:{settings['port']}"
    return given
