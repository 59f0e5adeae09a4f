"""Unmodified programs that are no servers, with the runtime injected: they behave as ever, and we saw what they did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from live.inject_env import PACKAGE, ROOT, Host, get, wait_until
from unit.inject.outside import Outside

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

OTHERS = [
    path
    for version in ("3.12", "3.13")
    for path in sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}"))[:1]
]
OLD = [
    path
    for version in ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10")
    for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))[:1]
]
WAYS = ("transmit", "receive")


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.end()


def test_an_asyncio_frame_loop_beats_logs_and_tells_what_blocked_it(host):
    assert host.run("blocking_frame_loop.py", "40") == 0
    assert host.count("log.records", logger="game.loop", level="error") == 40
    assert host.out().count("frame") == 40
    [view] = host.views()
    beats = {beat.name: beat for beat in view.beats()}
    assert beats["asyncio"].count >= 3
    assert beats["asyncio"].every_ns is None, "a loop that has ended expects no beat"
    assert beats["roadworthy"].count >= 3
    lags = [event for event in host.events("lag") if event.fields.get("stack")]
    assert any("think_too_long" in event.fields["stack"] for event in lags), host.events("lag")
    assert view.closed
    assert host.internal_errors() == 0


def test_a_program_that_forks_counts_in_every_process(host):
    assert host.run("waits_for_forks.py", "5") == 0
    assert host.out().strip() == "[0, 1, 2, 3, 4]"
    assert host.count("log.records", logger="family") == 7
    assert len(host.views()) == 6
    assert sorted(event.text for event in host.events("log") if event.text.startswith("child")) == [
        f"child {n}" for n in range(5)
    ]
    assert host.internal_errors() == 0


def test_what_was_printed_survives_a_kill(host):
    code = "import time\nfor n in range(50): print('line', n)\ntime.sleep(60)"
    child = host.start("-c", code)
    wait_until(lambda: host.out().count("line") == 50, "fifty printed lines")
    child.kill()
    child.wait(10)
    assert host.out().splitlines() == [f"line {n}" for n in range(50)]


def test_a_program_that_closes_all_descriptors_gets_none_of_ours_and_its_files_none_of_our_text(host, tmp_path):
    host.listen()
    child = host.start("closes_all_and_serves.py", tmp_path / "own-", host.port)
    asked = host.serving(child)
    get(host.port, ["/"] * 10)
    wait_until(lambda: host.requests() == 10 + asked, "eleven requests")
    [view] = host.views()
    assert host.count("log.records", logger="closer") == 1
    if view.stack_fd is not None:
        there = Path(f"/proc/{child.pid}/fd/{view.stack_fd}").readlink()
        assert there.parent == tmp_path, (
            "the program has a file of its own where our dump file was: the agent must look first"
        )
    assert [path.stat().st_size for path in tmp_path.glob("own-*")] == [0] * 220
    assert host.internal_errors() == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_pool(host, method):
    assert host.run("pool.py", method) == 0
    assert host.out().strip() == str(sum(n * n for n in range(20)))
    assert host.count("log.records", logger="pool") == 20
    assert "roadworthy" not in host.err()
    assert host.internal_errors() == 0


@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.name)
def test_another_version_in_its_own_virtual_environment(host, tmp_path, python):
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    code = (
        "import logging, json, sys, asyncio, sqlite3, warnings\n"
        "logging.getLogger('a.b.c').error('seen')\n"
        "sqlite3.connect(':memory:').execute('select 1')\n"
        "warnings.warn('old')\n"
        "asyncio.run(asyncio.sleep(0.6))\n"
        "print(json.dumps([sys.version_info[:2], sys.path, sys.prefix]))"
    )
    python = tmp_path / "venv" / "bin" / "python"
    bare = subprocess.run(
        [python, "-c", "import sys, json; print(json.dumps(sys.path))"], capture_output=True, check=True
    )
    assert host.run("-c", code, python=python) == 0, host.err()
    _, path, prefix = json.loads(host.out())
    assert path == json.loads(bare.stdout)
    assert prefix == str(tmp_path / "venv")
    assert host.count("log.records", logger="a.b", level="error") == 1
    assert host.count("warnings", category="UserWarning") == 1
    assert host.count("db.client.operation.duration", db__operation__name="SELECT") == 1
    assert host.count("asyncio.loop.lag") >= 2
    assert host.internal_errors() == 0


@pytest.mark.parametrize("python", OLD, ids=lambda path: path.name)
def test_an_older_python_runs_as_ever_and_says_why_it_is_not_watched(host, python):
    assert host.run("-c", "import sys; print('fine'); sys.exit(3)", python=python) == 3
    assert host.out() == "fine\n"
    assert host.err() == ""
    [note] = [json.loads(path.read_text()) for path in host.arenas.glob("declined-*.json")]
    assert note["pid"] == host.running[0].pid
    assert "older than 3.11" in note["reason"]
    assert note["start_ticks"] > 0


@pytest.mark.parametrize("switch", ["-I", "-E", "-S"])
def test_isolated_interpreters_are_left_alone(host, switch):
    assert host.run(switch, "-c", "print('fine')") == 0
    assert host.views() == []


def test_switched_off_means_off(host):
    assert (
        host.run("-c", "import sys; print('roadworthy' in sys.modules)", env=host.environ(ROADWORTHY_ENABLED="0")) == 0
    )
    assert host.out() == "False\n"
    assert host.views() == []


def test_the_environment_is_as_the_program_expects(host):
    code = (
        "import sys, os\n"
        "print('sitecustomize' in sys.modules, [p for p in sys.path if 'inject' in p], os.environ['PYTHONPATH'])"
    )
    assert host.run("-c", code) == 0
    assert host.out().split() == ["False", "[]", str(PACKAGE / "app" / "inject" / "site")]


def test_children_of_children_are_injected_and_the_environment_does_not_grow(host):
    code = (
        "import os, subprocess, sys\n"
        "left = int(sys.argv[1])\n"
        "print(len(os.environ), len(os.environ['PYTHONPATH']), flush=True)\n"
        "left and subprocess.run([sys.executable, __file__, str(left - 1)], check=True)\n"
    )
    program = host.home / "nest.py"
    program.write_text(code)
    assert host.run(program, "3") == 0
    assert len(set(host.out().split("\n")[:4])) == 1
    assert len(host.views()) == 4


def test_the_programs_own_sitecustomize_runs_as_without_us(host, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = __name__, __file__\n")
    env = host.environ()
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    assert host.run("-c", "import sys, sitecustomize; print(mine[0], mine[1] == sitecustomize.__file__)", env=env) == 0
    assert host.out() == "sitecustomize True\n"
    assert len(host.views()) == 1


def test_an_error_in_the_programs_own_sitecustomize_reads_as_without_us(host, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise RuntimeError('mine')\n")
    env = host.environ()
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    assert host.run("-c", "print('on')", env=env) == 0
    bare = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    without = subprocess.run(
        [sys.executable, "-c", "print('on')"], env=bare, capture_output=True, text=True, check=True
    )
    assert host.out() == without.stdout
    assert host.err() == without.stderr


def test_uncaught_exceptions_are_recorded_and_printed_as_ever(host):
    code = (
        "import threading, asyncio, gc\n"
        "def fail(): raise KeyError('in a thread')\n"
        "t = threading.Thread(target=fail); t.start(); t.join()\n"
        "async def main():\n"
        "    asyncio.ensure_future(broken()); await asyncio.sleep(0.05); gc.collect()\n"
        "async def broken(): raise LookupError('in a task')\n"
        "asyncio.run(main())\n"
        "class D:\n"
        "    def __del__(self): raise OSError('in a finaliser')\n"
        "D()\n"
        "raise ValueError('at the end')\n"
    )
    program = host.home / "fails.py"
    program.write_text(code)
    assert host.run(program) == 1
    told = host.err()
    assert told.rstrip().endswith("ValueError: at the end")
    assert told.count("Traceback") == 4
    assert "roadworthy" not in told
    for kind in ("KeyError", "LookupError", "OSError", "ValueError"):
        assert host.count("errors", type=kind) == 1, kind
    assert {event.fields["handled"] for event in host.events("error")} == {"false"}


def test_pytest_and_pip_run_as_ever(host, tmp_path):
    (tmp_path / "test_own.py").write_text(
        "import logging, warnings, pytest\n"
        "def test_logs(caplog):\n    logging.getLogger('x').warning('seen %d', 1)\n"
        "    assert caplog.messages == ['seen 1']\n"
        "def test_warns():\n    with pytest.warns(UserWarning): warnings.warn('w')\n"
        "def test_asserts():\n    with pytest.raises(AssertionError, match='1 == 2'): assert 1 == 2\n"
    )
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull]
    assert host.run("-m", "pytest", *options, tmp_path / "test_own.py") == 0, host.out()
    assert "3 passed" in host.out()
    assert host.count("warnings") == 0
    assert host.run("-m", "pip", "--version") == 0
    assert host.out(1).startswith("pip ")
    assert host.err(1) == ""


def test_a_directory_that_cannot_be_written_is_told_in_one_line_and_harms_nothing(host, tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a directory")
    env = host.environ(ROADWORTHY_ARENA_DIR=nowhere / "arenas")
    assert host.run("-c", "import logging; logging.warning('on'); print('fine')", env=env) == 0
    assert host.out() == "fine\n"
    lines = host.err().splitlines()
    assert [line for line in lines if "roadworthy" not in line] == ["WARNING:root:on"]
    assert len([line for line in lines if "Your program is fine" in line]) <= 1


def test_the_signals_of_the_program_are_its_own(host):
    code = (
        "import signal, os\n"
        "print([signal.getsignal(s) is signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)], "
        "signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    inherited = [signal.getsignal(number) is signal.SIG_DFL for number in numbers]  # nohup ignores some
    assert host.run("-c", code) == -signal.SIGTERM
    assert host.out() == f"{inherited} {signal.getsignal(signal.SIGINT) is signal.default_int_handler}\n"


def test_urllib_and_sqlite_are_measured_and_nothing_of_a_statement_is_kept(host, tmp_path):
    host.listen()
    server = host.start("-m", "http.server", host.port, cwd=tmp_path)
    host.serving(server)
    code = (
        "import sqlite3, sys, urllib.request, urllib.error\n"
        "port = sys.argv[1]\n"
        "for n in range(5): urllib.request.urlopen(f'http://127.0.0.1:{port}/').read()\n"
        "try: urllib.request.urlopen(f'http://127.0.0.1:{port}/missing')\n"
        "except urllib.error.HTTPError as error: error.close()\n"
        "try: urllib.request.urlopen('http://127.0.0.1:1/')\n"
        "except urllib.error.URLError: pass\n"
        "base = sqlite3.connect(':memory:')\n"
        "assert isinstance(base, sqlite3.Connection) and type(base).__name__ == 'Connection'\n"
        "base.execute('create table people (name text)')\n"
        "cursor = base.cursor()\n"
        "assert isinstance(cursor, sqlite3.Cursor)\n"
        "cursor.executemany('insert into people values (?)', [('topsecret',)] * 3)\n"
        "base.commit()\n"
        "assert len(cursor.execute('  select * from people').fetchall()) == 3\n"
        "try: base.execute('select * from nowhere')\n"
        "except sqlite3.OperationalError: pass\n"
    )
    assert host.run("-c", code, host.port) == 0, host.err(1)
    assert host.count("http.client.request.duration", server__address="127.0.0.1", http__response__status_code=200) == 5
    assert host.count("http.client.request.duration", http__response__status_code=404, error__type="404") == 1
    assert host.count("http.client.request.duration", error__type="ConnectionRefusedError") == 1
    assert host.count("db.client.operation.duration", db__operation__name="SELECT") == 2
    assert host.count("db.client.operation.duration", error__type="OperationalError") == 1
    assert host.count("db.client.operation.duration", db__operation__name="INSERT") == 1
    assert host.count("db.client.operation.duration", db__operation__name="COMMIT") == 1
    assert not any(b"topsecret" in path.read_bytes() for path in host.arenas.glob("*.arena"))
    assert host.internal_errors() == 0


def test_outside_services_see_the_calls_bytes_and_identifiers_that_we_count(host):
    names = ("http.client", "requests", "httpx", "httpx async", "aiohttp")
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from asking import CLIENTS, parts\n"
        "from roadworthy.log import CorrelationContext\n"
        "for name, base in zip(sys.argv[2::2], sys.argv[3::2]):\n"
        "    with CorrelationContext('for ' + name):\n"
        "        CLIENTS[name](base, [\n"
        "            ('GET', '/chunked', None, {}), ('GET', '/packed', None, {}), ('GET', '/missing', None, {}),\n"
        "            ('POST', '/take', b'c' * 5000, {}), ('POST', '/take', parts, {}),\n"
        "        ])\n"
    )
    with contextlib.ExitStack() as stack:
        services = {name: stack.enter_context(Outside(f"127.0.0.{n}")) for n, name in enumerate(names, 2)}
        asked = [part for name, service in services.items() for part in (name, service.base)]
        assert host.run("-c", code, ROOT / "tests" / "unit" / "inject", *asked) == 0, host.err()
    for name, service in services.items():
        at = service.server.server_address[0]
        assert host.count("http.client.request.duration", server__address=at) == len(service.asked) == 5, name
        assert host.count("http.client.request.duration", server__address=at, error__type="404") == 1, name
        counted = {way: host.count("http.client.io", server__address=at, network__io__direction=way) for way in WAYS}
        marks = service.marks if "httpx" in name else 0
        assert counted == {"transmit": service.taken - marks, "receive": service.given}, name
        assert {said["x-request-id"] for _, _, said, _ in service.asked} == {f"for {name}"}
    assert host.internal_errors() == 0


def test_a_program_without_a_free_descriptor_dies_of_its_own_error(host):
    code = (
        "import os, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "kept = []\n"
        "while True: kept.append(os.open('/dev/null', os.O_RDONLY))\n"
    )
    assert host.run("-c", code) == 1
    assert "OSError: [Errno 24] Too many open files" in host.err().splitlines()[-1]
    assert "Error in sys.excepthook" not in host.err()
