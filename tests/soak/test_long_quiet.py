"""Ten minutes of an idle server and of batch steps, with the limits as they are by default: nobody is killed."""

from __future__ import annotations

import contextlib
import os
import sys

import pytest

from live.incident_kit import nothing_left
from live.test_hangs import IDLE
from support.running import Running

pytestmark = [pytest.mark.soak, pytest.mark.live]

SECONDS = float(os.environ.get("ROADWORTHY_SOAK_SECONDS", "620"))


@pytest.mark.timeout(1800)
def test_an_idle_server_and_a_ten_minute_batch_step_are_never_killed(tmp_path):
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(Running(tmp_path / str(number), [sys.executable, *IDLE[what]], name=f"quiet{number}"))
            for number, what in enumerate(IDLE)
            if "in Python" not in what  # a core each is enough for the two that compute
        ]
        begun = {}
        for run in runs:
            run.agent()
            first = run.until(lambda s: s["workers"][0]["state"] == "ready", "it is ready")
            begun[run.name] = first["at"], first["workers"][0]["pid"]
        for run in runs:
            at, pid = begun[run.name]
            last = run.until(lambda s, at=at: s["at"] - at >= SECONDS, "ten minutes", SECONDS + 120)
            (worker,) = last["workers"]
            assert (worker["pid"], worker["state"], worker["restarts"]) == (pid, "ready", 0)
            assert last["incidents"] == []
        for run in runs:
            run.process.terminate()
            run.process.wait(30)
            nothing_left(run)
