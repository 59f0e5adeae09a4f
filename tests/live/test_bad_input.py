"""Bad input to the real command: one clear error with the right exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.refused import environment, files, nothing_left, one_error, processes, roadworthy
from support.running import ROADWORTHY, Running, start_ticks, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

TRUE = ("--", "true")
ONCE = ("--restart", "never")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--bogus"], 2, "no such option '--bogus'"),
        (["bogus"], 2, "no such command 'bogus'"),
        (["run"], 2, "COMMAND... is missing"),
        (["run", "--bogus", *TRUE], 2, "no such option '--bogus'"),
        (["run", "--workers"], 2, "requires an argument"),
        (["run", "--workers", "0", *TRUE], 2, "--workers: 0 is not in the range"),
        (["run", "--workers", "many", *TRUE], 2, "--workers: 'many' is no number"),
        (["run", "--port", "70000", *TRUE], 2, "--port: 70000"),
        (["run", "--restart", "maybe", *TRUE], 2, "'on-failure', 'always', 'never'"),
        (["run", "--grace", "soon", *TRUE], 2, "'soon' is no duration"),
        (["run", "--grace", "-1", *TRUE], 2, "'-1' is no duration"),
        (["run", "--retention-hours", "nan", *TRUE], 2, "nan is no number of hours"),
        (["run", "--stop-signal", "KILL", *TRUE], 2, "SIGKILL cannot ask a program to stop"),
        (["run", "--stop-signal", "BANG", *TRUE], 2, "there is no signal 'BANG'"),
        (["run", "--check", "db", *TRUE], 2, "It is NAME=URL"),
        (["run", "--check", "db=ftp://h/x", *TRUE], 2, "no built-in check understands"),
        (["run", "--check", "db=tcp://h", *TRUE], 2, "names no port"),
        (["run", "--health-url", "localhost", *TRUE], 2, "is no address of a web page"),
        (["run", "--probe-bind", "nonsense", *TRUE], 2, "is no address to listen on"),
        (["run", "--probe-bind", "127.0.0.1:99999", *TRUE], 2, "the port at most 65535"),
        (["run", "--allow-host", "http://ops.example/", *TRUE], 2, "is no host name"),
        (["run", "--name", "a/b", *TRUE], 2, "'a/b' cannot be an application's name"),
        (["run", "--name", "..", *TRUE], 2, "'..' cannot be an application's name"),
        (["run", "--name", "x" * 65, *TRUE], 2, "cannot be an application's name"),
        (["run", "--name", b"a\xff", *TRUE], 2, "cannot be an application's name"),
        (["run", "--bind", "203.0.113.7", "--port", "18081", *TRUE], 4, "cannot listen on 203.0.113.7:18081"),
        (["run", "--bind", "no.such.host.invalid", "--port", "1", *TRUE], 4, "The name does not resolve"),
        (["run", "--workers", "2", "--port", "18081", "--no-inject", *TRUE], 2, "cannot share port 18081"),
        (["run", "--pid-file", "/nonexistent/x.pid", *TRUE], 4, "the pid file /nonexistent/x.pid cannot be written"),
        (["run", "--daemon", "--pid-file", "/nonexistent/x.pid", *TRUE], 4, "cannot be written"),
        (["run", "--", "no-such-command-here"], 127, "command not found"),
        (["run", "--", "./no-such-file"], 127, "There is no such file"),
        (["run", "--", "/"], 126, "It is a directory"),
        (["run", "--", ""], 127, "command not found"),
        (["status", "nope"], 4, "nope is not running"),
        (["status", "../nope"], 2, "cannot be an application's name"),
        (["top", "nope"], 4, "nope"),
        (["export", "nope"], 4, "nope"),
        (["stop", "nope"], 4, "nope is not running"),
        (["restart", "nope"], 4, "nope is not running"),
        (["reload", "nope"], 4, "nope is not running"),
        (["stacks", "nope"], 4, "nope is not running"),
        (["attach", "nope"], 4, "nope is not running"),
        (["stop"], 4, "nothing is running"),
        (["status", "a", "b"], 2, "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_one_error_and_leaves_nothing(arguments, code, said, tmp_path):
    home = tmp_path / "home"
    assert said in one_error(roadworthy(home, *arguments), code)
    nothing_left(home)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", "port: 'abc' is not accepted"),
        ("WORKERS", "-1", "workers: '-1' is not accepted"),
        ("LOG_LEVEL", "loud", "log_level: 'loud' is not accepted"),
    ],
)
def test_a_wrong_variable_is_one_error_that_names_the_variable(name, value, said, tmp_path):
    home = tmp_path / "home"
    text = one_error(roadworthy(home, "run", *TRUE, env={name: value}), 3)
    assert said in text
    assert f"environment variable {name}" in text
    nothing_left(home)


def test_a_file_that_may_not_be_executed_is_refused(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("echo hi\n")
    assert "chmod +x" in one_error(roadworthy(tmp_path / "home", "run", "--", str(plain)), 126)
    nothing_left(tmp_path / "home")


@pytest.mark.parametrize(
    ("content", "code"), [(b"\x7fELF but not really", 126), (b"#!/no/such/interpreter\n", 127)], ids=["elf", "script"]
)
def test_a_file_that_the_kernel_refuses_is_refused_and_leaves_nothing(content, code, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    done = roadworthy(tmp_path / "home", "run", "--name", "x", "--", str(program))
    assert "cannot be started" in one_error(done, code)
    assert processes(tmp_path / "home") == []
    assert [name for name in files(tmp_path / "home") if not name.startswith("state/")] == []


def test_a_working_directory_that_was_removed_is_one_error(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "{gone}"; exec "$0" run -- true'
    done = subprocess.run(
        ["sh", "-c", script, *ROADWORTHY],
        cwd=gone,
        env=environment(tmp_path / "home"),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert "the working directory is gone" in one_error(done, 4)


# -- taken things


@pytest.fixture
def taken():
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("options", [["--port"], ["--ops-port"], ["--probe-bind"], ["--daemon", "--port"]])
def test_a_port_that_is_in_use_is_refused_before_anything_starts_and_its_owner_named(options, taken, tmp_path):
    home = tmp_path / "home"
    value = f"127.0.0.1:{taken}" if options[-1] == "--probe-bind" else str(taken)
    started = tmp_path / "started"
    text = one_error(roadworthy(home, "run", *options, value, "--", "touch", str(started)), 4)
    assert f"port {taken} on 127.0.0.1 is in use" in text
    assert f"pid {os.getpid()}" in text
    assert options[-1] in text
    assert not started.exists()
    nothing_left(home)


def test_a_second_run_of_a_name_is_refused_and_does_not_disturb_the_first(tmp_path):
    home = tmp_path / "home"
    with Running(home, ["sleep", "60"], name="web") as first:
        first.agent()
        before = sorted(first.run_dir.iterdir()), first.worker_pid()
        text = one_error(roadworthy(home, "run", "--name", "web", *TRUE), 4)
        assert "web is already running" in text
        assert str(first.process.pid) in text
        assert (sorted(first.run_dir.iterdir()), first.worker_pid()) == before
        # Without a name the second one is called differently.
        assert roadworthy(home, "run", "--", "sh", "-c", "exit 0").returncode == 0


def test_a_pid_file_of_a_living_run_is_refused_and_a_stale_one_is_replaced(tmp_path):
    home, pid_file = tmp_path / "home", tmp_path / "web.pid"
    pid_file.write_text(f"{os.getpid()}\n{start_ticks(os.getpid())}\n")
    assert "names a living process" in one_error(roadworthy(home, "run", "--pid-file", str(pid_file), *TRUE), 4)
    nothing_left(home)
    pid_file.write_text(f"{os.getpid()}\n1\n")  # this pid, but of a process that started at another time
    done = roadworthy(home, "run", *ONCE, "--pid-file", str(pid_file), "--", "sh", "-c", f"cat {pid_file}; exit 3")
    assert done.returncode == 3
    assert int(done.stdout.split()[0]) != os.getpid()
    assert not pid_file.exists()


# -- directories


@pytest.mark.parametrize("home", ["/proc/roadworthy", "/dev/null/x"])
def test_a_place_where_nothing_can_be_made_is_one_error(home):
    assert "cannot make the directory" in one_error(roadworthy(Path(home), "run", *TRUE), 4)


def test_a_file_in_the_place_of_the_home_is_one_error(tmp_path):
    (tmp_path / "home").write_text("")
    assert "cannot make the directory" in one_error(roadworthy(tmp_path / "home", "run", *TRUE), 4)


@pytest.mark.parametrize("part", ["run", "arena", "state"])
def test_a_link_in_the_place_of_one_of_our_directories_is_refused(part, tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / part).symlink_to(elsewhere)
    assert "is not a plain directory" in one_error(roadworthy(home, "run", *TRUE), 6)
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_an_applications_directory_is_refused(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for part in ("arena", "run", "state"):
        (home / part).mkdir(parents=True)
    (home / "run/web").symlink_to(elsewhere)
    assert "is not a plain directory" in one_error(roadworthy(home, "run", "--name", "web", *TRUE), 6)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "lock"])
def test_a_link_in_the_place_of_one_of_our_files_is_not_followed(name, tmp_path):
    home, victim = tmp_path / "home", tmp_path / "victim"
    victim.write_text("precious")
    for part in ("arena", "run", "state"):
        (home / part / "web").mkdir(parents=True)
    (home / "run/web" / name).symlink_to(victim)
    done = roadworthy(home, "run", *ONCE, "--name", "web", "--", "sh", "-c", "exit 3")
    assert done.returncode in {3, 4}  # refused, or the link was cleared away first
    assert victim.read_text() == "precious"


def test_a_relative_home_holds_although_the_program_changes_its_directory(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = f"cd {elsewhere}; echo $ROADWORTHY_ARENA_DIR; exit 3"
    done = roadworthy(Path("home"), "run", *ONCE, "--name", "web", "--", "sh", "-c", program, cwd=tmp_path)
    assert (done.returncode, done.stdout.decode().strip()) == (3, f"{tmp_path}/home/arena/web")
    assert list(elsewhere.iterdir()) == []


def test_without_a_home_directory_it_still_runs(tmp_path):
    env = {"HOME": None, "ROADWORTHY_HOME": None, "XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = roadworthy(tmp_path, "run", *ONCE, "--name", f"t3-{os.getpid()}", "--", "sh", "-c", "exit 3", env=env)
    assert done.returncode == 3, done.stderr


AS_NOBODY = """
import importlib, os, pkgutil, sys
import roadworthy.cli, roadworthy.config, roadworthy.view.terminal
import encodings.idna, http.client, ipaddress, json, socket, traceback, urllib.error, urllib.request
for package in (roadworthy.cli, roadworthy.config, roadworthy.view, roadworthy.view.terminal):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)  # nobody may not read where the interpreter is
from roadworthy.cli.main import main
from roadworthy.cli.configured import configuration
configuration(importlib.import_module("pathlib").Path.cwd())  # the same for what is read and imported with the schema
os.setgroups([]); os.setgid(65534); os.setuid(65534)
main(sys.argv[1:])
"""


@pytest.fixture
def open_folder():
    """Make a folder that every user may enter; pytest's own is closed again by every other pytest that starts."""
    with tempfile.TemporaryDirectory(prefix="rw-open-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_neither_use_nor_end_what_is_ours(open_folder):
    home = open_folder / "home"
    # Where the tests are measured, the other user's process could not write what was measured of it, and would say so.
    unmeasured = {name: None for name in os.environ if name.startswith("COVERAGE")}
    with Running(home, ["sleep", "60"], name="web") as ours:
        ours.agent()
        home.chmod(0o755)
        for arguments, code in (
            (["run", "--name", "web", *TRUE], 6),
            (["run", "--name", "other", *TRUE], 6),
            (["stop", "web"], 4),
            (["status", "web"], 4),
        ):
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, *arguments],
                env=environment(home, unmeasured),
                capture_output=True,
                check=False,
                timeout=60,
            )
            one_error(done, code)
        assert start_ticks(ours.worker_pid())


