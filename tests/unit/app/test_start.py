"""Starting: once, by itself, never in the program's way; and what becomes of it in a fork and at the end."""

import pytest

HEAD = """
    import os, sys, json, signal
    import roadworthy as rw
    from roadworthy.app import start, guard
    from roadworthy.arena.reader import Reader, scan

    def totals(path):
        with Reader(path) as reader:
            return {found.name + "".join(f",{k}={v}" for k, v in found.labels):
                    found.value if found.buckets is None else sum(found.buckets.values()) for found in reader.series()}
"""


def test_start_makes_the_arena_of_the_script(program):
    done = program(
        HEAD
        + """
    rw.start(); rw.start()
    with Reader(start.current().path) as reader:
        print(start.name(), reader.pid == os.getpid(), reader.info["app"])
        print(reader.info["command"].endswith("--token [redacted]"))
    """,
        "--token",
        "hunter2",
    )
    assert done.stdout == "program True program\nTrue\n"
    assert done.stderr == ""


def test_what_the_keeper_says_counts_more_than_the_argument(program, tmp_path):
    done = program(
        HEAD
        + """
    rw.start("other")
    with Reader(start.current().path) as reader:
        print(start.name(), reader.slot, reader.generation)
        print(os.path.dirname(reader.path) == os.environ["ROADWORTHY_ARENA_DIR"])
    """,
        ROADWORTHY_APP="web",
        ROADWORTHY_ARENA_DIR=str(tmp_path / "arena"),
        ROADWORTHY_SLOT="3",
        ROADWORTHY_GENERATION="7",
        ROADWORTHY_KEEPER_PID="1",
    )
    assert done.stdout == "web 3 7\nTrue\n"


def test_a_place_that_cannot_be_used_is_told_once_and_everything_does_nothing(program, tmp_path):
    (tmp_path / "file").write_text("")
    done = program(
        HEAD
        + """
    rw.start()
    for _ in range(3):
        with rw.operation("x", a=1):
            rw.counter("c").add(); rw.gauge("g").set(1); rw.histogram("h").record(1); rw.timer("t").record(1)
        rw.usage("f"); rw.error("E"); rw.event("e"); rw.progress("p"); rw.heartbeat("b").beat()
        with rw.loop("l").frame(): pass
        rw.startup.ready(); rw.collector(object()); rw.check("c", lambda: True)
        @rw.timed("t")
        def f(): return 1
        assert f() == 1
    print(start.current(), start.is_off(), bool(start.reason()))
    """,
        ROADWORTHY_HOME=str(tmp_path / "file" / "below"),
    )
    assert done.stdout == "None True True\n"
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("roadworthy: start failed")
    assert done.stderr.endswith("Your program is fine.\n")


@pytest.mark.parametrize("word", ["0", "false", "OFF", "no"])
def test_switched_off_it_does_nothing_and_loads_nothing(program, tmp_path, word):
    done = program(
        HEAD
        + """
    def f(): return 1
    assert rw.timed("t")(f) is f
    with rw.operation("x", a=1) as one, rw.operation("y") as other:
        assert one is other
    rw.counter("c", labels=["a"]).labels(a=1).add(); rw.gauge("g").set(1); rw.histogram("h").record(1)
    with rw.timer("t").time(): pass
    with rw.loop("l", target_fps=60).frame(): pass
    rw.loop("l").turn(); rw.heartbeat("b").beat(); rw.progress("p"); rw.usage("f"); rw.event("e")
    assert rw.error("E") == ""
    assert rw.check("c", f) is f and rw.check("c")(f) is f and rw.collector(f) is f
    rw.startup.checkpoint("x"); rw.startup.finish_profiling(rw.startup.start_profiling("s"))
    rw.start()
    print(start.current(), sorted(name for name in sys.modules if name.startswith("roadworthy.app.")))
    """,
        ROADWORTHY_ENABLED=word,
    )
    assert done.stdout == f"None {[f'roadworthy.app.{name}' for name in ('api', 'guard', 'off', 'start')]}\n"
    assert done.stderr == ""
    assert not (tmp_path / "home").exists()


def test_an_orderly_end_closes_the_arena_and_takes_the_stack_file_along(program, tmp_path):
    program("import roadworthy as rw\nrw.start()\nrw.counter('c').add()")
    from roadworthy.arena.layout import STATE_CLOSED
    from roadworthy.arena.reader import Reader, scan

    (path,) = scan(tmp_path / "home" / "arena" / "program")
    with Reader(path) as reader:
        assert reader.state == STATE_CLOSED
    assert list(path.parent.glob("stacks-*")) == []


def test_stacks_are_dumped_by_the_signal_that_the_header_names(program):
    done = program(
        HEAD
        + """
    rw.start()
    from roadworthy.arena.layout import H_STACK_FD, H_STACK_SIGNAL
    q = start.current().cell.q
    number, descriptor = q[H_STACK_SIGNAL], q[H_STACK_FD]
    def stuck():
        os.kill(os.getpid(), number)
    stuck()
    text = open(os.path.join(start.current().directory, f"stacks-{os.getpid()}")).read()
    print(number >= signal.SIGRTMIN, descriptor >= 200, "in stuck" in text)
    """
    )
    assert done.stdout == "True True True\n"


