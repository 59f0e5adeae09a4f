"""Each strategy, its condition really planted; success is the next real call, never what the strategy says."""

import errno
import http.server
import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from roadworthy.resilience import outward
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.feature import feature, forget
from roadworthy.resilience.recover import holders
from roadworthy.resilience.recover.backing_off import BackOff, Throttle, growing
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.manager import ErrorRecoveryManager
from roadworthy.resilience.timeout import AdjustingTimeout
from roadworthy.testing import MovableClock
from support.resilience_outside import Outside

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture
def recovery():
    forget()
    yield ErrorRecoveryManager()
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)
    forget()
    outward.attach(None)


def tried(recovery, component, call, operation="call"):
    """Make a real call once; returns the advice of its failure, None when it succeeded."""
    attempt = recovery.attempt(component, operation)
    try:
        with attempt:
            call()
    except Exception:  # noqa: BLE001 - the advice tells
        assert attempt.advice is not None
    return attempt.advice


def judged(recovery, strategy):
    return recovery.summary()["strategies"].get(strategy)


# -- connections


def test_a_refused_connection_is_retried_with_growing_pauses_and_then_succeeds(recovery):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def connect():
        socket.create_connection(("127.0.0.1", port), timeout=5).close()

    recovery.back_off._jitter = lambda: 0.0
    pauses = []
    for _ in range(3):
        advice = tried(recovery, "upstream", connect)
        assert advice.action is RecoveryAction.RETRY
        pauses.append(advice.retry_after)
    assert pauses == [0.05, 0.1, 0.2]
    assert tried(recovery, "upstream", connect).action is RecoveryAction.DEGRADE
    assert judged(recovery, "back_off") == {"success": 0, "failure": 3, "unproven": 0}
    with socket.create_server(("127.0.0.1", port)):
        assert tried(recovery, "upstream", connect) is None
    assert judged(recovery, "back_off") == {"success": 1, "failure": 3, "unproven": 0}


@pytest.mark.parametrize(("tries", "least"), [(1, 0.05), (2, 0.1), (5, 0.8), (9, 12.8), (10, 15.0), (10**9, 15.0)])
def test_pauses_grow_and_are_bounded(tries, least):
    assert growing(tries, 0.1, 30, 0.0) == pytest.approx(least)
    assert growing(tries, 0.1, 30, 1.0) == pytest.approx(2 * least)


def test_what_the_other_side_asks_for_is_waited_for_within_bounds():
    error = ConnectionError()
    error.retry_after = 12.0
    assert BackOff(jitter=lambda: 0.0).run(error, ErrorContext("x"), 1, 0).retry_after == 12.0
    error.retry_after = 10**5
    assert BackOff(jitter=lambda: 0.0).run(error, ErrorContext("x"), 1, 0).retry_after == 30.0


# -- HTTP 429


class Busy(http.server.BaseHTTPRequestHandler):
    refuse = 2

    def do_GET(self):
        if Busy.refuse > 0:
            Busy.refuse -= 1
            self.send_response(429)
            self.send_header("Retry-After", "2")
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


@pytest.fixture
def upstream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Busy.refuse = 2
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_service_that_asks_to_be_left_alone_is_left_alone_and_then_called_more_slowly(recovery, upstream):
    def call():
        try:
            urllib.request.urlopen(upstream, timeout=5).close()  # noqa: S310 - our own server
        except urllib.error.HTTPError as error:
            error.close()
            raise

    with MovableClock() as clock:
        assert recovery.wait_for("upstream") == 0.0
        first = tried(recovery, "upstream", call)
        assert first.kind == "rate_limit"
        assert first.action is RecoveryAction.RETRY
        assert first.retry_after >= 2.0
        clock.move(1.5)
        second = tried(recovery, "upstream", call)
        assert second.retry_after >= 2.0
        waits = [recovery.wait_for("upstream") for _ in range(3)]
        assert waits[0] >= 1.9, "nobody goes before the pause is over"
        assert waits[1] - waits[0] == pytest.approx(0.1)  # doubled once
        assert waits[2] - waits[1] == pytest.approx(0.1)
        clock.move(waits[2] + 1)
        assert tried(recovery, "upstream", call) is None
        assert judged(recovery, "throttle")["success"] == 1
        for _ in range(10):
            tried(recovery, "upstream", call)
        assert recovery.wait_for("upstream") == 0.0, "it is well again"


def test_the_pauses_of_a_throttle_double():
    throttle = Throttle(jitter=lambda: 1.0)
    assert [throttle.run(OSError(), ErrorContext("x"), n, 0).retry_after for n in (1, 2, 3, 9)] == [1, 2, 4, 60]