# -- our own input, output and arguments


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_closed_standard_descriptors_do_not_matter(closed, tmp_path):
    home, out, err = tmp_path / "home", tmp_path / "out", tmp_path / "err"
    script = (
        'exec >"$OUT" 2>"$ERR"; '
        + " ".join(f"exec {fd}{'<' if fd == 0 else '>'}&-;" for fd in closed)
        + ' exec "$0" run --restart never --name web -- sh -c "echo said; echo wrong >&2; exit 3"'
    )
    env = {**environment(home), "OUT": str(out), "ERR": str(err)}
    done = subprocess.run(["sh", "-c", script, *ROADWORTHY], env=env, stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 3, err.read_text()
    assert out.read_text() == ("" if 1 in closed else "said\n")
    assert "Traceback" not in err.read_text()
    assert ("wrong\n" in err.read_text()) is (2 not in closed)
    assert processes(home) == []
    assert [name for name in files(home) if not name.startswith("state/")] == []


def test_a_reader_that_leaves_does_not_end_the_program(tmp_path):
    done_file = tmp_path / "done"
    program = f"for i in $(seq 40); do echo $i; sleep 0.05; done; touch {done_file}; exit 3"
    script = f"{{ \"$0\" run --restart never --name web -- sh -c '{program}'; echo $? >{tmp_path}/code; }} | head -1"
    done = subprocess.run(
        ["sh", "-c", script, *ROADWORTHY],
        env=environment(tmp_path / "home"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == b"1\n"
    assert done_file.exists()
    assert (tmp_path / "code").read_text() == "3\n"
    assert b"Traceback" not in done.stderr


def test_output_that_is_no_text_is_passed_on_unchanged(tmp_path):
    noise = bytes(range(256)) * 64
    (tmp_path / "noise").write_bytes(noise)
    done = roadworthy(tmp_path / "home", "run", *ONCE, "--", "cat", str(tmp_path / "noise"))
    assert done.returncode == 0
    assert done.stdout == noise


def test_a_huge_command_line_that_is_no_text_reaches_the_program_unchanged(tmp_path):
    words = [b"\xff\xfe", b"x" * 100_000, b"", b"a\nb"]
    program = "import os, sys; print(sum(len(os.fsencode(word)) for word in sys.argv[1:]), len(sys.argv))"
    done = roadworthy(tmp_path / "home", "run", *ONCE, "--name", "web", "--", sys.executable, "-c", program, *words)
    assert (done.returncode, done.stdout) == (0, b"100005 5\n"), done.stderr[-500:]


def test_an_interrupt_while_starting_leaves_nothing(tmp_path):
    home = tmp_path / "home"
    process = subprocess.Popen(
        [*ROADWORTHY, "run", "--name", "web", "--", "sleep", "60"],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(lambda: json.loads((home / "run/web/keeper.json").read_text()), "the keeper is there")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    assert process.returncode in {130, 143, 128 + signal.SIGTERM}
    assert b"Traceback" not in err
    wait_for(lambda: not processes(home), "all processes have ended")
    assert [name for name in files(home) if not name.startswith("state/")] == []
