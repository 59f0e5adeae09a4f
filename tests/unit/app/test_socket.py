"""The talk with the agent: nothing of it waits, whatever the program's checks and the agent do."""

import contextlib
import io
import json
import os
import socket
import threading

import pytest

import roadworthy as rw
from roadworthy import _known
from roadworthy.app import checks, guard, pulse, runs, start
from roadworthy.app import socket as agent_socket
from roadworthy.types import Secret

LONG = 30.0
"""Seconds after which a test gives up waiting for something that comes at once."""


class Far:
    """The agent's end of a conversation whose near end this test turns by hand, as the thread does."""

    def __init__(self):
        near, self.end = socket.socketpair()
        near.settimeout(0)
        self.end.settimeout(LONG)
        self.near = near
        self.talk = agent_socket.Talk(near)
        self.lines = self.end.makefile("rb")
        self.hello = self.read()

    def read(self):
        return json.loads(self.lines.readline())

    def say(self, **message):
        self.end.sendall(json.dumps(message).encode() + b"\n")

    def ask(self, **message):
        """Ask, let the near end look once, and return what it answers, whichever thread that comes from."""
        self.say(**message)
        self.talk.turn(LONG)
        while "id" not in (answer := self.read()):
            pass  # what was declared since
        return answer

    def close(self):
        self.talk.end()
        self.lines.close()
        self.end.close()


@pytest.fixture
def far():
    before = dict(agent_socket.answers), dict(agent_socket.declares)
    _known.forget()  # secrets of other tests would be told first
    checks.declared()
    made = Far()
    yield made
    made.close()
    for table, was in zip((agent_socket.answers, agent_socket.declares), before, strict=True):
        table.clear()
        table.update(was)


@pytest.fixture
def hung():
    """A registered check that runs until the test lets it go."""
    begun, let_go = threading.Event(), threading.Event()

    @rw.check("s.hung")
    def wait():
        begun.set()
        assert let_go.wait(LONG)
        return True, "at last"

    yield begun, let_go
    let_go.set()


def test_a_check_is_answered_from_a_thread_of_its_own(far):
    where = []
    rw.check("s.where", lambda: where.append(threading.get_ident()))
    assert far.ask(id=1, do="check", name="s.where")["ok"] is True
    assert where != [threading.get_ident()]


def test_a_hung_check_holds_up_neither_the_thread_nor_another_check(far, hung):
    begun, let_go = hung
    rw.check("s.quick", lambda: "at once")
    far.say(id=1, do="check", name="s.hung")
    far.talk.turn(LONG)
    assert begun.wait(LONG)
    assert far.ask(id=2, do="check", name="s.quick")["detail"] == "at once"
    again = far.ask(id=3, do="check", name="s.hung")
    assert (again["id"], again["ok"], again["detail"]) == (3, False, "another run of this check has not ended")
    let_go.set()
    late = far.read()  # all that was declared has been told before
    assert (late["id"], late["ok"], late["detail"]) == (1, True, "at last")
    assert far.ask(id=4, do="check", name="s.hung")["ok"] is True, "once it has ended it runs again"


def test_asking_again_for_what_hangs_starts_no_second_thread(far, hung, monkeypatch):
    begun, _ = hung
    far.say(id=1, do="check", name="s.hung")
    far.talk.turn(LONG)
    assert begun.wait(LONG)
    monkeypatch.setattr(runs, "start_new_thread", None)
    for number in range(5):
        assert far.ask(id=number, do="check", name="s.hung")["ok"] is False


def test_without_another_thread_the_answer_says_so(far, monkeypatch):
    def none_left(*_):
        raise RuntimeError("can't start new thread")

    rw.check("s.no_thread", lambda: True)
    monkeypatch.setattr(runs, "start_new_thread", none_left)
    assert far.ask(id=1, do="check", name="s.no_thread")["detail"] == "no thread could be started for it"
    monkeypatch.undo()
    assert far.ask(id=2, do="check", name="s.no_thread")["ok"] is True


def test_a_check_that_ends_its_thread_is_bad(far):
    def leave():
        raise SystemExit(3)

    rw.check("s.leaves", leave)
    assert far.ask(id=1, do="check", name="s.leaves")["ok"] is False
    assert far.ask(id=2, do="check", name="s.leaves")["detail"] == "SystemExit: 3", "and may be asked again"