# -- memory

MEMORY = """
    import gc, resource
    from roadworthy.resilience import feature, recovery
    from roadworthy.resilience.recover import get_error_recovery

    MB = 1 << 20
    manager = get_error_recovery()
    manager.memory.ballast(64 * MB)
    manager.shed("thumbnails", "history")
    recovery.emergency_state(lambda: {"turn": 7}, STATE)

    def used():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()

    resource.setrlimit(resource.RLIMIT_AS, (used() + 32 * MB, -1))

    def work():
        return bytearray(48 * MB)

    attempt = manager.attempt("renderer", "draw")
    try:
        with attempt:
            work()
        raise SystemExit("there was memory")
    except MemoryError:
        pass
    print(attempt.advice.action.value, attempt.advice.severity)
    print("thumbnails", feature("thumbnails").is_off, "history", feature("history").is_off)
    with manager.attempt("renderer", "draw"):
        room = work()
    print("worked", len(room) // MB)
    print(manager.summary()["strategies"]["make_memory"])
    print(recovery.load_emergency_state(STATE)["state"])
    del room
    print("ballast", manager.memory.refill())
"""


def test_out_of_memory_ballast_is_released_and_the_same_work_then_succeeds(tmp_path):
    program = textwrap.dedent(MEMORY).replace("STATE", repr(str(tmp_path)))
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60,
        env={**env, "PYTHONPATH": str(SOURCE), "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "retry critical",
        "thumbnails True history False",
        "worked 48",
        "{'success': 1, 'failure': 0, 'unproven': 0}",
        "{'turn': 7}",
        "ballast True",
    ]


class Cycle:
    def __init__(self, size):
        self.room = bytearray(size)
        self.me = self


def test_garbage_is_collected_on_a_memory_error(recovery):
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(Cycle(1))
        assert gone() is not None
        recovery.handle_error(MemoryError(), ErrorContext("cache", "fill"))
        assert gone() is None
    finally:
        gc.enable()


def test_with_nothing_to_give_up_the_component_itself_is_degraded(recovery):
    recovery.memory._size = 0
    actions = [recovery.handle_error(MemoryError(), ErrorContext("images", "load")) for _ in range(6)]
    assert actions[-1] is RecoveryAction.DEGRADE
    assert [one["name"] for one in degradation_manager.degraded()] == ["images"]
    assert degradation_manager.degraded()[0]["reason"] == "memory errors"


def test_memory_errors_give_up_one_feature_after_the_other_and_they_come_back(recovery):
    recovery.shed("first", "second")
    with MovableClock() as clock:
        for _ in range(2):
            recovery.handle_error(MemoryError(), ErrorContext("x", "y"))
            recovery.handle_error(MemoryError(), ErrorContext("x", "y"))  # at once: answered once a second
            clock.move(2)
            if feature("first").is_off and feature("second").is_on:
                seen = True
        assert seen
        assert feature("second").is_off
        assert feature("first").reason == "out of memory"
        clock.move(61)
        assert feature("first").is_on
        assert feature("second").is_on
    assert recovery.summary()["rate_limited"] == 2


# -- timeouts


def test_a_time_limit_that_is_too_tight_is_widened_within_its_bounds_until_the_call_succeeds(recovery):
    limit = AdjustingTimeout(0.02, 2.0, 4.0)

    def slow(server):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if limit.seconds < 0.1:
                    connection.recv(1)  # until the caller has given up
                else:
                    connection.sendall(b"late")

    recovery.timeouts.adjust("upstream", limit)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=slow, args=(server,), daemon=True)
        thread.start()

        def call():
            with socket.create_connection(server.getsockname(), timeout=limit.seconds) as connection:
                assert connection.recv(4) == b"late"

        advices = []
        while (advice := tried(recovery, "upstream", call)) is not None:
            advices.append(advice)
            assert len(advices) < 20
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    assert advices[0].kind == "timeout"
    assert advices[0].action is RecoveryAction.RETRY
    assert limit.seconds > 0.02
    assert judged(recovery, "adjust_timeout")["success"] == 1


def test_a_time_limit_never_leaves_its_bounds(recovery):
    limit = AdjustingTimeout(1.0, 5.0, 2.0)
    recovery.timeouts.adjust("upstream", limit)
    for _ in range(20):
        recovery.handle_error(TimeoutError(), ErrorContext("upstream", "get"))
    assert limit.seconds == 5.0


# -- files


