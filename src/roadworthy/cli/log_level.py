"""``roadworthy log-level``: set the level of a running program's loggers, and take it back."""

from __future__ import annotations

import click

from roadworthy.agent.log_levels import DEFAULT, LEVELS
from roadworthy.cli.running import find
from roadworthy.cli.socket import ask
from roadworthy.errors import Unavailable


@click.command("log-level")
@click.argument("level", type=click.Choice([*LEVELS, DEFAULT], case_sensitive=False))
@click.argument("name", required=False)
@click.option("--logger", default="", show_default=False, help="A logger by its dotted name; else the root logger.")
def log_level(level: str, name: str | None, logger: str) -> int:
    """Set the log level of a running Python program, until it is taken back with the level "default"."""
    answer = ask(find(name).places.run / "agent.sock", {"do": "log-level", "logger": logger, "level": level})
    if not answer.get("ok"):
        raise Unavailable(
            str(answer.get("what", "the agent refused")),
            why=str(answer.get("why", "")),
            hint=str(answer.get("hint", "")),
        )
    print(answer["what"])
    return 0
