"""The report service of examples/ on a real PostgreSQL, Redis and upstream that are killed, frozen, slow and flap.

Success is what clients got: no request fails while a dependency that can be done without is away, nothing that was
accepted is lost, and everything is whole again by itself. What it took is printed (``pytest -s``).
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.support.running import Running, wait_for
from tests.support.servers import Postgres, Redis, free_port

from roadworthy._clock import monotonic, wall

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples"
OPEN = ("open", "half_open")


class Dependencies:
    """The example's own upstream and its proxies, as a process of its own."""

    def __init__(self, cache, database):
        argv = [sys.executable, str(EXAMPLES / "reports" / "dependencies.py"), "--cache", cache, "--database", database]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.urls = json.loads(self._process.stdout.readline())

    def switch(self, name, mode):
        """Make a dependency behave otherwise."""
        port = int(self.urls["control"].rpartition(":")[2])
        assert asked(port, "POST", f"/{name}?mode={mode}")[0] == 200

    def close(self):
        """End it."""
        self._process.communicate("", timeout=20)


class Clients:
    """Clients that ask for reports and look at them, all the time; ``got`` is what they were answered."""

    def __init__(self, port):
        self._port = port
        self._end = threading.Event()
        self.got = []
        self.accepted = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(2)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number):
        turn = 0
        while not self._end.wait(0.05):
            turn += 1
            if turn % 10 == 1:
                what, body = ("POST", "/reports"), json.dumps({"month": f"2026-{1 + (turn + number) % 12:02}"})
            elif turn % 10 == 5 and self.accepted:
                what, body = ("GET", f"/reports/{self.accepted[-1]}"), None
            else:
                what, body = ("GET", "/reports"), None
            began = monotonic()
            try:
                status, answer = asked(self._port, *what, body)
            except OSError as error:
                status, answer = 0, {"error": repr(error)}
            self.got.append((began, monotonic() - began, what, status, answer))
            if status == 202:
                self.accepted.append(answer["id"])

    def since(self, when):
        """Return what was answered since then."""
        return [one for one in list(self.got) if one[0] >= when]

    def close(self):
        """End them."""
        self._end.set()
        for thread in self._threads:
            thread.join(30)


def asked(port, method, path, body=None):
    """Return status and JSON of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class World:
    """The whole service, running and asked."""

    def __init__(self, run, clients, dependencies, redis, postgres, port):
        self.run, self.clients, self.dependencies = run, clients, dependencies
        self.redis, self.postgres, self.port = redis, postgres, port

    def breaker(self, name):
        """Return the state of a policy's breaker, as the agent tells."""
        found = [one for one in self.run.snapshot()["policies"] if one["name"] == name]
        return found[0]["breaker"] if found else None

    def stop(self, server):
        """SIGSTOP everything of a server: it takes connections and never answers."""
        for pid in [server.process.pid, *children(server.process.pid)]:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self, server):
        """SIGCONT."""
        for pid in [server.process.pid, *children(server.process.pid)]:
            os.kill(pid, signal.SIGCONT)


def children(pid):
    """Return the pids of a process's children."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(server):
    """End a server as the kernel does when memory is out; with it what it started."""
    pids = [server.process.pid, *children(server.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.process.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "its processes are gone")


@pytest.fixture(scope="module")
def world(tmp_path_factory, service):
    home = tmp_path_factory.mktemp("reports")
    port = free_port()
    with Redis(service("redis-server")) as redis, Postgres(service("postgresql")) as postgres:
        dependencies = Dependencies(redis.url, postgres.url)
        env = {
            "REPORTS_UPSTREAM": dependencies.urls["upstream"],
            "REPORTS_CACHE": dependencies.urls["cache"],
            "REPORTS_DATABASE": dependencies.urls["database"],
            "REPORTS_SPOOL": str(home / "spool"),
            "PYTHONPATH": str(EXAMPLES),
        }
        program = [sys.executable, "-m", "uvicorn", "reports.app:app", "--port", str(port), "--no-access-log"]
        options = ["--port", str(port), "--workers", "2"]
        try:
            with Running(home, program, name="reports", options=options, env=env) as run:
                run.until(lambda seen: seen["verdict"]["ready"], "ready", 60)
                clients = Clients(port)
                try:
                    wait_for(lambda: len(clients.got) > 20, "clients are answered", 30)
                    yield World(run, clients, dependencies, redis, postgres, port)
                finally:
                    clients.close()
        finally:
            dependencies.close()


FAULTS = [
    ("cache", "frozen", lambda w: w.stop(w.redis), lambda w: w.go_on(w.redis)),
    ("cache", "killed", lambda w: kill(w.redis), lambda w: w.redis.start()),
    ("database", "killed", lambda w: kill(w.postgres), lambda w: w.postgres.start()),
    (
        "database",
        "frozen",
        lambda w: w.dependencies.switch("database", "frozen"),
        lambda w: w.dependencies.switch("database", "ok"),
    ),
    (
        "upstream",
        "slow",
        lambda w: w.dependencies.switch("upstream", "slow"),
        lambda w: w.dependencies.switch("upstream", "ok"),
    ),
    (
        "upstream",
        "flapping",
        lambda w: w.dependencies.switch("upstream", "flapping"),
        lambda w: w.dependencies.switch("upstream", "ok"),
    ),
]


@pytest.mark.service("redis-server", "postgresql")
@pytest.mark.parametrize(("name", "how", "begin", "end"), FAULTS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_dependency_that_fails_is_cut_off_lived_without_and_taken_back(world, name, how, begin, end):
    wait_for(lambda: world.breaker(name) == "closed", f"{name} is well before", 30)
    began = monotonic()
    began_wall = wall()
    begin(world)
    try:
        world.run.until(lambda _: world.breaker(name) in OPEN, f"the breaker of {name} opens", 30)
        opened = opening(world, name, began_wall)
        time.sleep(1.5)  # what is asked while it is away
    finally:
        end(world)
    ended = monotonic()
    world.run.until(lambda _: world.breaker(name) == "closed", f"the breaker of {name} closes", 40)
    closed = monotonic() - ended
    wait_for(lambda: full(world), "the service answers in full again", 30)
    whole = monotonic() - ended
    answers = world.clients.since(began)
    lost = [one for one in answers if one[3] not in (200, 202) and not (name == "database" and one[3] == 503)]
    slowest = max(one[1] for one in answers)
    print(
        f"{name} {how}: open after {opened:.2f} s, closed {closed:.2f} s after its return, all as before after"
        f" {whole:.2f} s; {len(answers)} requests, {len(lost)} lost, slowest {slowest:.2f} s"
    )
    assert lost == []
    assert slowest < 8


def opening(world, name, began_wall):
    """Return how many seconds after the fault the breaker opened, from the event that its process wrote."""
    events = world.run.snapshot()["events"]
    found = [one for one in events if one["source"] == f"policy:{name}" and one["fields"].get("to") == "open"]
    return min(one["at"] for one in found if one["at"] >= began_wall) - began_wall


def full(world):
    """Tell whether lists are lists again."""
    status, answer = asked(world.port, "GET", "/reports")
    return status == 200 and "message" not in answer


@pytest.mark.service("redis-server", "postgresql")
def test_nothing_that_was_accepted_is_lost(world):
    accepted = list(world.clients.accepted)
    assert accepted

    def undone():
        found = [(report, asked(world.port, "GET", f"/reports/{report}")) for report in accepted]
        return [one for one in found if one[1][1].get("status") != "done"]

    wait_for(lambda: not undone(), f"all of {len(accepted)} accepted reports are made", 60, every=0.5)