def test_a_missing_directory_in_a_declared_root_is_made_and_the_same_write_then_succeeds(recovery, tmp_path):
    recovery.files.roots(str(tmp_path))
    path = tmp_path / "a" / "b" / "report.txt"

    def write():
        path.write_text("text")

    advice = tried(recovery, "reports", write)
    assert advice.action is RecoveryAction.RETRY
    assert tried(recovery, "reports", write) is None
    assert path.read_text() == "text"
    assert judged(recovery, "mend_files") == {"success": 1, "failure": 0, "unproven": 0}


@pytest.mark.parametrize("where", ["beside", "above", "linked", "prefix"])
def test_no_directory_is_made_outside_of_the_declared_roots(recovery, tmp_path, where):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    recovery.files.roots(str(root))
    path = {
        "beside": tmp_path / "other" / "x.txt",
        "above": root / ".." / "other" / "x.txt",
        "linked": root / "link" / "other" / "x.txt",
        "prefix": tmp_path / "root2" / "x.txt",
    }[where]
    before = sorted(tmp_path.rglob("*"))
    advice = tried(recovery, "reports", lambda: path.write_text("text"))
    assert advice.action is RecoveryAction.CONTINUE
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_declared_root_nothing_is_made(recovery, tmp_path):
    tried(recovery, "reports", lambda: (tmp_path / "a" / "x").write_text(""))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_missing_in_a_directory_that_is_there_is_not_repaired(recovery, tmp_path):
    recovery.files.roots(str(tmp_path))
    advice = tried(recovery, "reports", (tmp_path / "not there").read_text)
    assert advice.action is RecoveryAction.CONTINUE


def test_a_declared_alternative_is_named_and_the_read_from_there_succeeds(recovery, tmp_path):
    first, second = tmp_path / "disk", tmp_path / "mirror"
    second.mkdir()
    (second / "data.txt").write_text("from the mirror")
    recovery.files.alternative(str(first), str(tmp_path / "gone"), str(second))
    advice = tried(recovery, "data", (first / "data.txt").read_text)
    assert advice.action is RecoveryAction.RETRY
    assert advice.path == str(second / "data.txt")
    assert tried(recovery, "data", Path(advice.path).read_text) is None
    assert judged(recovery, "mend_files")["success"] == 1


@pytest.mark.parametrize("path", ["relative", "/", "/etc/.."])
def test_roots_that_are_none_are_refused(recovery, path):
    with pytest.raises(BadArgument):
        recovery.files.roots(path)


# -- modules


def test_a_missing_module_switches_its_feature_off_until_it_is_there(recovery, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    recovery.imports.needs("charts", "rw_missing_plots")

    def draw():
        import rw_missing_plots  # type: ignore[import-not-found]  # that is the point

        return rw_missing_plots

    with MovableClock() as clock:
        advice = tried(recovery, "reporting", draw)
        assert advice.action is RecoveryAction.DEGRADE
        assert feature("charts").is_off
        assert feature("charts").reason == "module rw_missing_plots cannot be imported"
        clock.move(100)
        assert feature("charts").is_off
        (tmp_path / "rw_missing_plots.py").write_text("")
        for _ in range(40):
            clock.move(1)
            feature("charts").is_off  # noqa: B018 - asking is what looks
        assert feature("charts").is_on
        assert tried(recovery, "reporting", draw) is None
    sys.modules.pop("rw_missing_plots", None)
    assert judged(recovery, "switch_off_feature")["success"] == 1


def test_without_a_declaration_the_feature_is_called_like_the_component(recovery):
    error = ModuleNotFoundError("no", name="rw_not_there.sub")
    assert recovery.handle_error(error, ErrorContext("charts", "draw")) is RecoveryAction.DEGRADE
    assert feature("charts").is_off
    assert [one["name"] for one in degradation_manager.degraded()] == ["charts"]


# -- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB; where none may be mounted, writes that fail at a quota like the system's."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True, check=False
    )
    mounted = done.returncode == 0

    def write(name, size):
        used = sum(one.stat().st_size for one in place.iterdir())
        if not mounted and used + size > 256 * 1024:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        (place / name).write_bytes(b"x" * size)

    yield place, write
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_on_a_full_disk_older_files_go_and_the_same_write_then_succeeds(recovery, small_disk):
    place, write = small_disk
    for number in range(1, 6):
        write(f"app.log.{number}", 40 * 1024)
    write("precious.1.db", 10 * 1024)
    recovery.disk.rotate(str(place / "app.log"), keep=2)
    recovery.shed("recordings")
    advice = tried(recovery, "writer", lambda: write("new", 90 * 1024))
    assert (advice.kind, advice.severity, advice.action.value) == ("disk_full", "critical", "retry")
    assert feature("recordings").is_off
    (place / "new").unlink(missing_ok=True)
    assert tried(recovery, "writer", lambda: write("new", 90 * 1024)) is None
    assert sorted(one.name for one in place.iterdir()) == ["app.log.1", "app.log.2", "new", "precious.1.db"]
    assert judged(recovery, "make_disk_room") == {"success": 1, "failure": 0, "unproven": 0}


