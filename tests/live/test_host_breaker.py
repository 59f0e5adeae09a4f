"""A breaker that all processes of an application share, while they are started, killed and left without their agent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from roadworthy import _clock
from roadworthy.resilience.circuit import PATIENCE
from support.running import Running, wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

THRESHOLD, PROBES = 5, 2
DEAD_FOR = 10.0
"""Seconds; the second break begins at five at the earliest and is twice as long."""

# Asks a dead port as often as it may. Each call that really goes out is a line in the log, written before it goes.
CALLER = textwrap.dedent(
    f"""
    import os, socket, sys, time
    import roadworthy
    from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy

    roadworthy.start()
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    go, port = sys.argv[2], int(sys.argv[3])
    db = Policy("db", breaker=CircuitBreaker(consecutive={THRESHOLD}, open_for=(5, 60), probes={PROBES}, scope="host"))

    @db
    def ask():
        os.write(log, f"{{os.getpid()}} {{time.monotonic_ns()}}\\n".encode())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()

    print("ready", flush=True)
    while not os.path.exists(go):
        time.sleep(0.005)
    refused = 0
    while True:
        try:
            ask()
        except BreakerOpen:
            refused += 1
            if refused % 10 == 1:
                print("refused", refused, flush=True)
        except ConnectionRefusedError:
            pass
        time.sleep(0.02)
    """
)

# Opens the breaker, waits to be the probe, and never comes back from it.
HOLDER = textwrap.dedent(
    """
    import sys, time
    import roadworthy
    from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy

    roadworthy.start()
    breaker = CircuitBreaker(consecutive=2, open_for=0.5, probes=1, probe_lease=float(sys.argv[1]), scope="host")
    db = Policy("db", breaker=breaker)

    @db
    def ask(hang):
        if hang:
            print("probing", time.monotonic_ns(), flush=True)
            time.sleep(600)
        raise ConnectionError

    hang = False
    while True:
        try:
            ask(hang)
        except BreakerOpen:
            hang = True
        except ConnectionError:
            pass
        time.sleep(0.001)
    """
)

# Asks until it is let through, and tells how often and for how long it was not.
SUCCESSOR = textwrap.dedent(
    """
    import json, sys, time
    import roadworthy
    from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy

    roadworthy.start()
    breaker = CircuitBreaker(consecutive=2, open_for=0.5, probes=1, probe_lease=float(sys.argv[1]), scope="host")
    db = Policy("db", breaker=breaker)

    @db
    def ask():
        return time.monotonic_ns()

    print("ready", flush=True)
    sys.stdin.readline()
    refused, hints, seen = 0, [], db.breaker.state
    while True:
        try:
            at = ask()
            break
        except BreakerOpen as error:
            refused += 1
            if refused == 1:
                print("refused", flush=True)
            hints.append(error.retry_after)
        time.sleep(0.002)
    told = {"at": at, "refused": refused, "before": seen, "after": db.breaker.state, "longest": max(hints, default=0)}
    print(json.dumps(told), flush=True)
    """
)


class Started:
    """Programs that were started by hand, each by itself, under one application's name; the block's end ends them."""

    def __init__(self, home: Path, app: str) -> None:
        self.env = {**os.environ, "ROADWORTHY_HOME": str(home), "ROADWORTHY_APP": app}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Start one."""
        argv = [sys.executable, "-c", program, *map(str, arguments)]
        made = subprocess.Popen(argv, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(made)
        return made

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait(30)
            process.stdout.close()
            process.stdin.close()


@pytest.fixture
def dead_port():
    """A port that is taken and refuses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_the_place_of_a_probe_whose_process_is_killed_goes_to_another_after_its_lease(tmp_path):
    lease = 2.0
    with Started(tmp_path / "home", "probe") as processes:
        successor = processes.start(SUCCESSOR, lease)
        assert successor.stdout.readline() == "ready\n"  # its start does not count against the lease
        holder = processes.start(HOLDER, lease)
        words = holder.stdout.readline().split()
        assert words[0] == "probing"
        successor.stdin.write("go\n")
        successor.stdin.flush()
        holder.send_signal(signal.SIGKILL)
        holder.wait(30)
        told = json.loads([successor.stdout.readline(), successor.stdout.readline()][-1])
    waited = (told["at"] - int(words[1])) / 1e9
    print(f"another probe {waited:.3f} s after the one that was killed, lease {lease} s; {told}")
    assert told["refused"] > 0
    assert told["before"] == "half_open"
    assert told["after"] == "closed"
    assert waited >= lease * 0.99
    assert waited < lease + 10
    assert told["longest"] <= lease * 1.1


@pytest.mark.timeout(180)
def test_four_processes_on_a_dead_backend_cost_it_threshold_and_probes_in_all(tmp_path, dead_port):
    log, go = tmp_path / "calls.log", tmp_path / "go"
    log.touch()
    home = tmp_path / "home"
    command = [sys.executable, "-c", CALLER, str(log), str(go), str(dead_port)]

    def calls() -> list[tuple[int, int]]:
        return [(int(pid), int(at)) for pid, at in (line.split() for line in log.read_text().splitlines())]

    with Running(home, command, name="dead") as run, Started(home, "dead") as processes:
        agent = run.agent()["pid"]
        others = [processes.start(CALLER, log, go, dead_port) for _ in range(2)]
        assert [one.stdout.readline() for one in others] == ["ready\n"] * 2
        wait_for(lambda: "ready" in run.text(), "the supervised one is ready")
        go.touch()
        wait_for(lambda: len(calls()) >= THRESHOLD, "the breaker has seen enough")
        late = processes.start(CALLER, log, go, dead_port)
        os.kill(agent, signal.SIGKILL)
        assert late.stdout.readline() == "ready\n"
        assert late.stdout.readline().startswith("refused")
        first = calls()[0][1]
        wait_for(lambda: _clock.monotonic_ns() > first + DEAD_FOR * 1e9, "the dead time is over", 60)
        made = [(pid, at) for pid, at in calls() if at <= first + DEAD_FOR * 1e9]
        assert run.agent()["pid"] != agent
    told = [f"{(at - first) / 1e9:.3f}" for _, at in made]
    print(f"{len(made)} calls by {len({pid for pid, _ in made})} processes at {' '.join(told)} s")
    # Whoever was on its way in the instant of the last failure that it took could not be held back.
    at_first = [pid for pid, at in made if at < first + 2e9]
    assert THRESHOLD <= len(at_first) <= THRESHOLD + 2
    assert 1 <= len(made) - len(at_first) <= PROBES
    assert late.pid not in at_first


BREAK = 30.0
"""Seconds of the puppets' clock, which stands still until it is moved: no test waits for them, and none is too slow."""

# Does what it is told, line by line, and answers each line with one.
PUPPET = textwrap.dedent(
    """
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have had it ignored
    import roadworthy
    from roadworthy.resilience import BreakerOpen, CircuitBreaker, Policy
    from roadworthy.testing import MovableClock

    roadworthy.start()
    clock = MovableClock().__enter__()
    clock.move((int(sys.argv[1]) - clock.monotonic_ns()) / 1e9)
    breaker = CircuitBreaker(consecutive=3, open_for=30, probes=1, probe_lease=3600, scope="host")
    db = Policy("db", breaker=breaker)

    @db
    def ask(what):
        if what == "wait":
            print("inside", flush=True)
            what = sys.stdin.readline().strip()
        if what == "fail":
            raise ConnectionError
        return "ok"

    def answer(words):
        if words[0] == "state":
            return db.breaker.state
        if words[0] == "later":
            return clock.move(float(words[1]))
        try:
            return ask(words[1])
        except BreakerOpen as error:
            return f"refused {error.retry_after}"
        except ConnectionError:
            return "failed"
        except KeyboardInterrupt:
            return "interrupted"

    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(answer(line.split()), flush=True)
    """
)


class Puppet:
    """A process that makes calls as it is told."""

    def __init__(self, processes: Started, now_ns: int) -> None:
        self.process = processes.start(PUPPET, now_ns)
        assert self.hear() == "ready"

    def hear(self) -> str:
        """Return its next line."""
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        """Tell it something, and return what it answers."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()


def troupe(processes: Started, size: int) -> list[Puppet]:
    """Start so many with one time: a minute from now, as a clock only goes forward."""
    now_ns = _clock.monotonic_ns() + 60 * _clock.NS
    return [Puppet(processes, now_ns) for _ in range(size)]


@pytest.fixture
def puppets(tmp_path):
    """Two processes that share a breaker with a lease of an hour: nothing here waits for a lease."""
    with Started(tmp_path / "home", "puppets") as processes:
        yield troupe(processes, 2)


def later(*puppets: Puppet, seconds: float = BREAK) -> None:
    """Let that much time go by for them."""
    for puppet in puppets:
        assert puppet.say(f"later {seconds}") == "None"


def be_the_probe(puppet: Puppet, *others: Puppet) -> None:
    """Let the break go by for all, and have one be the probe, and stay it."""
    later(puppet, *others)
    assert puppet.say("call wait") == "inside"


def refused(answer: str) -> float:
    """Return in how many seconds a call that was refused may be made again."""
    word, seconds = answer.split()
    assert word == "refused", answer
    return float(seconds)


def trip(puppet: Puppet) -> None:
    """Have it fail until the breaker opens."""
    assert [puppet.say("call fail") for _ in range(3)] == ["failed"] * 3
    assert puppet.say("state") == "open"


def test_failures_in_a_row_of_several_processes_are_one_row(puppets):
    one, other = puppets
    assert one.say("call fail") == other.say("call fail") == "failed"
    assert one.say("state") == other.say("state") == "closed"
    assert one.say("call ok") == "ok"
    assert other.say("call fail") == one.say("call fail") == "failed"
    assert one.say("state") == "closed"
    assert other.say("call fail") == "failed"
    assert one.say("state") == other.say("state") == "open"
    assert refused(one.say("call ok")) == BREAK
    later(one, other, seconds=BREAK / 3)
    assert refused(other.say("call ok")) == pytest.approx(BREAK / 3 * 2)


def test_what_succeeded_before_a_row_of_failures_does_not_make_it_longer(puppets):
    one, other = puppets
    assert [puppet.say("call ok") for puppet in (one, other) * 10] == ["ok"] * 20
    assert [puppet.say("call fail") for puppet in (one, other, one)] == ["failed"] * 3
    assert one.say("state") == other.say("state") == "open"


@pytest.mark.parametrize("outcome", ["ok", "fail"])
def test_a_late_result_of_another_process_does_not_touch_the_break(puppets, outcome):
    one, other = puppets
    assert one.say("call wait") == "inside"
    trip(other)
    assert one.say(outcome) == {"ok": "ok", "fail": "failed"}[outcome]
    assert other.say("state") == "open"
    be_the_probe(other, one)
    assert one.say("call ok").startswith("refused ")
    assert one.say("state") == "half_open"
    assert other.say("ok") == "ok"
    assert one.say("state") == "closed"
    assert one.say("call ok") == "ok"


def test_one_process_probes_for_all_and_its_failure_is_that_of_all(puppets):
    one, other = puppets
    trip(one)
    be_the_probe(other, one)
    for _ in range(20):
        assert one.say("call ok").startswith("refused ")
    assert other.say("fail") == "failed"
    assert one.say("state") == "open"
    assert refused(one.say("call ok")) == BREAK


def test_an_interrupted_probe_gives_its_place_to_another_process_at_once(puppets):
    one, other = puppets
    trip(one)
    be_the_probe(other, one)
    assert one.say("call ok").startswith("refused ")
    other.process.send_signal(signal.SIGINT)
    assert other.hear() == "interrupted"
    assert one.say("call ok") == "ok"
    assert other.say("state") == "closed"


def test_of_a_herd_of_processes_only_the_probes_come_through(tmp_path):
    with Started(tmp_path / "home", "herd") as processes:
        herd = troupe(processes, 5)
        trip(herd[0])
        assert _asked_at_once(herd) == ["refused"] * 5
        later(*herd)
        assert _asked_at_once(herd) == ["inside", *["refused"] * 4]


def _asked_at_once(herd: list[Puppet]) -> list[str]:
    for puppet in herd:
        puppet.process.stdin.write("call wait\n")
    for puppet in herd:
        puppet.process.stdin.flush()
    return sorted(puppet.hear().split()[0] for puppet in herd)


# Takes the record lock of the breaker's word and keeps it, as a process does that is stopped in the midst of an update.
LOCKER = textwrap.dedent(
    """
    import sys, time
    from roadworthy.arena.shared import SharedWords

    def hold(a, b, c):
        print("locked", flush=True)
        time.sleep(600)
        return a, b, c

    SharedWords(sys.argv[1]).word("breaker:db").update(hold)
    """
)


def test_a_process_that_is_stuck_with_the_lock_holds_up_nobody_and_nobody_goes_on_failing(tmp_path, pace):
    with Started(tmp_path / "home", "locked") as processes:
        one, other = troupe(processes, 2)
        assert one.say("call ok") == "ok"
        shared = wait_for(lambda: next((tmp_path / "home").rglob("shared"), None), "the shared words")
        locker = processes.start(LOCKER, shared.parent)
        assert locker.stdout.readline() == "locked\n"
        before = _clock.monotonic()
        assert [one.say("call ok") for _ in range(100)] == ["ok"] * 100
        assert pace.spent(before) < 100 * PATIENCE / 2  # what an update would wait, not for every second of them
        for puppet in (one, other):
            assert [puppet.say("call fail") for _ in range(3)] == ["failed"] * 3
            assert refused(puppet.say("call ok")) == BREAK
        locker.kill()
        locker.wait(30)
        later(one, other)
        assert one.say("call ok") == other.say("call ok") == "ok"
        assert one.say("state") == other.say("state") == "closed"
