"""``roadworthy policy``, ``service`` and ``feature`` against a real server with real acts on loopback."""

import asyncio
import json
import os
import threading
from dataclasses import replace

import pytest
from click.testing import CliRunner

from roadworthy import _clock
from roadworthy.agent.acts import Acts
from roadworthy.agent.resilience import Declaration, Resilience
from roadworthy.agent.server import Server, new_token
from roadworthy.agent.switches import Switches
from roadworthy.arena.identity import start_ticks
from roadworthy.cli.feature import feature
from roadworthy.cli.policy import policy
from roadworthy.cli.service import service
from roadworthy.config.places import make, places
from roadworthy.errors import (
    EXIT_TEMPORARY,
    EXIT_UNAVAILABLE,
    EXIT_UNHEALTHY,
    EXIT_USAGE,
    NotFound,
    NotRunning,
    Temporary,
    Unavailable,
    UsageError,
)
from roadworthy.types import ServiceCondition, ServiceSummary
from roadworthy.view.terminal import resilience
from roadworthy.view.terminal.text import Style
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import guarded
from unit.view.sources import Past, Source


class Program:
    """A program's agent: what it declares is fixed, recovery answers what the test says."""

    def __init__(self, app="shop"):
        self.place = make(places(app))
        self.recovers = True
        self.audited = []
        self.switches = Switches(self.place.state)
        picture = Resilience(self.switches, self)
        picture.look(0)
        acts = Acts(
            picture,
            self.switches,
            self,
            request=lambda _what, _slot: True,
            slots=lambda: range(4),
            audit=lambda record: self.audited.append(record) or True,
            note=lambda _text, _level: None,
        )
        snapshot = replace(guarded(), at=_clock.wall(), mono_ns=_clock.monotonic_ns())
        token = new_token(self.place.run / "token")
        self.server = Server(
            routes(Source(snapshot), Past(), controls=acts.table()), token=token, port=0, public=PUBLIC
        )
        self.server.bind()
        told = {"pid": os.getpid(), "start_ticks": start_ticks(), "url": self.server.url}
        (self.place.run / "agent.json").write_text(json.dumps(told))
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))
        self.thread.start()

    def declared(self, kind):
        told = {
            "policies": [{"name": "db", "breaker": {"state": "closed"}}, {"name": "cache"}],
            "services": [{"name": "a b/c?", "recover": True}, {"name": "database", "recover": True}, {"name": "mail"}],
            "features": [{"name": "reports", "off": False}],
        }
        return [Declaration(7, 0, one) for one in told[kind]]

    async def recover(self, _pid, _name, _timeout):
        return {"ok": self.recovers, "detail": "as told", "took": 0.0}

    def stop(self):
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    found = Program()
    yield found
    found.stop()


