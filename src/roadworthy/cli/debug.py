"""``roadworthy debug``: a logger of a running program tells details for a while, and goes back by itself."""

from __future__ import annotations

import click

from roadworthy.agent.log_levels import LEVELS
from roadworthy.cli.running import find
from roadworthy.cli.settings import seconds
from roadworthy.cli.socket import ask
from roadworthy.errors import Unavailable, UsageError

LEAST = 1.0


@click.command()
@click.argument("name", required=False)
@click.option("--logger", default="", show_default=False, help="A logger by its dotted name; else the root logger.")
@click.option("--for", "lasting", metavar="DURATION", default="10m", show_default=True, help="How long.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default="debug", show_default=True)
def debug(name: str | None, logger: str, lasting: str, level: str) -> int:
    """Set a logger of a running Python program to debug for a while, in all its workers.

    When the time is over the logger has again the level that it had, whether the agent lives or not; the events tell of
    both. "roadworthy log-level default" ends it earlier.
    """
    period = seconds(lasting, "--for")
    if period < LEAST:
        raise UsageError("--for is too short", why="A second is the least.", hint="For example: --for 10m")
    asked = {"do": "log-level", "logger": logger, "level": level, "seconds": period}
    answer = ask(find(name).places.run / "agent.sock", asked)
    if not answer.get("ok"):
        raise Unavailable(
            str(answer.get("what", "the agent refused")),
            why=str(answer.get("why", "")),
            hint=str(answer.get("hint", "")),
        )
    print(answer["what"])
    return 0
