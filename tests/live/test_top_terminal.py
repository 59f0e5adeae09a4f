"""``roadworthy top`` in a real pseudo-terminal: it draws, hears keys, and gives the terminal back."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from roadworthy.arena.writer import Arena
from roadworthy.config.places import make, places

pytestmark = pytest.mark.live

PROGRAM = "from roadworthy.cli.top import top; top(standalone_mode=False)"
DEADLINE = 30.0


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    arena = Arena.create(make(places("shop")).arena, "shop", slot=0, generation=1)
    arena.histogram("operation.duration", (("operation", "checkout"), ("outcome", "success")), "s", scale=1e9).record(5)
    yield tmp_path
    arena.close()


class Terminal:
    """A pseudo-terminal with ``top`` in it."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (30, 100))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "-r", "0.2"],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment,
            start_new_session=True,
        )

    def until(self, wanted):
        end = time.monotonic() + DEADLINE
        while wanted not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        self.seen = self.seen[self.seen.index(wanted) + len(wanted) :]

    def press(self, key):
        os.write(self.master, key)

    def ended(self):
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:  # what it writes must be read, or it cannot end
            assert time.monotonic() < end
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def terminal(home):
    made = Terminal()
    yield made
    made.close()


def test_it_draws_and_hears_its_keys_and_gives_the_terminal_back(terminal):
    terminal.until(b"\x1b[?1049h")
    terminal.until(b"checkout")
    for key, shown in ((b"p", b"restarts"), (b"e", b"none"), (b"h", b"Signals"), (b"o", b"checkout")):
        terminal.press(key)
        terminal.until(shown)
    terminal.press(b"q")
    assert terminal.ended() == 0
    terminal.until(b"\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_as_it_was(terminal, number, code):
    terminal.until(b"checkout")
    terminal.process.send_signal(number)
    assert terminal.ended() == code
    terminal.until(b"\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.before
