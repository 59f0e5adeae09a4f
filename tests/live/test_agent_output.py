"""What the log tail shows of a program that logs and prints, also over a restart of the agent."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from support.running import Running, wait_for

pytestmark = pytest.mark.live

PROGRAM = """
import logging, sys, time
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
log = logging.getLogger("shop")
number = 0
while True:
    number += 1
    log.info("order %04d taken", number)
    print(f"printed {number:04d}", flush=True)
    time.sleep(0.05)
"""


def shown(snapshot):
    return [(event["kind"], event["text"]) for event in snapshot["events"]]


def test_a_record_that_a_handler_prints_is_shown_once_and_nothing_again_after_a_restart(tmp_path):
    (tmp_path / "shop.py").write_text(PROGRAM)
    with Running(tmp_path, [sys.executable, str(tmp_path / "shop.py")], name="shop") as running:
        running.agent()
        seen = running.until(lambda snapshot: len(shown(snapshot)) >= 150, "enough was logged")
        said = [text for kind, text in shown(seen) if kind == "output"]
        assert sum(text.startswith("printed") for text in said) > 30
        # What was written between two readings, of the file and of the arena, may be seen twice; it is not.
        assert [text for text in said if "taken" in text] == []
        logged = [text for kind, text in shown(seen) if kind == "log"]
        assert len(logged) == len(set(logged)) > 30

        wait_for((running.state_dir / "memory.json").exists, "the agent remembers")
        before = json.loads((running.run_dir / "agent.json").read_text())["pid"]
        remembered = json.loads((running.state_dir / "memory.json").read_text())["output"]
        assert remembered["out-0-1"][1] > 0
        os.kill(before, signal.SIGKILL)

        def fresh(snapshot):
            return snapshot["agent_pid"] != before and any(kind == "output" for kind, _ in shown(snapshot))

        after = running.until(fresh, "another agent shows output")
        printed = [int(text.split()[1]) for kind, text in shown(after) if kind == "output" and "printed" in text]
        assert printed == sorted(set(printed))
        # Not the last 16 KiB once more: it goes on where the last one had saved, at most some ten seconds before.
        assert printed[0] > remembered["out-0-1"][1] // len("printed 0001\n")