def ask(command, *arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.output


@pytest.mark.parametrize(
    ("command", "key", "first"),
    [(policy, "policies", "db"), (service, "services", "reports"), (feature, "features", "export")],
)
def test_a_list_is_a_table_or_the_snapshot_s_own_objects(program, command, key, first):
    for arguments in ((), ("list",), ("--app", "shop", "list"), ("list", "--app", "shop")):
        code, output = ask(command, *arguments)
        assert (code, output.split("\n")[1].split()[0]) == (0, first)
    for arguments in (("--json",), ("list", "--json"), ("--json", "list")):
        _, output = ask(command, *arguments)
        assert {one["name"] for one in json.loads(output)[key]} == {one.name for one in getattr(guarded(), key)}


@pytest.mark.parametrize(
    ("command", "arguments", "kind", "name", "act"),
    [
        (policy, ("force", "db", "forced_open", "--for", "5m", "--reason", "maintenance"), "policies", "db", "force"),
        (feature, ("off", "reports", "--for", "5m", "--reason", "maintenance"), "features", "reports", "off"),
        (service, ("degrade", "mail", "--for", "5m", "--reason", "maintenance"), "services", "mail", "degrade"),
    ],
)
def test_what_is_held_is_held_with_its_reason_and_time_and_who_asked_is_in_the_trail(
    program, command, arguments, kind, name, act
):
    code, output = ask(command, *arguments)
    assert code == 0
    assert output.startswith(f"{act} {name}: held, ")
    held = program.switches.held(kind)[name]
    assert (held.reason, round(held.until - held.at)) == ("maintenance", 300)
    assert program.audited[0]["actor"].startswith("command line, ")


@pytest.mark.parametrize(
    ("command", "arguments", "act"),
    [(policy, ("reset", "db"), "reset"), (feature, ("on", "reports"), "on"), (service, ("restore", "mail"), "restore")],
)
def test_each_has_its_undo(program, command, arguments, act):
    code, output = ask(command, *arguments, "--json")
    assert (code, json.loads(output)["act"], json.loads(output)["outcome"]) == (0, act, "released")


def test_a_recovery_tells_by_its_exit_code_whether_it_helped(program):
    assert ask(service, "recover", "database")[0] == 0
    program.recovers = False
    assert ask(service, "recover", "a b/c?")[0] == EXIT_UNHEALTHY
    assert [one["target"] for one in program.audited] == ["database", "a b/c?"]


def test_what_a_recovery_said_is_printed_once(program, monkeypatch):
    async def recover(_pid, _name, _timeout):
        return {"ok": True, "detail": "recovered: the next real call succeeded", "took": 0.01}

    monkeypatch.setattr(program, "recover", recover)
    assert ask(service, "recover", "database")[1] == "recover database: recovered, the next real call succeeded\n"


def test_the_last_error_of_a_service_that_works_again_explains_nothing():
    works = ServiceSummary("database", ServiceCondition.UP, last_error="ConnectionResetError: gone")
    down = replace(works, state=ServiceCondition.DOWN)
    shown = ["\n".join(resilience.services([one], Style(), _clock.wall())) for one in (works, down)]
    assert ["gone" in one for one in shown] == [False, True]


def test_a_restart_has_begun(program):
    code, output = ask(service, "restart", "worker-0")
    assert (code, output) == (0, "restart worker-0: begun, the worker is stopped and started\n")


@pytest.mark.parametrize(
    ("command", "arguments", "error", "code", "named"),
    [
        (policy, ("force", "nope", "disabled"), NotFound, EXIT_USAGE, "nope"),
        (policy, ("force", "db", "wide_open"), UsageError, EXIT_USAGE, "'state'"),
        (policy, ("force", "cache", "disabled"), UsageError, EXIT_USAGE, "cache"),
        (policy, ("force", "db", "disabled", "--for", "soon"), UsageError, EXIT_USAGE, "--for"),
        (policy, ("force", "db", "disabled", "--for", "0"), UsageError, EXIT_USAGE, "'for'"),
        (policy, ("reset", "nope"), NotFound, EXIT_USAGE, "nope"),
        (feature, ("off", "nope"), NotFound, EXIT_USAGE, "nope"),
        (feature, ("off", "reports", "--reason", "x" * 300), UsageError, EXIT_USAGE, "'reason'"),
        (feature, ("on", "nope"), NotFound, EXIT_USAGE, "nope"),
        (service, ("recover", "nope"), NotFound, EXIT_USAGE, "nope"),
        (service, ("recover", "mail"), Unavailable, EXIT_UNAVAILABLE, "mail"),
        (service, ("restart", "nope"), NotFound, EXIT_USAGE, "nope"),
        (service, ("degrade", "nope"), NotFound, EXIT_USAGE, "nope"),
        (service, ("restore", "nope"), NotFound, EXIT_USAGE, "nope"),
        (policy, ("list", "--app", "other"), NotRunning, EXIT_UNAVAILABLE, "other"),
    ],
)
def test_what_is_wrong_is_one_error_that_names_it_with_its_exit_code(program, command, arguments, error, code, named):
    before = program.switches.book
    with pytest.raises(error) as raised:
        ask(command, *arguments)
    assert raised.value.exit_code == code
    assert named in raised.value.what
    assert program.switches.book is before
    assert program.audited == []


def test_a_second_recovery_at_once_may_be_tried_later(program):
    ask(service, "recover", "database")
    with pytest.raises(Temporary) as raised:
        ask(service, "recover", "database")
    assert raised.value.exit_code == EXIT_TEMPORARY
    assert raised.value.hint.startswith("Ask again in ")


def test_without_an_agent_there_is_nobody_to_tell_it(program):
    (program.place.run / "agent.json").unlink()
    (program.place.run / "keeper.json").write_text(json.dumps({"pid": os.getpid(), "start_ticks": start_ticks()}))
    for command in (policy, service, feature):
        with pytest.raises(NotRunning, match="no agent of shop"):
            ask(command)
    with pytest.raises(NotRunning, match="no agent of shop"):
        ask(policy, "reset", "db")


def test_of_several_applications_one_is_named(program):
    other = make(places("other"))
    (other.run / "keeper.json").write_text(json.dumps({"pid": os.getpid(), "start_ticks": start_ticks()}))
    with pytest.raises(UsageError) as raised:
        ask(policy)
    assert raised.value.hint == "Name one, for example: --app other"
    assert ask(policy, "--app", "shop")[0] == 0