def test_the_program_is_left_no_trace_of_the_thread(far):
    rw.check("s.name", lambda: threading.current_thread().name)
    ident = far.ask(id=1, do="check", name="s.name")["detail"]
    assert ident not in {thread.name for thread in threading.enumerate()}


def test_what_is_declared_later_is_told_once(far):
    rw.check("s.later", lambda: True)
    far.talk.turn(0)
    told = far.read()["declare"]
    assert "s.later" in [one["name"] for one in told["checks"]]
    far.end.settimeout(0)
    far.talk.turn(0)
    with pytest.raises(BlockingIOError):
        far.end.recv(1)


def test_other_parts_plug_in_what_they_declare_and_answer(far):
    agent_socket.declares["services"] = lambda: [{"name": "db", "state": "ok"}]
    agent_socket.answers["recover"] = lambda message: {"ok": True, "detail": f"recovered {message['name']}"}
    agent_socket.declared()
    far.talk.turn(0)
    assert far.read()["declare"]["services"] == [{"name": "db", "state": "ok"}]
    assert far.ask(id=7, do="recover", name="db") == {"id": 7, "ok": True, "detail": "recovered db"}


def test_a_part_that_fails_leaves_the_others_be(far, capsys):
    agent_socket.declares["broken"] = lambda: 1 // 0
    agent_socket.answers["broken"] = lambda message: message["missing"]
    agent_socket.declared()
    far.talk.turn(0)
    told = far.read()["declare"]
    assert "checks" in told
    assert "broken" not in told
    assert far.ask(id=1, do="broken") == {"id": 1, "ok": False, "detail": "KeyError: 'missing'"}
    guard.forget()


def test_an_answer_that_is_no_json_is_told_as_such(far, capsys):
    around = {}
    around["self"] = around
    agent_socket.answers["odd"] = lambda _: around
    assert far.ask(id=1, do="odd") == {"id": 1, "ok": False, "detail": "the answer is no JSON"}
    guard.forget()


def test_what_is_not_known_is_answered(far):
    assert far.ask(id=1, do="dance")["ok"] is False


def test_a_reload_during_a_reload_is_followed_by_another(far):
    begun, let_go, runs_seen = threading.Semaphore(0), threading.Semaphore(0), []

    def subscriber():
        runs_seen.append(1)
        begun.release()
        assert let_go.acquire(timeout=LONG)

    checks.reloaders.append(subscriber)
    try:
        far.say(do="reload")
        far.talk.turn(LONG)
        assert begun.acquire(timeout=LONG)
        for _ in range(3):
            far.say(do="reload")
            far.talk.turn(LONG)
        assert len(runs_seen) == 1
        let_go.release()
        while not begun.acquire(timeout=0.01):  # the next turn starts it, once the one before has ended
            far.talk.turn(0)
        let_go.release()
        assert len(runs_seen) == 2
    finally:
        checks.reloaders.remove(subscriber)


def test_an_agent_that_does_not_read_is_never_waited_for_and_gets_everything_later(far):
    rw.collector(lambda: {f"k{n}": n for n in range(200)}, name="s.many")
    told = 0
    while not far.talk._out:
        far.talk.tell({"id": told, "text": "x" * 10_000})
        told += 1
    for number in range(told):
        assert far.read()["id"] == number
        far.talk.turn(0)
    assert far.talk._out == []


def test_an_agent_that_never_reads_is_hung_up_on(far):
    while sum(map(len, far.talk._out)) <= agent_socket.MOST_WAITING:
        far.talk.tell({"text": "x" * 100_000})
    with pytest.raises(OSError):  # noqa: PT011 - whichever it is, the thread begins anew
        far.talk.turn(0)


@pytest.mark.parametrize("said", [b"", b"x" * 200_000])
def test_the_end_and_endless_lines_end_the_conversation(far, said):
    far.end.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        far.end.sendall(said)
    if not said:
        far.end.shutdown(socket.SHUT_WR)

    def turns():
        for _ in range(10):
            far.talk.turn(0)

    with pytest.raises(OSError):  # noqa: PT011 - as above
        turns()


def test_a_descriptor_that_the_program_has_taken_for_itself_is_let_be(far, tmp_path):
    number = far.near.fileno()
    mine = os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT)
    os.dup2(mine, number)
    with pytest.raises(ConnectionError):
        far.talk.turn(0)
    far.talk.tell({"secret": 1})
    far.talk.end()
    assert os.fstat(number).st_size == 0
    os.close(number)
    os.close(mine)


