"""``status``, ``top`` and ``export`` against a real server on loopback, and against nothing but arenas."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import jsonschema
import pytest
from click.testing import CliRunner

from roadworthy import _clock
from roadworthy.agent.server import Server, new_token
from roadworthy.arena.identity import boot_id, start_ticks
from roadworthy.arena.writer import Arena
from roadworthy.cli.export import export
from roadworthy.cli.status import status
from roadworthy.cli.top import top
from roadworthy.config.places import make, places
from roadworthy.errors import NotRunning, Refused, Temporary, Unavailable, UsageError
from roadworthy.types import Status, Verdict
from roadworthy.view import client, offline
from roadworthy.view.snapshot import from_json, schema
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import quiet, troubled
from unit.view.sources import Past, Source


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


class Running:
    """An agent's server in a thread, described in ``agent.json`` as the agent does."""

    def __init__(self, app, source):
        self.place = make(places(app))
        token = new_token(self.place.run / "token")
        self.server = Server(routes(source, Past()), token=token, port=0, public=PUBLIC)
        self.server.bind()
        described = {
            "pid": os.getpid(),
            "start_ticks": start_ticks(),
            "host": "127.0.0.1",
            "port": self.server.port,
            "url": self.server.url,
            "token_file": str(self.place.run / "token"),
            "version": "0",
        }
        self.describe(**described)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))
        self.thread.start()

    def describe(self, **described):
        (self.place.run / "agent.json").write_text(json.dumps(described))

    def stop(self):
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def now(snapshot):
    return replace(snapshot, at=_clock.wall(), mono_ns=_clock.monotonic_ns())


@pytest.fixture
def run(home):
    begun = []

    def start(snapshot, app="shop"):
        running = Running(app, Source(snapshot))
        begun.append(running)
        return running

    yield start
    for running in begun:
        running.stop()


def ask(command, *arguments, **options):
    result = CliRunner().invoke(command, arguments, standalone_mode=False, **options)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.output


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Status.OK, 0), (Status.DEGRADED, 0), (Status.UNHEALTHY, 7), (Status.UNKNOWN, 7), (Status.RECOVERING, 7)],
)
def test_the_exit_code_tells_the_verdict(run, verdict, code):
    run(now(quiet(verdict=Verdict(verdict, "because", 1.0, ready=True))))
    returned, output = ask(status)
    assert returned == code
    assert verdict.value.upper() in output


def test_status_shows_the_running_program_without_colours_in_a_pipe(run):
    run(now(troubled()))
    returned, output = ask(status, "shop", "--signals", "--self")
    assert returned == 7
    for part in (
        "worker 1 dies again and again",
        "checkout",
        "connection refused",
        "ValueError",
        "declared, never came",
        "internal errors",
    ):
        assert part in output
    assert "\x1b" not in output


def test_status_as_json_is_the_documented_schema(run):
    snapshot = now(troubled())
    run(snapshot)
    returned, output = ask(status, "--json")
    assert returned == 7
    jsonschema.Draft202012Validator(schema()).validate(json.loads(output))
    assert from_json(json.loads(output)) == snapshot


def test_figures_that_are_old_are_no_success(run):
    run(replace(now(quiet()), at=_clock.wall() - 60))
    returned, output = ask(status)
    assert returned == 7
    assert "UNKNOWN" in output
    assert "old" in output


def test_top_in_a_pipe_prints_one_screen(run):
    run(now(troubled()))
    returned, output = ask(top)
    assert returned == 7
    assert "checkout" in output
    assert "q quit" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(("form", "ending"), [("json", ".json"), ("prometheus", ".prom")])
def test_export_writes_a_file_and_names_it(run, tmp_path, form, ending):
    run(now(troubled()))
    returned, output = ask(export, "--format", form, "--path", str(tmp_path / "out"))
    assert returned == 0
    (written,) = (tmp_path / "out").iterdir()
    assert output == f"{written}\n"
    assert written.name.startswith("metrics_")
    assert written.suffix == ending


def test_export_can_print(run):
    run(now(troubled()))
    assert "orders_total" in ask(export, "--path", "-", "--format", "prometheus")[1]


def test_an_export_prefix_cannot_lead_elsewhere(run):
    run(now(quiet()))
    with pytest.raises(UsageError):
        ask(export, "--prefix", "../x")


@pytest.mark.parametrize("command", [status, top, export])
def test_nothing_running_is_one_clear_error(home, command):
    for arguments in ((), ("shop",)):
        with pytest.raises(NotRunning) as caught:
            ask(command, *arguments)
        assert "roadworthy run" in caught.value.hint
        assert caught.value.exit_code == 4


