"""A real keeper with real programs, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from live.keeper_kit import Kept, alive, pids_of, ticks_of, wait_for
from roadworthy.config.values import RestartPolicy

pytestmark = pytest.mark.live

PY = sys.executable
SLEEP = ("sleep", "600")

# Each writes its pid to a file, so that a test knows whom to look for after everything ended.
FORKS = """
import os, sys, time
for _ in range(2):
    if os.fork() == 0:
        open("pids", "a").write(f"{os.getpid()}\\n")
        time.sleep(600)
open("pids", "a").write(f"{os.getpid()}\\n")
time.sleep(600)
"""
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("pids", "a").write(f"{os.getpid()}\\n")
        time.sleep(600)
    open("pids", "a").write(f"{os.getpid()}\\n")
    time.sleep(600)
open("pids", "a").write(f"{os.getpid()}\\n")
time.sleep(600)
"""
DAEMONIZES = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 3)
open("pids", "a").write(f"{os.getpid()}\\n")
time.sleep(600)
"""


@pytest.fixture
def keep(tmp_path):
    kept = []

    def start(command, **given):
        one = Kept(tmp_path / f"k{len(kept)}", command, **given)
        kept.append(one)
        return one

    yield start
    for one in kept:
        one.__exit__()


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_it_exits_with_the_programs_status(keep, script, status):
    kept = keep(["sh", "-c", script], restart=RestartPolicy(mode="never"))
    assert kept.ended() == status
    assert not (kept.home / "run").exists()


def test_a_worker_that_is_killed_runs_again_and_its_death_is_told_at_once(keep, pace):
    kept = keep(SLEEP)
    first = kept.worker()
    kept.agent()
    wait_for(lambda: kept.told("state"))
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    second = kept.worker(2)
    assert second != first
    told = wait_for(lambda: kept.told("exited"))[0]
    assert (told["pid"], told["code"], told["signal"], told["leftover"]) == (first, None, 9, [])
    begun = wait_for(lambda: [m for m in kept.told("started") if m["generation"] == 2])[0]
    lost = pace.lost(killed)
    assert (begun["at_ns"] - told["at_ns"]) / 1e9 < 2.0 + lost
    assert (told["heard"] - told["at_ns"]) / 1e9 < 1.0 + lost


def test_a_program_that_stops_on_sigterm_is_given_the_time_to(keep):
    script = "trap 'sleep 0.3; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    kept = keep(["sh", "-c", script])
    kept.worker()
    wait_for(lambda: b"up" in kept.out.read_bytes())
    kept.process.send_signal(signal.SIGTERM)
    assert kept.ended() == 0
    assert kept.out.read_bytes() == b"up\nbye\n"


def test_what_ignores_sigterm_is_killed_after_the_grace_with_all_that_descends_from_it(keep):
    kept = keep([PY, "-c", STUBBORN], stop_grace=0.3)
    kept.worker()
    pids = wait_for(lambda: len(p := pids_of(kept.home / "pids")) == 3 and p)
    kept.process.send_signal(signal.SIGTERM)
    assert kept.ended() == 137
    assert not any(alive(pid) for pid in pids)
    assert [ticks_of(pid) for pid in pids] == [None, None, None], "a zombie was left"


def test_a_second_interrupt_does_not_wait_for_the_grace(keep):
    kept = keep([PY, "-c", STUBBORN], stop_grace=300.0)
    kept.worker()
    pids = wait_for(lambda: len(p := pids_of(kept.home / "pids")) == 3 and p)
    kept.process.send_signal(signal.SIGINT)
    wait_for(lambda: kept.look().get("stopping"))
    kept.process.send_signal(signal.SIGINT)
    assert kept.ended() == 137
    assert not any(alive(pid) for pid in pids)


def test_a_stopped_process_can_be_stopped_for_good(keep):
    kept = keep(SLEEP)
    os.kill(kept.worker(), signal.SIGSTOP)
    kept.process.send_signal(signal.SIGTERM)
    assert kept.ended() == 143


def test_children_of_a_killed_worker_are_ended_before_the_next_generation_starts(keep):
    kept = keep([PY, "-c", FORKS], stop_grace=2.0)
    first = kept.worker()
    kept.agent()
    pids = wait_for(lambda: len(p := pids_of(kept.home / "pids")) == 3 and p)
    os.kill(first, signal.SIGKILL)
    kept.worker(2)
    assert not any(alive(pid) for pid in pids)
    assert sorted(wait_for(lambda: kept.told("exited"))[0]["leftover"]) == sorted(set(pids) - {first})


def test_a_program_that_daemonizes_is_followed_and_started_again_when_it_is_killed(keep):
    kept = keep([PY, "-c", DAEMONIZES])
    kept.worker()
    kept.agent()
    daemon = wait_for(lambda: pids_of(kept.home / "pids"))[0]
    told = wait_for(lambda: kept.told("exited"))[0]
    assert told["code"] == 0
    assert told["leftover"]
    assert kept.look()["slots"][0]["state"] == "running"
    os.kill(daemon, signal.SIGKILL)
    other = wait_for(lambda: len(p := pids_of(kept.home / "pids")) == 2 and p)[1]
    assert alive(other)
    kept.process.send_signal(signal.SIGTERM)
    kept.ended()
    assert not alive(other)


def test_the_program_is_unharmed_by_the_death_of_its_keeper(keep):
    script = "import time\nn = 0\nwhile True:\n    print('line', n, flush=True)\n    n += 1\n    time.sleep(0.01)"
    kept = keep([PY, "-c", script])
    worker, agent = kept.worker(), kept.agent()
    kept.process.kill()
    kept.process.wait()
    written = kept.home / "arena" / "out-0-1"
    before = written.stat().st_size
    wait_for(lambda: written.stat().st_size > before + 500)
    assert alive(worker)
    wait_for(lambda: not alive(agent), what="the end of an agent that has nothing else to do")
    os.kill(worker, signal.SIGKILL)


def test_the_agent_is_back_after_it_was_killed_and_the_program_is_unharmed(keep):
    kept = keep(SLEEP)
    worker, agent = kept.worker(), kept.agent()
    wait_for(lambda: kept.told("state"))
    os.kill(agent, signal.SIGKILL)
    other = kept.agent(other_than=agent)
    assert kept.worker() == worker
    wait_for(lambda: len(kept.told("state")) == 2)
    os.kill(worker, signal.SIGKILL)
    kept.worker(2)
    assert alive(other)


def test_a_death_while_the_agent_was_away_is_told_to_the_next_one(keep):
    kept = keep(SLEEP)
    worker, agent = kept.worker(), kept.agent()
    wait_for(lambda: kept.told("state"))
    os.kill(agent, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: kept.look()["slots"][0]["state"] == "down")
    os.kill(agent, signal.SIGKILL)
    kept.worker(2)
    state = kept.told("state")[1]
    assert [(death["pid"], death["signal"]) for death in state["exits"]] == [(worker, 9)]


def test_a_reload_that_was_asked_for_while_the_agent_was_away_is_told_to_the_next_one(keep):
    kept = keep(SLEEP)
    agent = kept.agent()
    wait_for(lambda: kept.told("state"))
    os.kill(agent, signal.SIGSTOP)  # it never hears of it
    kept.process.send_signal(signal.SIGHUP)
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: [one["what"] for one in kept.told("asked")] == ["reload"], what="the next agent is told")
    kept.worker(2)
    other = kept.agent(other_than=agent)
    os.kill(other, signal.SIGKILL)
    wait_for(lambda: len(kept.told("state")) == 3)
    assert len(kept.told("asked")) == 1, "what was done is not asked for again"


LATE = """
import json, os, socket, sys, time
place, keeper = sys.argv[1], socket.socket(fileno=int(os.environ["ROADWORTHY_KEEPER_FD"]))
if not os.path.exists(place + "/up"):  # the first: acts, hears nothing more, and is killed
    open(place + "/up", "w").close()
    while not os.path.exists(place + "/go"):
        time.sleep(0.005)
    keeper.send(json.dumps({"do": "stop", "slot": 9, "generation": 9, "signal": 15, "grace": 1}).encode())
    keeper.send(json.dumps({"do": "say", "text": "it was done"}).encode())
    open(place + "/sent", "w").close()
    time.sleep(600)
