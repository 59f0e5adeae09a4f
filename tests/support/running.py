"""A real program under a real ``roadworthy run``, started and ended by a test, found through its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

ROADWORTHY = [str(Path(sys.executable).with_name("roadworthy"))]


class NotSeen(AssertionError):
    """A condition did not come true in its time; the text says what was waited for and what was seen last."""


def wait_for(look: Callable[[], Any], what: str, timeout: float = 30.0, every: float = 0.05) -> Any:
    """Return the first true answer of ``look``; raises :class:`NotSeen` naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = look()
        except (OSError, ValueError, KeyError, IndexError) as error:
            found, last = None, error
        if found:
            return found
        time.sleep(every)
    raise NotSeen(f"not within {timeout:g} s: {what}; last trouble: {last!r}")


class Running:
    """``roadworthy run`` of a command; leaving the block ends it and everything that it started."""

    def __init__(
        self,
        home: Path,
        command: Sequence[str],
        *,
        name: str = "app",
        options: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.home = home
        self.name = name
        self.run_dir = home / "run" / name
        self.arena_dir = home / "arena" / name
        self.state_dir = home / "state" / name
        self.env = {**os.environ, "ROADWORTHY_HOME": str(home), **(env or {})}
        self.argv = [*ROADWORTHY, "run", "--name", name, *options, "--", *command]
        self.output = home / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        pids = self.pids()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        for pid, ticks in pids:
            if start_ticks(pid) == ticks:
                os.kill(pid, signal.SIGKILL)

    def pids(self) -> list[tuple[int, int]]:
        """Return pid and start ticks of the workers and the agent, as the files tell, for cleaning up."""
        found: list[tuple[int, int]] = []
        for name in ("keeper.json", "agent.json"):
            try:
                told = json.loads((self.run_dir / name).read_text())
                found += [(row["pid"], row["start_ticks"]) for row in told.get("slots", [told])]
            except (OSError, ValueError, KeyError):
                continue
        return [(pid, ticks) for pid, ticks in found if pid and ticks]

    def agent(self) -> dict[str, Any]:
        """Return what the running agent tells of itself once its server answers."""

        def look() -> dict[str, Any] | None:
            told: dict[str, Any] = json.loads((self.run_dir / "agent.json").read_text())
            if start_ticks(told["pid"]) != told["start_ticks"]:
                return None
            try:
                with urllib.request.urlopen(told["url"].rstrip("/") + "/livez", timeout=2) as _answer:  # noqa: S310 - the agent's own address
                    return told
            except urllib.error.HTTPError:  # the program may be down: that is an answer, too
                return told

        try:
            found: dict[str, Any] = wait_for(look, "the agent answers", 30)
        except NotSeen as error:
            raise NotSeen(f"{error}\n--- output\n{self.text()}\n--- agent.log\n{self.log()}") from None
        return found

    def get(self, path: str) -> Any:
        """Return the JSON that the operations API answers to ``path``."""
        told = json.loads((self.run_dir / "agent.json").read_text())
        with urllib.request.urlopen(told["url"].rstrip("/") + path, timeout=5) as answer:  # noqa: S310 - as above
            return json.load(answer)

    def snapshot(self) -> dict[str, Any]:
        """Return the newest snapshot."""
        found: dict[str, Any] = self.get("/api/snapshot")
        return found

    def until(self, condition: Callable[[dict[str, Any]], Any], what: str, timeout: float = 30.0) -> dict[str, Any]:
        """Return the first snapshot for which ``condition`` holds."""
        last: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            last.clear()
            last.update(self.snapshot())
            return dict(last) if condition(last) else None

        try:
            found: dict[str, Any] = wait_for(look, what, timeout, 0.1)
        except NotSeen as error:
            brief = {key: last.get(key) for key in ("verdict", "workers", "incidents")}
            seen = [json.dumps(brief)[:3000], "--- output", self.text()[-2000:], "--- agent.log", self.log()[-3000:]]
            raise NotSeen("\n".join([str(error), *seen])) from None
        return found

    def worker_pid(self, slot: int = 0) -> int:
        """Return the pid that fills ``slot`` now, as the keeper tells."""
        rows = json.loads((self.run_dir / "keeper.json").read_text())["slots"]
        found: int = next(row["pid"] for row in rows if row["slot"] == slot and row["state"] == "running")
        return found

    def text(self) -> str:
        """Return what the command printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def log(self) -> str:
        """Return the agent's own log."""
        path = self.state_dir / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""


def start_ticks(pid: int) -> int | None:
    """Return when ``pid`` started (clock ticks since boot), None when it is gone or a zombie."""
    try:
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if rest[0] == "Z" else int(rest[19])
