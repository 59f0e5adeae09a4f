"""Broken, foreign and hostile files in the arena directory while the agent watches: shown, survived, and forgotten."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.refused import roadworthy
from support.running import Running, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

PROGRAM = """
import time
import roadworthy as rw
done = rw.counter("done")
while True:
    with rw.operation("work"):
        done.add()
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("arena"), [sys.executable, "-c", PROGRAM], name="web") as started:
        started.agent()
        started.until(lambda s: s["operations"], "it works")
        yield started


def live(directory: Path) -> Path:
    """Return the living program's own arena."""
    return max(directory.glob("*.arena"), key=lambda path: path.stat().st_mtime)


def changed(offset: int, words: bytes) -> Callable[[Path, Path], None]:
    """Return what copies the living arena with some bytes of its header changed."""

    def make(path: Path, directory: Path) -> None:
        shutil.copyfile(live(directory), path)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(words)

    return make


def noise(path: Path, directory: Path) -> None:
    """Change every seventh word after the header of a copy."""
    shutil.copyfile(live(directory), path)
    dice = random.Random(7)  # noqa: S311 - noise, the same each time
    with path.open("r+b") as file:
        for at in range(16, path.stat().st_size - 8, 56):
            file.seek(at)
            file.write(struct.pack("<Q", dice.getrandbits(64)))


def sparse(path: Path, directory: Path) -> None:
    shutil.copyfile(live(directory), path)
    os.truncate(path, 1 << 40)


def listening(path: Path, _directory: Path) -> None:
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)


HOSTILE: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda path, _: path.write_bytes(b""),
    "text": lambda path, _: path.write_text("not an arena\n" * 1000),
    "zeros": lambda path, _: path.write_bytes(bytes(2 << 20)),
    "cut": lambda path, directory: path.write_bytes(live(directory).read_bytes()[:5000]),
    "magic": changed(0, b"NOTARENA"),
    "version": changed(8, struct.pack("<Q", 999)),
    "sizes": changed(16, struct.pack("<Q", 1 << 62)),
    "noise": noise,
    "sparse": sparse,
    "fifo": lambda path, _: os.mkfifo(path),
    "socket": listening,
    "directory": lambda path, _: path.mkdir(),
    "link": lambda path, _: path.symlink_to("/etc/passwd"),
    "endless": lambda path, _: path.symlink_to("/dev/zero"),
    "loop": lambda path, _: path.symlink_to(path.name),
}


READABLE = ("noise", "sparse")
"""Those may be read as what a dead process has left, whose counts are kept."""


@pytest.mark.parametrize("kinds", [READABLE, tuple(kind for kind in HOSTILE if kind not in READABLE)], ids=len)
def test_hostile_files_among_the_arenas_end_nothing(kinds, running, monkeypatch):
    monkeypatch.chdir(running.home)
    before, logged = running.snapshot(), len(running.log())
    paths = {kind: running.arena_dir / f"{'0' * 8}-{2**22 + n}-1-0.arena" for n, kind in enumerate(kinds)}
    for kind, path in paths.items():
        HOSTILE[kind](path, running.arena_dir)
    try:
        after = running.until(lambda s: s["tick"] >= before["tick"] + 3, "it goes on", 20)
    finally:
        for path in paths.values():
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
    assert after["agent_pid"] == before["agent_pid"]
    assert after["verdict"]["live"]
    assert after["verdict"]["status"] in {"ok", "degraded"}
    assert [one["pid"] for one in after["workers"]] == [one["pid"] for one in before["workers"]]
    counts = [next(one["value"] for one in s["series"] if one["name"] == "done") for s in (before, after)]
    if kinds != READABLE:
        assert 0 < counts[1] - counts[0] < 2000
    running.until(lambda s: s["verdict"]["status"] == "ok", "it recovers")
    assert "Traceback" not in running.log()[logged:]


def test_a_broken_arena_is_shown_with_its_reason(running):
    kinds = ("text", "version", "cut")
    paths = {kind: running.arena_dir / f"{'0' * 8}-{2**22 + n}-1-0.arena" for n, kind in enumerate(kinds, 100)}
    for kind, path in paths.items():
        HOSTILE[kind](path, running.arena_dir)

    def about(snapshot):
        return [one for one in snapshot["verdict"]["findings"] if "arena" in one["subject"]]

    try:
        seen = running.until(about, "the broken arenas are shown")
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
    assert all(finding["reason"] for finding in about(seen))
    running.until(lambda s: s["verdict"]["status"] == "ok", "it recovers when the files have gone")


def test_a_thousand_hostile_files_do_not_stop_the_watching(running):
    before = running.snapshot()
    paths = [running.arena_dir / f"{'0' * 8}-{2**22 + n}-1-0.arena" for n in range(1000)]
    for path in paths:
        path.write_bytes(b"\xff" * 100)
    odd = Path(os.fsdecode(os.fsencode(running.arena_dir) + b"/\xff\n.arena"))
    odd.write_bytes(b"x")
    try:
        after = running.until(lambda s: s["tick"] >= before["tick"] + 3, "it goes on", 30)
    finally:
        for path in (*paths, odd):
            path.unlink(missing_ok=True)
    assert after["agent_pid"] == before["agent_pid"]
    assert len(after["verdict"]["findings"]) < 50
    running.until(lambda s: s["verdict"]["status"] == "ok", "it recovers")


def test_a_control_page_full_of_noise_harms_neither_side(running):
    before = running.snapshot()
    page = running.arena_dir / "control"
    saved = page.read_bytes()
    with page.open("r+b") as file:
        file.seek(8)
        file.write(random.Random(1).randbytes(len(saved) - 8))  # noqa: S311 - noise, the same each time
    running.until(lambda s: s["tick"] >= before["tick"] + 3, "it goes on")
    with page.open("r+b") as file:
        file.write(saved)
    after = running.snapshot()
    assert after["agent_pid"] == before["agent_pid"]
    assert after["workers"][0]["pid"] == before["workers"][0]["pid"]
    assert "Traceback" not in running.text()


def test_files_of_the_run_directory_that_are_broken_are_clear_errors_or_made_anew(running):
    told = (running.run_dir / "agent.json").read_text()
    for broken in ("", "{", "[]", '{"pid": "x"}', "\0" * 100, '{"url": "http://evil.example/", "pid": 1}'):
        (running.run_dir / "agent.json").write_text(broken)
        done = roadworthy(running.home, "status", "web")
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        assert done.returncode in {0, 1, 4, 7}
    (running.run_dir / "agent.json").write_text(told)
    wait_for(lambda: running.snapshot()["verdict"]["live"], "it is found again")