log = open(place + "/told.jsonl", "a")
while data := keeper.recv(65536):
    print(data.decode(), file=log, flush=True)
"""


def test_what_an_agent_did_just_before_a_reload_was_asked_for_is_no_answer_to_it(keep, tmp_path):
    kept = keep(SLEEP, argv=(PY, "-c", LATE, str(tmp_path / "k0")))
    agent = kept.agent()
    wait_for((kept.home / "up").exists)
    os.kill(kept.process.pid, signal.SIGSTOP)  # so that it finds both when it goes on
    (kept.home / "go").touch()
    wait_for((kept.home / "sent").exists)
    kept.process.send_signal(signal.SIGHUP)
    os.kill(kept.process.pid, signal.SIGCONT)
    wait_for(lambda: b"it was done" in kept.err.read_bytes())
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: [one["what"] for one in kept.told("asked")] == ["reload"], what="the next agent is told")


def test_an_agent_that_hangs_is_replaced_and_the_program_is_unharmed(keep):
    silent = (
        "import os, socket, time; keeper = socket.socket(fileno=int(os.environ['ROADWORTHY_KEEPER_FD']));"
        """ keeper.send(b'{"do": "alive"}'); time.sleep(600)"""
    )
    kept = keep(SLEEP, argv=(PY, "-c", silent), hurried=(("beside", "SILENT_MOST", 1.0),))
    agent = kept.agent()
    worker = kept.look()["slots"][0]["pid"]
    kept.agent(other_than=agent)
    assert not alive(agent)
    assert kept.look()["slots"][0]["pid"] == worker
    assert alive(worker)
    assert b"no sign of life" in kept.err.read_bytes()


def test_a_finished_program_without_a_working_agent_ends_and_says_so(keep, monkeypatch):
    hurried = (("main", "AGENT_AWAY_MOST", 2.0),)
    kept = keep(["sh", "-c", "exit 4"], argv=(PY, "-c", "raise SystemExit(1)"), hurried=hurried)
    assert kept.ended(30) == 4
    assert b"no agent" in kept.err.read_bytes()


def test_stdout_and_stderr_pass_through_unchanged(keep):
    data = bytes(range(256)) * 4000
    script = "import os\nd = bytes(range(256)) * 4000\nos.write(1, d)\nos.write(2, b'oops')\nos.write(1, b'no newline')"
    kept = keep([PY, "-c", script], agent=False)
    assert kept.ended() == 0
    assert kept.out.read_bytes() == data + b"no newline"
    assert kept.err.read_bytes() == b"oops"


def test_200_mb_without_a_newline_pass_through_a_pipe_whole_and_leave_little_on_disk(keep):
    script = "import os, time\nfor _ in range(3200): os.write(1, b'x' * 65536)\nopen('done', 'w')\ntime.sleep(600)"
    with subprocess.Popen(["wc", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as count:
        kept = keep([PY, "-c", script], agent=False, stdout=count.stdin)
        count.stdin.close()
        wait_for((kept.home / "done").exists, 60)
        file = kept.home / "arena" / "out-0-1"
        assert file.stat().st_size == 3200 * 65536
        wait_for(lambda: file.stat().st_blocks * 512 <= 4 << 20, what="the output to be given back")
        kept.process.send_signal(signal.SIGTERM)
        kept.ended()
        assert int(count.stdout.read()) == 3200 * 65536


def test_a_reader_that_does_not_read_holds_up_neither_the_program_nor_the_keeper(keep):
    read, write = os.pipe()
    script = "import os\nfor _ in range(400): os.write(1, b'x' * 65536)\nopen('done', 'w')"
    hurried = (("output", "STUCK_AFTER", 1.0), ("main", "FLUSH_MOST", 1.0))
    kept = keep(["sh", "-c", f'{PY} -c "$0"; sleep 600', script], agent=False, stdout=write, hurried=hurried)
    os.close(write)
    wait_for((kept.home / "done").exists)
    kept.process.send_signal(signal.SIGINT)
    wait_for(lambda: kept.look().get("stopping") or kept.process.poll() is not None)
    kept.process.send_signal(signal.SIGINT)
    kept.ended(15)
    os.close(read)


def test_a_reader_that_goes_away_does_not_harm_the_program(keep):
    read, write = os.pipe()
    script = "import time\nfor n in range(100):\n    print(n, flush=True)\n    time.sleep(0.005)"
    kept = keep([PY, "-c", script], agent=False, stdout=write)
    os.close(write)
    os.close(read)
    assert kept.ended() == 0


def test_a_program_that_closes_its_output_or_all_descriptors_runs_on(keep):
    script = "import os, time\nos.closerange(0, 1024)\nopen('closed', 'w')\ntime.sleep(0.3)\nos._exit(7)"
    kept = keep([PY, "-c", script], restart=RestartPolicy(mode="never"))
    assert kept.ended() == 7
    assert (kept.home / "closed").exists()


def test_a_shell_that_truncates_its_own_output_is_followed_on(keep, tmp_path):
    passed_on = f"until grep -q $1 {tmp_path}/k0/stdout; do sleep 0.02; done"  # what is not yet would be lost
    script = f"once() {{ {passed_on}; }}; echo one; once one; echo second > /dev/stdout; once second"
    kept = keep(["sh", "-c", f"{script}; echo x > /dev/stdout"], agent=False)
    assert kept.ended() == 0
    assert kept.out.read_bytes() == b"one\nsecond\nx\n"


def test_standard_input_reaches_the_program(keep):
    read, write = os.pipe()
    os.write(write, b"typed\n")
    os.close(write)
    kept = keep(["cat"], agent=False, stdin=read)
    os.close(read)
    assert kept.ended() == 0
    assert kept.out.read_bytes() == b"typed\n"


def test_a_terminal_is_relayed_to_a_program_in_its_own_group(tmp_path):
    import pty

    kept_home = tmp_path / "k"
    pid, terminal = pty.fork()
    if pid == 0:
        with Kept(kept_home, ["sh", "-c", "read line; echo got $line > answer"], agent=False, stdin=0) as kept:
            status = kept.ended()
        os._exit(status)
    os.write(terminal, b"hello\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (kept_home / "answer").read_text() == "got hello\n"
    os.close(terminal)


def test_workers_share_the_environment_of_the_brief_and_nothing_of_systemds(keep):
    kept = keep(
        ["sh", "-c", "env; exit 0"], agent=False, port=1234, env={"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": "1"}
    )
    assert kept.ended() == 0
    lines = kept.out.read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert env["ROADWORTHY_APP"] == "kept"
    assert (env["ROADWORTHY_SLOT"], env["ROADWORTHY_GENERATION"], env["PORT"]) == ("0", "1", "1234")
    assert env["ROADWORTHY_KEEPER_PID"] == str(kept.process.pid)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "ROADWORTHY_LISTEN", "ROADWORTHY_INJECT"} & env.keys()


def test_a_crash_loop_is_held(keep):
    rules = RestartPolicy(backoff_first=0.01, backoff_most=0.02, crash_loop_deaths=3, held_retry=600.0)
    kept = keep(["sh", "-c", "exit 1"], restart=rules)

    def deaths():  # one from before the agent was there is told to it with the state
        return [*kept.told("exited"), *(death for state in kept.told("state") for death in state["exits"])]

    wait_for(lambda: len({death["generation"] for death in deaths()}) == 3)
    kept.process.send_signal(signal.SIGTERM)
    assert kept.ended() == 1
    assert len(kept.told("started")) <= 3


def test_systemd_is_told_of_start_readiness_pings_and_stop(keep, tmp_path):
    import socket

    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        kept = keep(SLEEP, notify_socket=str(path), watchdog_usec=200_000)
        kept.worker()
        heard = ""
        while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
            heard += manager.recv(4096).decode() + "\n"
        kept.process.send_signal(signal.SIGTERM)
        kept.ended()
        manager.settimeout(1)
        while "STOPPING=1" not in heard:
            heard += manager.recv(4096).decode() + "\n"


def test_restarts_leave_no_descriptor_open_in_the_keeper(keep):
    kept = keep(SLEEP, restart=RestartPolicy(backoff_first=0.01, backoff_most=0.01, crash_loop_deaths=100))

    def kill(generation):
        os.kill(kept.worker(generation), signal.SIGKILL)
        kept.worker(generation + 1)
        return len(list(Path(f"/proc/{kept.process.pid}/fd").iterdir()))

    kept.agent()
    few = [kill(generation) for generation in range(1, 4)][-1]
    assert [kill(generation) for generation in range(4, 10)][-1] <= few + 1


def test_the_keeper_is_small(keep):
    kept = keep(SLEEP)
    kept.worker()
    kept.agent()
    status = Path(f"/proc/{kept.process.pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert rss < 12 * 1024
    assert Path(f"/proc/{kept.process.pid}/comm").read_text() == "rw-keeper\n"


def test_idle_keeping_costs_next_to_nothing(keep):
    kept = keep(SLEEP)
    kept.worker()
    kept.agent()
    wait_for(lambda: kept.told("state"))

    def used():
        fields = Path(f"/proc/{kept.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    subprocess.run(["sleep", "2"], check=True)
    assert used() - before < 0.1
