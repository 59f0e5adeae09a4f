"""A check that never ends is a failed check, and nothing else: no held GIL, no hang, no other check delayed."""

from __future__ import annotations

import sys

import pytest

from support.running import Running

pytestmark = pytest.mark.live

PROGRAM = """
import asyncio, threading
import roadworthy as rw
rw.check("stuck", threading.Event().wait, timeout=0.5, every=1)
rw.check("quick", lambda: "fine", timeout=60, every=1)
async def main():
    while True:
        await asyncio.sleep(0.1)
asyncio.run(main())
"""


def results(snapshot):
    return {one["name"]: one for one in snapshot["checks"]}


def test_a_check_that_never_ends_delays_no_other_and_is_no_hang(tmp_path):
    with Running(tmp_path / "home", [sys.executable, "-c", PROGRAM], options=["--hang-after", "2s"]) as run:
        run.agent()
        pid = run.until(lambda s: s["workers"][0]["state"] in {"starting", "ready"}, "it is up")["workers"][0]["pid"]
        first = run.until(lambda s: results(s).get("stuck", {}).get("failures_in_row", 0) >= 2, "it fails again")
        seen, quick, looks = set(), set(), set()

        def watched(snapshot):
            seen.add(snapshot["workers"][0]["liveness"])
            quick.add(results(snapshot)["quick"]["status"])
            looks.add(results(snapshot)["quick"]["at"])
            return snapshot["tick"] >= first["tick"] + 4 and len(looks) > 3

        last = run.until(watched, "four more seconds, and the quick one goes on")
    assert last["workers"][0]["pid"] == pid
    assert seen <= {"idle_or_busy", "working"}
    assert quick == {"ok"}
    assert results(last)["stuck"]["detail"] == "another run of this check has not ended"