def test_a_program_with_few_descriptors_gets_a_low_one(program):
    done = program(
        HEAD
        + """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    rw.start()
    from roadworthy.arena.layout import H_STACK_FD
    print(0 < start.current().cell.q[H_STACK_FD] < 64)
    """
    )
    assert done.stdout == "True\n"


def test_a_forked_child_has_its_own_arena_when_it_records(program):
    done = program(
        HEAD
        + """
    rw.start()
    turns = rw.counter("turns")
    @rw.timed("work")
    def work(): pass
    for _ in range(5):
        turns.add(); work()
        with rw.operation("op"): pass
    parent = start.current().path
    quiet = os.fork()
    if not quiet:
        os._exit(0)
    os.waitpid(quiet, 0)
    print(len(scan(start.current().directory)))
    with rw.operation("around"):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            turns.add(); work(); work()
            for _ in range(3):
                with rw.operation("op"):
                    with rw.operation("inner"):
                        assert {e.name for e in Reader(start.current().path).inflight()} == {"op", "inner"}
            with rw.operation("new"): pass
    path = start.current().path
    if not child:
        found = totals(path)
        with Reader(path) as reader:
            fields = (path != parent, reader.inflight(), reader.info["stacks"] == f"stacks-{os.getpid()}")
        print(*fields, {k: v for k, v in found.items() if v}, flush=True)
        os.kill(os.getpid(), start.current().cell.q[35])
        print(os.path.getsize(os.path.join(start.current().directory, f"stacks-{os.getpid()}")) > 0, flush=True)
        os._exit(0)
    print({k: v for k, v in totals(path).items() if v})
    """
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "1"
    assert lines[1] == (
        "True [] True {'turns': 1.0, 'work': 2, 'operation.duration,operation=op,outcome=success': 3, "
        "'operation.duration,operation=inner,outcome=success': 3, "
        "'operation.duration,operation=new,outcome=success': 1}"
    )
    assert lines[2] == "True"
    assert lines[3] == (
        "{'turns': 5.0, 'work': 5, 'operation.duration,operation=op,outcome=success': 5, "
        "'operation.duration,operation=around,outcome=success': 1}"
    )
    assert done.stderr == ""


def test_threads_that_start_it_at_once_share_one_arena(program):
    done = program(
        HEAD
        + """
    import threading
    barrier = threading.Barrier(8)
    def work():
        barrier.wait()
        for _ in range(100):
            rw.counter("c").add()
    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
    print(len(scan(start.current().directory)), totals(start.current().path)["c"])
    """
    )
    assert done.stdout == "1 800.0\n"


def test_recording_while_the_interpreter_goes_down_is_silent(program):
    done = program(
        HEAD
        + """
    import atexit
    rw.start()
    class Late:
        def __del__(self):
            with rw.operation("late", a=1):
                rw.counter("late").add(); rw.event("late"); rw.error("Late")
    keep = Late()
    keep.me = keep
    atexit.register(lambda: rw.counter("at.exit").add())
    sys.modules["late"] = Late()
    """
    )
    assert done.stderr == ""


def test_a_signal_handler_may_use_every_name_while_they_are_imported(program):
    done = program("""
        import os, signal, sys
        import roadworthy as rw

        def handler(number, frame):
            for name in rw.__all__:
                getattr(rw, name)
            with rw.operation("op.handler"):
                rw.counter("handled").add()

        class Finder:
            came = set()

            @classmethod
            def find_spec(cls, name, path=None, target=None):
                if name.startswith("roadworthy.") and name not in cls.came:
                    cls.came.add(name)
                    os.kill(os.getpid(), signal.SIGUSR1)

        signal.signal(signal.SIGUSR1, handler)
        sys.meta_path.insert(0, Finder)
        with rw.operation("op.first"):
            pass
        sys.meta_path.remove(Finder)
        from roadworthy.app.operation import Operation
        print(len(Finder.came) > 10, type(rw.operation("op")) is Operation, rw.start.__module__)
    """)
    assert done.stdout == "True True roadworthy.app.start\n"
    assert done.stderr == ""


def test_names_of_scripts_become_names_of_applications():
    from roadworthy.app import start

    assert start._fit("my app.v2") == "my-app.v2"
    assert start._fit("___") == "python"
    assert start._fit("é" * 100) == "python" or len(start._fit("é" * 100)) <= 64
    assert len(start._fit("a" * 100)) == 64


def test_a_hook_runs_at_once_when_there_is_an_arena_and_may_fail(capfd):
    from roadworthy.app import guard, start

    called = []
    start.when_started(called.append)
    assert called == [start.current()]
    before = guard.counted()
    start.when_started(lambda arena: 1 / 0)
    assert guard.counted() == before + 1
