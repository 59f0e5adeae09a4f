"""``roadworthy run`` as a user types it, with the real agent, and the verbs that talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from live.keeper_kit import alive, ticks_of, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

PY = sys.executable
LOOP = "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(0.1)"


class Home:
    """A home directory of ours, and everything that was started in it."""

    def __init__(self, path):
        self.path = path
        self.started = []
        self.env = {k: v for k, v in os.environ.items() if k not in {"PORT", "WORKERS", "LOG_LEVEL"}}
        self.env |= {"ROADWORTHY_HOME": str(path)}

    def command(self, *arguments):
        """Return our command line for these arguments."""
        return [PY, "-c", "from roadworthy.cli.main import main; main()", *map(str, arguments)]

    def do(self, *arguments, timeout=90, **more):
        """Run a verb to its end."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=timeout, env=self.env, **more
        )

    def run(self, *arguments, **more):
        """Start ``run`` and return its process."""
        with (self.path.parent / f"err{len(self.started)}").open("wb") as err:
            process = subprocess.Popen(
                self.command("run", *arguments),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                **more,
            )
        process.told = Path(err.name)
        self.started.append(process)
        return process

    def index(self, name):
        """Return keeper.json of an application, or an empty one."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.path / "run" / name / "keeper.json").read_text())
        return {"slots": [], "agent_pid": None}

    def worker(self, name, generation=1, slot=0):
        """Wait for a generation of a slot and return its pid."""

        def there():
            rows = self.index(name)["slots"]
            return next(
                (r["pid"] for r in rows if (r["slot"], r["generation"], r["state"]) == (slot, generation, "running")),
                None,
            )

        return wait_for(there, 30, f"generation {generation} of {name}")

    def ready(self, name):
        """Wait until the agent says that the application is ready."""

        def says():
            with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as end:
                end.settimeout(5)
                end.connect(str(self.path / "run" / name / "agent.sock"))
                end.sendall(b'{"hello":"cli"}\n{"do":"ping"}\n')
                return json.loads(end.recv(65536)).get("ready")
            return False

        wait_for(says, 40, f"{name} to be ready")

    def end(self):
        """End what is left, by pid."""
        for folder in (self.path / "run").glob("*"):
            index = self.index(folder.name)
            for row in [
                index,
                *index["slots"],
                {"pid": index["agent_pid"], "start_ticks": ticks_of(index["agent_pid"] or 0)},
            ]:
                pid = row.get("pid")
                if pid and ticks_of(pid) == row["start_ticks"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def home(tmp_path):
    one = Home(tmp_path / "home")
    one.path.mkdir()
    yield one
    one.end()


def leftovers(home):
    """Return what a run that has ended left in the directories that only matter while it runs."""
    return [str(path) for root in ("run", "arena") for path in (home.path / root).rglob("*") if path.is_file()]


def lines_of(text):
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--", "no-such-program-at-all"], 127, "command not found"),
        (["--", "/etc/passwd"], 126, "cannot be executed"),
        (["--", "/"], 126, "cannot be executed"),
        (["--bogus", "--", "true"], 2, "no such option"),
        (["--name", "../up", "--", "true"], 2, "cannot be an application's name"),
        (["--grace", "soon", "--", "true"], 2, "no duration"),
        (["--check", "nonsense", "--", "true"], 2, "--check"),
        (["--workers", "2", "--port", "0", "--", "sh", "-c", "true"], 2, "cannot share port"),
        (["--bind", "203.0.113.1", "--port", "0", "--", "true"], 4, "cannot listen"),
        ([], 2, "is missing"),
    ],
)
def test_what_is_wrong_is_told_in_one_clear_error_and_leaves_nothing(home, arguments, code, what):
    done = home.do("run", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert what in done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines_of(done.stderr)) <= 3
    assert leftovers(home) == []


def test_a_port_in_use_names_its_owner(home):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        done = home.do("run", "--port", busy.getsockname()[1], "--", "true")
    assert done.returncode == 4
    assert f"(pid {os.getpid()}) listens there" in done.stderr


def test_a_directory_that_cannot_be_written_is_one_clear_error(home):
    home.env["ROADWORTHY_HOME"] = "/proc/none"
    done = home.do("run", "--", "true")
    assert done.returncode == 4
    assert "cannot make the directory" in done.stderr
    assert "ROADWORTHY_HOME" in done.stderr
    assert len(lines_of(done.stderr)) == 3


def test_it_exits_with_the_programs_status_and_passes_its_output_through(home):
    started = home.run("--restart", "never", "--", "sh", "-c", "echo out; exit 5")
    assert started.wait(60) == 5
    assert started.stdout.read() == b"out\n"
    assert leftovers(home) == []


def test_a_killed_worker_runs_again_with_its_last_words_kept(home, pace):
    home.run("--name", "app", "--", PY, "-c", LOOP)
    first = home.worker("app")
    home.ready("app")
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    home.worker("app", 2)
    assert pace.spent(began) < 2.0
    found = wait_for(lambda: list((home.path / "state" / "app" / "incidents").glob("*.json")))
    bundle = json.loads(found[0].read_text())
    assert str(first) in json.dumps(bundle)
    done = home.do("stop", "app")
    assert (done.returncode, done.stdout) == (0, "app is stopped\n")
    assert leftovers(home) == []


def test_restart_reload_and_stacks_do_what_they_say(home):
    home.run("--name", "app", "--", PY, "-c", LOOP)
    home.worker("app")
    home.ready("app")
    shown = home.do("stacks")
    assert "while" in shown.stdout or "most recent call first" in shown.stdout or "no stacks" in shown.stdout
    assert home.do("restart").returncode == 0
    home.worker("app", 2)
    home.ready("app")
    assert home.do("reload", "app").returncode == 0
    home.worker("app", 3)
    refused = home.do("restart", "app", "--slot", "7")
    assert refused.returncode == 4
    assert "no slot '7'" in refused.stderr


def test_two_programs_of_one_name_get_two_and_a_given_name_is_refused(home):
    home.run("--", "sleep", "600")
    home.worker("sleep")
    home.run("--", "sleep", "600")
    home.worker("sleep-2")
    done = home.do("run", "--name", "sleep", "--", "true")
    assert done.returncode == 4
    assert "already running" in done.stderr
    which = home.do("stop")
    assert which.returncode == 2
    assert "sleep, sleep-2" in which.stderr


@pytest.mark.parametrize("verb", ["stop", "restart", "reload", "stacks", "attach"])
def test_a_verb_for_what_does_not_run_says_so(home, verb):
    done = home.do(verb, "nobody")
    assert done.returncode == 4
    assert "nobody is not running" in done.stderr


def test_in_the_background_it_is_found_by_its_pid_file_and_stopped(home):
    pid_file = home.path / "app.pid"
    pid_file.write_text("999999\n5\n")
    done = home.do("run", "--daemon", "--pid-file", pid_file, "--name", "app", "--", PY, "-c", LOOP)
    assert done.returncode == 0, done.stderr
    pid, ticks = map(int, pid_file.read_text().split())
    assert ticks_of(pid) == ticks
    assert os.getsid(pid) != os.getsid(0)
    again = home.do("run", "--pid-file", pid_file, "--", "true")
    assert again.returncode == 4
    assert f"pid {pid}" in again.stderr
    wait_for(lambda: "up" in (home.path / "state" / "app" / "output.log").read_text())
    assert home.do("stop", "app").returncode == 0
    assert not alive(pid)
    assert not pid_file.exists()


def test_the_health_check_tells_by_its_exit_code(home):
    good = home.do("run", "--daemon", "--health-check", "--name", "good", "--", PY, "-c", LOOP)
    assert good.returncode == 0, good.stderr
    assert "good is healthy" in good.stdout
    dead = f"http://127.0.0.1:{unused_port()}/"
    bad = home.do(
        "run",
        "--daemon",
        "--health-check",
        "--ready-timeout",
        "1s",
        "--health-url",
        dead,
        "--name",
        "bad",
        "--",
        "sleep",
        "600",
    )
    assert bad.returncode == 7
    assert "did not become healthy" in bad.stderr
    wait_for(lambda: not (home.path / "run" / "bad" / "keeper.json").exists(), 30)
    front = home.run("--health-check", "--ready-timeout", "1s", "--health-url", dead, "--", "sleep", "600")
    assert front.wait(60) == 7


def test_after_its_keepers_death_a_program_can_be_attached_to_and_stopped(home):
    started = home.run("--name", "app", "--", PY, "-c", LOOP)
    worker = home.worker("app")
    home.ready("app")
    agent = home.index("app")["agent_pid"]
    started.kill()
    started.wait()
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: not alive(agent))
    refused = home.do("run", "--name", "app", "--", "true")
    assert refused.returncode == 4
    assert "attach app" in refused.stderr
    beside = subprocess.Popen(
        home.command("attach", "app"), env=home.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        home.ready("app")
        assert alive(worker)
        done = home.do("stop", "app")
        assert (done.returncode, done.stderr) == (0, "")
        assert not alive(worker)
        wait_for(lambda: beside.poll() is not None, 30, "the end of the agent beside")
    finally:
        beside.kill()
        beside.wait()
        beside.stdout.close()


def test_workers_share_the_port_that_the_keeper_holds(home):
    serve = (
        "import http.server as h, os\naddress = ('127.0.0.1', int(os.environ['PORT']))\n"
        "h.ThreadingHTTPServer(address, h.SimpleHTTPRequestHandler).serve_forever()"
    )
    port = unused_port()
    home.run("--name", "web", "--workers", "2", "--port", port, "--", PY, "-c", serve)
    home.worker("web", slot=0)
    home.worker("web", slot=1)
    home.ready("web")
    with socket.create_connection(("127.0.0.1", port), 10) as end:
        end.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        assert end.recv(100).startswith(b"HTTP/1.0 200")
    rows = home.index("web")["slots"]
    assert [(row["generation"], row["state"]) for row in rows] == [(1, "running"), (1, "running")]


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
