"""Programs with the runtime injected, without a keeper: the environment, the port, and what their arenas say."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from roadworthy.arena import reader
from roadworthy.errors import ArenaError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "roadworthy"
HOSTS = Path(__file__).parent / "hosts"


def wait_until(condition, what, seconds=30.0):
    """Return the first true answer of ``condition``, asked again and again; fail with ``what`` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


@dataclass
class Host:
    """One directory of arenas and the programs that run in it."""

    home: Path
    measured: bool = False
    """Whether coverage, when it measures the tests, measures the programs as well."""
    listener: socket.socket | None = None
    running: list[subprocess.Popen] = field(default_factory=list)
    readers: dict[Path, reader.Reader] = field(default_factory=dict)

    @property
    def arenas(self):
        return self.home / "arenas"

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def listen(self):
        """Hold a port as the keeper does, and return its number."""
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.listener.set_inheritable(True)
        return self.port

    def environ(self, **more):
        """Return what the keeper would put into the program's environment."""
        ours = ("ROADWORTHY", "PYTHON") if self.measured else ("ROADWORTHY", "PYTHON", "COV")
        env = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        env |= {
            "ROADWORTHY_HOME": str(self.home),
            "ROADWORTHY_APP": "hosted",
            "ROADWORTHY_ARENA_DIR": str(self.arenas),
            "ROADWORTHY_SLOT": "0",
            "ROADWORTHY_GENERATION": "1",
            "ROADWORTHY_KEEPER_PID": str(os.getpid()),
            "ROADWORTHY_INJECT": str(PACKAGE),
            "PYTHONPATH": str(PACKAGE / "app" / "inject" / "site"),
        }
        if self.listener is not None:
            env["ROADWORTHY_LISTEN"] = f"{self.listener.fileno()}:127.0.0.1:{self.port}"
            env["PORT"] = str(self.port)
        return env | {key: str(value) for key, value in more.items()}

    def start(self, *argv, python=sys.executable, cwd=None, env=None, **options):
        """Start a Python program injected; its output goes to files in the arena directory, as under the keeper."""
        self.arenas.mkdir(mode=0o700, exist_ok=True)
        number = len(self.running)
        with (
            open(self.arenas / f"out-{number}-1", "ab") as out,  # noqa: PTH123 - appending
            open(self.arenas / f"err-{number}-1", "ab") as err,  # noqa: PTH123 - appending
        ):
            child = subprocess.Popen(
                [str(python), *map(str, argv)],
                env=self.environ() if env is None else env,
                cwd=str(cwd or HOSTS),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                pass_fds=() if self.listener is None else (self.listener.fileno(),),
                **options,
            )
        self.running.append(child)
        return child

    def run(self, *argv, seconds=60.0, **options):
        """Run a program to its end and return its status."""
        return self.start(*argv, **options).wait(seconds)

    def out(self, number=0):
        return (self.arenas / f"out-{number}-1").read_text()

    def err(self, number=0):
        return (self.arenas / f"err-{number}-1").read_text()

    def stop(self, child, seconds=20.0):
        """End a program of ours as a supervisor does, and return its status."""
        if child.poll() is None:
            child.terminate()
        return child.wait(seconds)

    def end(self):
        for child in self.running:
            if child.poll() is None:
                child.kill()
                child.wait(10)
        for view in self.readers.values():
            view.close()
        if self.listener is not None:
            self.listener.close()

    def serving(self, child, path="/", number=0):
        """Wait until the program answers; returns how many requests of ours it has answered."""

        # The port is open from the beginning: one request waits in its queue until the program accepts.
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())

            def answers():
                assert child.poll() is None, self.err(number) + self.out(number)
                with contextlib.suppress(TimeoutError):
                    return connection.recv(65536)
                return b""

            wait_until(answers, f"an answer from {child.args}")
        return 1

    # -- what the arenas say

    def views(self):
        """Return a reader of each process's arena, as it is now."""
        known = self.readers
        for path in reader.scan(self.arenas) if self.arenas.exists() else []:
            if path in known:
                known[path].refresh()
            else:
                with contextlib.suppress(ArenaError):  # it is just being made
                    known[path] = reader.Reader(path)
        return list(known.values())

    def series(self, name):
        """Return the numbers of all processes together: a Counter of labels; histograms by how often they counted."""
        found = Counter()
        for view in self.views():
            for series in view.series():
                if series.name == name:
                    value = sum(series.buckets.values()) if series.buckets is not None else series.value
                    if value:
                        found[series.labels] += int(value)
        return found

    def count(self, name, **labels):
        """Return how often something with all these labels was counted; dots in label names are written as ``__``."""
        wanted = {(key.replace("__", "."), str(value)) for key, value in labels.items()}
        return sum(n for found, n in self.series(name).items() if wanted <= set(found))

    def requests(self, **labels):
        return self.count("http.server.request.duration", **labels)

    def events(self, kind):
        return [event for view in self.views() for event in view.events(dead=False)[0] if event.kind == kind]

    def internal_errors(self):
        return sum(view.internal_errors for view in self.views())


def get(port, paths, *, keep=False):
    """Ask for each path in turn and return the statuses; the answers are read to their end."""
    statuses = []
    connection = None
    for path in paths:
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        if not keep or answer.will_close or answer.status >= 500:  # uvicorn closes after a failure without saying so
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return statuses