def test_a_full_device_with_nothing_to_rotate_degrades(recovery):
    def write():
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    assert tried(recovery, "writer", write).action is RecoveryAction.DEGRADE


def test_a_rotation_that_fails_does_not_keep_the_next_from_being_tried(recovery):
    done = []
    recovery.disk.rotate(lambda: 1 / 0, lambda: done.append(1))
    recovery.handle_error(OSError(errno.ENOSPC, "full"), ErrorContext("writer", "write"))
    assert done == [1]


# -- locked databases


def test_a_locked_database_is_waited_for_and_the_same_write_then_succeeds(recovery, tmp_path):
    path = tmp_path / "data.db"
    ours, theirs = (sqlite3.connect(path, timeout=0, check_same_thread=False, isolation_level=None) for _ in range(2))
    try:
        ours.execute("CREATE TABLE t (x)")
        recovery.database.database("store", ours)
        theirs.execute("BEGIN EXCLUSIVE")

        def write():
            ours.execute("INSERT INTO t VALUES (1)")

        advice = tried(recovery, "store", write)
        assert advice.kind == "locked"
        assert advice.action is RecoveryAction.RETRY
        assert ours.execute("PRAGMA busy_timeout").fetchone() == (5000,)
        threading.Timer(0.2, lambda: theirs.execute("COMMIT")).start()
        assert tried(recovery, "store", write) is None, "it waited for the lock"
        assert ours.execute("SELECT count(*) FROM t").fetchone() == (1,)
        assert judged(recovery, "wait_for_lock") == {"success": 1, "failure": 0, "unproven": 0}
    finally:
        ours.close()
        theirs.close()


def test_who_else_holds_a_locked_database_is_named(recovery, tmp_path):
    path = tmp_path / "data.db"
    ours = sqlite3.connect(path, timeout=0)
    program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('BEGIN EXCLUSIVE'); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            ours.execute("CREATE TABLE t (x)")
            ours.commit()
            other.stdout.readline()
            recovery.database.database("store", ours)
            advice = tried(recovery, "store", lambda: ours.execute("INSERT INTO t VALUES (1)"))
            name = Path(f"/proc/{other.pid}/comm").read_text().strip()
            assert f"data.db is also open in {name} (pid {other.pid})" in advice.notes[0]
            assert recovery.summary()["recent"][0]["done"] == advice.notes[0]
        finally:
            other.communicate("\n")
            ours.close()
    assert holders.holders(str(path)) == []


def test_without_proc_nobody_is_named(tmp_path):
    assert holders.told(str(tmp_path / "data.db"), str(tmp_path / "no-proc")) == ""


# -- the same error again and again


def test_the_same_error_again_and_again_asks_for_a_new_process(recovery):
    outside = Outside()
    outward.attach(outside)

    def step():
        raise KeyError("unit 7")

    actions = [tried(recovery, "world", step).action for _ in range(10)]
    assert actions == [RecoveryAction.CONTINUE] * 9 + [RecoveryAction.RESTART]
    assert outside.restarts == ["world: the same error came 10 times in a row"]
    for _ in range(20):
        tried(recovery, "world", step)
    assert len(outside.restarts) == 1, "not again within five minutes"


def test_errors_with_progress_between_them_are_not_stuck(recovery):
    outside = Outside()
    outward.attach(outside)
    for turn in range(1, 40):
        recovery.handle_error_with_context(KeyError("unit 7"), "world", "step", turn, turn * 60)
    assert outside.restarts == []


def test_errors_with_successes_between_them_are_not_stuck(recovery):
    outside = Outside()
    outward.attach(outside)
    for _ in range(40):
        recovery.handle_error_with_context(KeyError("unit 7"), "world", "step")
        recovery.succeeded("world", "step")
    assert outside.restarts == []


def test_a_dead_backend_asks_for_no_new_process(recovery):
    outside = Outside()
    outward.attach(outside)
    for _ in range(40):
        recovery.handle_error(ConnectionRefusedError(), ErrorContext("db", "load"))
    assert outside.restarts == []


def test_restarts_are_limited(recovery):
    outside = Outside()
    outward.attach(outside)
    with MovableClock() as clock:
        for _ in range(12):
            for _ in range(12):
                recovery.handle_error(KeyError(), ErrorContext("world", "step"))
            clock.move(140)  # a quiet time would begin the count anew
        assert len(outside.restarts) == 3
