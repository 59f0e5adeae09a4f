"""``roadworthy debug``: what it asks the agent for, and what it refuses itself."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from roadworthy.cli import debug
from roadworthy.config.places import places
from roadworthy.errors import Unavailable, UsageError


@pytest.fixture
def asked(tmp_path, monkeypatch):
    made = []

    def ask(socket, message):
        made.append((socket.name, message))
        return answer

    answer = {"ok": True, "what": "it is set"}
    place = places("web", {"ROADWORTHY_HOME": str(tmp_path)})
    monkeypatch.setattr(debug, "find", lambda name: SimpleNamespace(places=place))
    monkeypatch.setattr(debug, "ask", ask)
    made.append(answer)
    return made


def run(*arguments):
    done = CliRunner().invoke(debug.debug, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_logger_is_set_for_ten_minutes_unless_told_otherwise(asked):
    assert run("web", "--logger", "pkg") == "it is set\n"
    run("--for", "90s", "--level", "INFO")
    assert asked[1:] == [
        ("agent.sock", {"do": "log-level", "logger": "pkg", "level": "debug", "seconds": 600.0}),
        ("agent.sock", {"do": "log-level", "logger": "", "level": "info", "seconds": 90.0}),
    ]


@pytest.mark.parametrize("lasting", ["0", "10ms", "soon"])
def test_a_time_that_is_none_is_refused(asked, lasting):
    with pytest.raises(UsageError):
        run("--for", lasting)
    assert len(asked) == 1


def test_what_the_agent_refuses_is_said(asked):
    asked[0].update(ok=False, what="no", why="because", hint="do")
    with pytest.raises(Unavailable, match="no"):
        run()
