"""The log level of a program that runs is set by one command and taken back by another."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.running import ROADWORTHY, Running

pytestmark = pytest.mark.live

PROGRAMS = {
    "a plain program": """
import logging, time
logging.basicConfig(level=logging.INFO)
while True:
    logging.getLogger("pkg.mod").debug("detail")
    logging.getLogger("pkg.other").debug("detail")
    logging.info("told")
    time.sleep(0.02)
""",
    "an asyncio program that logs only details": """
import asyncio, logging
logging.basicConfig(level=logging.INFO)
async def main():
    while True:
        logging.getLogger("pkg.mod").debug("detail")
        logging.getLogger("pkg.other").debug("detail")
        await asyncio.sleep(0.02)
asyncio.run(main())
""",
}


def details(snapshot):
    """Return how many debug records each logger has let through."""
    return {
        one["labels"]["logger"]: one["value"]
        for one in snapshot["series"]
        if one["name"] == "log.records" and one["labels"]["level"] == "debug"
    }


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_level_is_set_while_the_program_runs_and_taken_back(tmp_path, what):
    with Running(tmp_path / "home", [sys.executable, "-c", PROGRAMS[what]]) as run:
        run.agent()

        def level(*arguments):
            command = [*ROADWORTHY, "log-level", *arguments]
            return subprocess.run(command, env=run.env, capture_output=True, text=True, check=True).stdout

        first = run.until(lambda s: s["workers"][0]["state"] == "ready", "it is ready")
        assert details(first) == {}
        assert level("debug", "--logger", "pkg.mod") == "logger 'pkg.mod' is set to debug\n"
        run.until(lambda s: details(s).get("pkg.mod", 0) > 0, "details of one logger are told")
        assert level("default", "--logger", "pkg.mod") == "logger 'pkg.mod' goes back to what the program gives it\n"

        back = "logger 'pkg.mod' is at NOTSET, as the program has it"
        last = run.until(lambda s: any(one["text"] == back for one in s["events"]), "it has gone back")
        soon = run.until(lambda s: s["tick"] > last["tick"], "what was counted until then is shown")
        later = run.until(lambda s: s["tick"] >= soon["tick"] + 3, "three more seconds")
        assert set(details(later)) == {"pkg.mod"}
        assert details(later) == details(soon)