def test_a_beat_runs_every_duty_even_after_one_that_fails(seen, capsys, monkeypatch):
    ran = []
    duties = {"broken": lambda _: 1 // 0, "fine": lambda _: ran.append(threading.get_ident())}
    monkeypatch.setattr(pulse, "_duties", duties)
    pulse.beat()
    assert ran.count(threading.get_ident()) == 1, "the thread of the test process may have run them, too"
    assert "thread.broken failed (ZeroDivisionError" in capsys.readouterr().err
    guard.forget()


class Agent:
    """The agent's socket, as far as the app sees it."""

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(LONG)

    def accept(self):
        self.connection, _ = self.server.accept()
        self.connection.settimeout(LONG)
        self.lines = self.connection.makefile("rb")
        return self.read()

    def read(self):
        return json.loads(self.lines.readline())

    def ask(self, **message):
        self.connection.sendall(json.dumps(message).encode() + b"\n")
        return self.read()

    def hang_up(self):
        self.lines.close()
        self.connection.close()

    def close(self):
        self.hang_up()
        self.server.close()


@pytest.fixture
def agent(tmp_path):
    (tmp_path / "run").mkdir()
    made = Agent(tmp_path / "run" / "agent.sock")
    yield made
    made.close()


def beside(program, tmp_path, talk, text, arguments=(), **env):
    """Run a program while ``talk`` speaks for the agent; return what came of the program, raise what ``talk`` did."""
    failures = []

    def guarded():
        try:
            talk()
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread below
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    done = program(text, *arguments, ROADWORTHY_RUN_DIR=str(tmp_path / "run"), **env)
    thread.join(LONG)
    for failure in failures:
        raise failure
    return done


def test_the_program_tells_its_checks_answers_comes_back_and_so_does_its_child(program, tmp_path, agent):
    told = {}

    def talk():
        told["hello"] = agent.accept()
        told["check"] = agent.ask(id=1, do="check", name="db")
        told["collect"] = agent.ask(id=2, do="collect", name="numbers")
        told["declare"] = agent.read()
        agent.hang_up()
        told["again"] = agent.accept()
        agent.ask(id=3, do="check", name="fork")
        parent, lines = agent.connection, agent.lines
        told["child"] = agent.accept()
        told["in child"] = agent.ask(id=4, do="check", name="db")
        agent.connection.sendall(b'{"id": 5, "do": "check", "name": "end"}\n')  # it may end before it has answered
        parent.close()
        lines.close()

    done = beside(
        program,
        tmp_path,
        talk,
        """
        import os, threading
        import roadworthy as rw
        asked, forking, ending = threading.Event(), threading.Event(), threading.Event()
        rw.check("db", lambda: (True, "pong"), timeout=1, every=5)
        rw.check("fork", forking.set)
        rw.check("end", ending.set)
        rw.collector(lambda: asked.set() or {"n": 4}, name="numbers")
        assert asked.wait(30)
        rw.check("later", lambda: True)
        assert forking.wait(30)
        child = os.fork()
        if not child:
            rw.counter("c").add()
            assert ending.wait(30)
            os._exit(0)
        print(child)
        os.waitpid(child, 0)
        """,
        ROADWORTHY_SLOT="2",
    )
    assert told["hello"]["hello"] == "app"
    assert told["hello"]["slot"] == 2
    assert {"name": "db", "kind": "readiness", "timeout": 1.0, "every": 5.0} in told["hello"]["checks"]
    assert told["hello"]["collectors"] == ["numbers"]
    assert told["check"]["ok"] is True
    assert told["check"]["detail"] == "pong"
    assert told["collect"]["values"] == {"n": 4.0}
    assert [check["name"] for check in told["declare"]["declare"]["checks"]] == ["db", "fork", "end", "later"]
    assert told["again"]["pid"] == told["hello"]["pid"]
    assert told["child"]["pid"] == int(done.stdout)
    assert told["in child"]["detail"] == "pong"
    assert told["child"]["start_ticks"] >= told["hello"]["start_ticks"]
    assert "roadworthy" not in done.stderr  # Python 3.12+ warns of the fork itself


def test_a_child_that_records_nothing_does_not_keep_its_parents_connection_open(program, tmp_path, agent):
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def talk():
        agent.accept()
        agent.connection.sendall(b'{"id": 1, "do": "check", "name": "go"}\n')
        agent.lines.read()  # to the end, which comes with the parent's, while the child lives
        gate.write_text("the child may end, too")

    beside(
        program,
        tmp_path,
        talk,
        """
        import os, sys, threading
        import roadworthy as rw
        go = threading.Event()
        rw.check("go", go.set)
        assert go.wait(30)
        if not os.fork():
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            open(sys.argv[1]).read()
            os._exit(0)
        """,
        arguments=[str(gate)],
    )


def test_a_hung_check_never_delays_the_end_of_the_program(program, tmp_path, agent):
    def talk():
        agent.accept()
        agent.connection.sendall(b'{"id": 1, "do": "check", "name": "hung"}\n')
        agent.lines.read()

    done = beside(
        program,
        tmp_path,
        talk,
        """
        import threading
        import roadworthy as rw
        begun = threading.Event()
        rw.check("hung", lambda: begun.set() or threading.Event().wait())
        assert begun.wait(30)
        print("end")
        """,
    )
    assert done.stdout == "end\n"


def test_while_a_check_hangs_the_thread_beats_and_there_is_one_thread_of_ours(program, tmp_path, agent):
    def talk():
        agent.accept()
        for number in range(3):
            agent.connection.sendall(b'{"id": %d, "do": "check", "name": "hung"}\n' % number)
        agent.lines.read()

    done = beside(
        program,
        tmp_path,
        talk,
        """
        import os, threading
        import roadworthy as rw
        from roadworthy.app import pulse
        begun, beaten = threading.Event(), threading.Semaphore(0)
        rw.check("hung", lambda: begun.set() or threading.Event().wait())
        pulse.every("test", lambda now: beaten.release())
        assert begun.wait(30)
        for _ in range(4):
            assert beaten.acquire(timeout=30)
        print(len(os.listdir("/proc/self/task")))
        """,
    )
    assert done.stdout == "3\n", "the program's, the one that beats, and the one in the check"


def test_a_socket_of_somebody_else_is_not_believed(monkeypatch, tmp_path, agent):
    monkeypatch.setenv("ROADWORTHY_RUN_DIR", str(tmp_path / "run"))
    agent.connection, agent.lines = agent_socket.connect(), io.BytesIO()
    assert agent.connection is not None
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert agent_socket.connect() is None


def test_without_an_agent_there_is_no_connection_and_no_import(program, tmp_path):
    done = program(
        """
        import sys
        import roadworthy as rw
        from roadworthy.app import socket
        rw.check("c", lambda: True)
        assert socket.connect() is None
        print([name for name in ("socket", "_socket", "json", "select") if name in sys.modules])
        """,
        measured=False,
        ROADWORTHY_ARENA_DIR=str(tmp_path / "arenas"),
    )
    assert done.stdout == "[]\n"


def test_the_agent_is_told_of_secret_values_and_of_new_ones_once():
    _known.forget()
    _known.add("kingfisher-1")
    far = Far()
    try:
        assert far.read() == {"known": ["kingfisher-1"]}
        _known.add("kingfisher-no-2")
        far.talk.turn(0)
        assert far.read() == {"known": ["kingfisher-1", "kingfisher-no-2"]}
        far.talk.turn(0)
        far.talk.tell({"id": 1})
        assert far.read() == {"id": 1}
    finally:
        far.close()
        _known.forget()


def test_no_more_secret_values_are_told_than_a_message_holds():
    _known.forget()
    for number in range(12):
        _known.add(f"{number:02d}" * (_known.LONGEST // 2))
    far = Far()
    try:
        assert sum(map(len, far.read()["known"])) <= agent_socket.MOST_KNOWN
    finally:
        far.close()
        _known.forget()


def test_a_secret_has_the_agent_told_where_there_is_one(monkeypatch):
    told = []
    monkeypatch.setattr(agent_socket, "declared", lambda: told.append(True))
    monkeypatch.setattr(_known, "listeners", [start._tell_secret])
    Secret("kingfisher-no-3")
    Secret("kingfisher-no-3")
    assert told == [True]
    _known.forget()


def test_a_secret_is_made_whatever_goes_wrong_with_telling_it(monkeypatch):
    def broken():
        raise RuntimeError

    monkeypatch.setattr(agent_socket, "declared", broken)
    monkeypatch.setattr(_known, "listeners", [start._tell_secret])
    monkeypatch.setattr(guard, "report", lambda *_: None)
    monkeypatch.setattr(guard, "failed", lambda *_: False)
    assert Secret("kingfisher-no-4").reveal() == "kingfisher-no-4"
    _known.forget()
