"""What the tests that kill and hang things share: last words as files, the event stream, and what may be left."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

from support.running import start_ticks, wait_for


def bundle_of(run, slot, pid, timeout=60.0):
    """Wait for the last words of a process and return them; read from the file, so that an agent need not answer."""

    def look():
        for path in (run.state_dir / "incidents").glob(f"*-{slot}-{pid}.json"):
            return json.loads(path.read_text())
        return None

    return wait_for(look, f"last words of worker {slot}, pid {pid}", timeout, 0.005)


def successor(run, slot, *but):
    """Wait until the keeper has another process in a slot than those, and return its pid."""

    def look():
        rows = json.loads((run.run_dir / "keeper.json").read_text())["slots"]
        return next(
            (one["pid"] for one in rows if (one["slot"], one["state"]) == (slot, "running") and one["pid"] not in but),
            0,
        )

    return wait_for(look, f"a successor in slot {slot}", 60, 0.01)


def exited_with(run, timeout=30.0):
    """Wait for the end of `roadworthy run` and return its status."""
    return run.process.wait(timeout)


def nothing_left(run, pids=()):
    """Nothing of a run is there any more: no process, no file but those of the state directory."""
    for pid in pids:
        wait_for(lambda pid=pid: start_ticks(pid) is None, f"the end of pid {pid}", 60)
    assert marked(run) == []
    left = [path for folder in (run.run_dir, run.arena_dir) if folder.exists() for path in folder.rglob("*")]
    assert left == []
    assert not run.run_dir.exists()
    assert not run.arena_dir.exists()
    assert [path.name for path in run.state_dir.rglob(".*")] == [], "no half-written file"


def marked(run):
    """Return the pids of living processes that carry the marks of a run."""
    wanted = f"ROADWORTHY_RUN_DIR={run.run_dir}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0") and start_ticks(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


class Heard:
    """Follows the event stream of a run in the background, over restarts of the agent."""

    def __init__(self, run):
        self._run = run
        self._steps = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.torn = []
        self.texts = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()

    def _follow(self):
        while not self._over.is_set():
            try:
                told = json.loads((self._run.run_dir / "agent.json").read_text())
                url = told["url"].rstrip("/") + "/api/events"
                request = urllib.request.Request(url, headers={"Last-Event-ID": "1"})  # noqa: S310 - the agent's own address
                with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
                    self._read(answer)
            except (OSError, ValueError, KeyError):
                self._over.wait(0.05)

    def _read(self, answer):
        kind = ""
        for line in answer:
            if self._over.is_set():
                return
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"event":
                kind = value
            elif name == b"data" and kind == b"events":
                for event in json.loads(value):
                    self._take(event)

    def _take(self, event):
        if event["torn"]:
            self.torn.append(event)
        if event["source"] == "step":
            pid, thread, step = (int(part) for part in event["text"].split("/"))
            self._steps.setdefault((pid, thread), set()).add(step)
        else:
            self.texts.append(event["text"])

    def steps(self, pid, thread):
        """Return the numbers of the steps whose events came, in their order."""
        return sorted(self._steps.get((pid, thread), ()))

    def until(self, condition, what="the events", timeout=60.0):
        """Wait until the stream has brought something."""
        return wait_for(condition, what, timeout)