def test_several_running_applications_must_be_named_and_dead_ones_do_not_count(run):
    dead = make(places("aaa"))
    (dead.run / "keeper.json").write_text(json.dumps({"pid": os.getpid(), "start_ticks": 1, "boot_id": boot_id()}))
    (dead.arena / f"{boot_id()[:8]}-{os.getpid()}-1-0.arena").write_bytes(b"")
    with pytest.raises(NotRunning):
        ask(status, "aaa")
    run(now(quiet()))
    assert ask(status)[0] == 0
    run(now(quiet()), "other")
    with pytest.raises(UsageError, match="which application"):
        ask(status)
    assert ask(status, "other")[0] == 0


def test_before_the_first_measurement_the_agent_says_so(run):
    run(None)
    with pytest.raises(Temporary):
        ask(status)


def test_a_wrong_token_is_a_refusal(run):
    running = run(now(quiet()))
    (running.place.run / "token").write_text("x" * 43)
    with pytest.raises(Refused):
        ask(status)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80", "https://127.0.0.1:1", "file:///etc/passwd", "http://evil.example:80", ""]
)
def test_the_token_is_sent_to_this_machine_only(run, url):
    running = run(now(quiet()))
    described = json.loads((running.place.run / "agent.json").read_text())
    running.describe(**{**described, "url": url})
    with pytest.raises(Refused):
        ask(status)


def test_an_agent_that_does_not_answer_is_one_clear_error(run):
    running = run(now(quiet()))
    running.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        ask(status)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_broken_agent_file_is_one_clear_error(run, content):
    running = run(now(quiet()))
    (running.place.run / "agent.json").write_text(content)
    with pytest.raises(Unavailable, match=r"agent\.json"):
        ask(status, "shop")


def test_an_agent_file_of_a_dead_process_is_no_agent(run):
    running = run(now(quiet()))
    described = json.loads((running.place.run / "agent.json").read_text())
    running.describe(**{**described, "start_ticks": 1})
    assert client.connect(running.place) is None


@pytest.fixture
def arena(home):
    place = make(places("shop"))
    made = Arena.create(place.arena, "shop", slot=0, generation=2)
    made.counter("orders", (("country", "de"),)).add(7)
    made.histogram("operation.duration", (("operation", "checkout"), ("outcome", "success")), "s", scale=1e9).record(
        4_000_000
    )
    made.histogram("operation.duration", (("operation", "checkout"), ("outcome", "failure")), "s", scale=1e9).record(
        8_000_000
    )
    made.beat("mailer", "heartbeat")
    yield place
    made.close()


def test_without_an_agent_the_arenas_tell_what_they_can_and_nobody_judges(arena):
    seen = offline.snapshot(arena)
    assert seen.verdict.status is Status.UNKNOWN
    assert "no agent" in seen.verdict.reason
    assert [(one.slot, one.pid, one.restarts) for one in seen.workers] == [(0, os.getpid(), 1)]
    assert seen.workers[0].resources.cpu_percent is None
    assert {(one.name, one.value) for one in seen.series if one.value is not None} >= {("orders", 7.0)}
    (checkout,) = seen.operations
    assert (checkout.count, checkout.failures, checkout.rate) == (2, 1, None)
    assert checkout.p99 == pytest.approx(0.008, rel=0.0625)
    assert [(beat.name, beat.age) for beat in seen.beats] == [("mailer", None)]


def test_status_without_an_agent_says_so_and_is_no_success(arena):
    returned, output = ask(status)
    assert returned == 7
    assert "no agent runs for shop" in output
    assert "checkout" in output


def test_without_keeper_agent_and_arena_a_living_worker_is_still_shown(home):
    place = make(places("shop"))
    row = {
        "slot": 0, "generation": 3, "pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "started_ns": 1,
        "state": "running",
    }  # fmt: skip
    gone = {**row, "slot": 1, "start_ticks": 1}
    index = {"boot_id": boot_id(), "pid": os.getpid(), "start_ticks": 1, "slots": [row, gone]}
    (place.run / "keeper.json").write_text(json.dumps(index))
    seen = offline.snapshot(place)
    assert [(one.slot, one.pid, one.restarts) for one in seen.workers] == [(0, os.getpid(), 2)]
    assert (seen.verdict.live, seen.verdict.ready) == (True, False)
    (place.run / "keeper.json").write_text(json.dumps({**index, "slots": [gone]}))
    with pytest.raises(NotRunning, match="no application 'shop' is running"):
        offline.snapshot(place)


def test_a_broken_arena_is_told_and_the_others_are_read(arena):
    (arena.arena / "00000000-1-1-0.arena").write_bytes(b"RWARENA1" + b"\1" * 5000)
    seen = offline.snapshot(arena)
    assert [finding.subject for finding in seen.verdict.findings] == ["arena"]
    assert seen.operations


def test_a_fast_verb_imports_no_server():
    program = (
        "import roadworthy.cli.status, roadworthy.cli.top, sys; print([m for m in sys.modules if m in sys.argv[1:]])"
    )
    heavy = ["starlette", "uvicorn", "psutil"]
    done = subprocess.run(
        [sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
