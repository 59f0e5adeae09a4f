"""``roadworthy logs``: where it reads, how far back, and that it follows a file that moves on."""

import json
import re
from itertools import count
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from roadworthy import _clock
from roadworthy.cli import logs
from roadworthy.config.places import Places
from roadworthy.errors import NotFound, NotRunning, UsageError
from roadworthy.log import line
from roadworthy.view.logs import Wanted

NOW = 1_767_225_600


def entry(number, level="INFO", at=None, **more):
    stamp = f"{line.stamp((NOW + number if at is None else at) * 10**9)}Z"
    return json.dumps({"@timestamp": stamp, "severity": level, "logger": "app", "message": f"m{number}", **more})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a folder that is the working directory and holds everything; nothing runs there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOG_DIR", raising=False)
    monkeypatch.setattr(_clock, "wall", lambda: NOW + 100.0)
    return tmp_path


def fill(folder, name="web.log", numbers=range(3), **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{entry(number, **more)}\n" for number in numbers))


def run(*arguments):
    done = CliRunner().invoke(logs.logs, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def told(output):
    return re.findall(r"\bm\d+\b", output)


@pytest.mark.parametrize("place", ["state", "logs", "LOG_DIR", "--dir"])
def test_the_file_is_found_where_programs_write_it(home, monkeypatch, place):
    folder = {"state": home / "home" / "state" / "web" / "logs", "logs": home / "logs"}.get(place, home / "elsewhere")
    fill(folder)
    if place == "LOG_DIR":
        monkeypatch.setenv("LOG_DIR", str(folder))
    options = ["--dir", str(folder)] if place == "--dir" else []
    assert told(run("web", *options)) == ["m0", "m1", "m2"]


def test_without_a_name_the_only_log_is_meant(home):
    fill(home / "logs")
    fill(home / "logs", "web-errors.log", [7])
    assert told(run()) == ["m0", "m1", "m2"]
    assert told(run("--part", "errors")) == ["m7"]
    assert told(run("--dir", "logs")) == ["m0", "m1", "m2"]
    fill(home / "logs", "other.log")
    with pytest.raises(NotRunning):
        run()
    with pytest.raises(NotFound, match="which log"):
        run("--dir", "logs")


@pytest.mark.parametrize("arguments", [("web",), ("web", "--dir", "nowhere"), ("--dir", "nowhere")])
def test_where_there_is_nothing_that_is_said(home, arguments):
    with pytest.raises((NotRunning, NotFound)):
        run(*arguments)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), [f"m{number}" for number in range(250, 300)]),
        (("-n", "2"), ["m298", "m299"]),
        (("--since", "202"), [f"m{number}" for number in range(298, 300)]),
        (("--since", "202", "-n", "1"), ["m299"]),
        (("--grep", "m7[01]"), ["m70", "m71"]),
        (("--level", "error"), []),
        (("--correlation", "req-1"), ["m5"]),
    ],
)
def test_the_newest_that_are_wanted_are_shown_also_out_of_moved_files(home, monkeypatch, options, shown):
    monkeypatch.setattr(_clock, "wall", lambda: NOW + 500.0)
    monkeypatch.setattr(logs, "BLOCK", 100)
    folder = home / "logs"
    fill(folder, "web.log.20260101T000000.0000", range(100))
    fill(folder, "web.log.20260101T000001.0000", range(100, 200))
    fill(folder, "web.log", range(200, 300))
    text = (folder / "web.log.20260101T000000.0000").read_text()
    (folder / "web.log.20260101T000000.0000").write_text(text.replace('"m5"}', '"m5", "correlation_id": "req-1"}'))
    assert told(run("web", *options)) == shown


def test_json_is_one_object_a_line(home):
    fill(home / "logs")
    assert [json.loads(one)["message"] for one in run("web", "--json").splitlines()] == ["m0", "m1", "m2"]


def test_a_wrong_expression_is_said(home):
    fill(home / "logs")
    with pytest.raises(UsageError, match="no regular expression"):
        run("web", "--grep", "[")


def test_a_followed_file_is_followed_when_it_moves_on_and_when_it_is_emptied(home, request):
    folder = home / "logs"
    fill(folder, numbers=[1])
    file = folder / "web.log"
    one = logs.Followed(file)
    request.addfinalizer(one.close)
    assert one.news() == []
    with file.open("a") as open_:
        open_.write(entry(2) + "\n" + entry(3)[:10])
    assert told("".join(one.news())) == ["m2"]
    with file.open("a") as open_:
        open_.write(entry(3)[10:] + "\n")
    file.rename(folder / "web.log.20260101T000000.0000")
    fill(folder, numbers=[4])
    file.rename(folder / "web.log.20260101T000001.0000")
    fill(folder, numbers=[5])
    assert told("".join(one.news())) == ["m3", "m4", "m5"]
    file.write_text("")
    one.news()
    file.write_text(entry(6) + "\n")
    assert told("".join(one.news())) == ["m6"]


def test_a_file_that_does_not_exist_yet_is_followed_from_its_beginning(home, request):
    (home / "logs").mkdir()
    one = logs.Followed(home / "logs" / "web.log")
    request.addfinalizer(one.close)
    assert one.news() == []
    fill(home / "logs", numbers=[1])
    assert told("".join(one.news())) == ["m1"]


class Interrupted(Exception):
    pass


def test_following_shows_what_is_wanted_until_it_is_interrupted(home, monkeypatch):
    fill(home / "logs", numbers=[1])
    number = count(2)

    def sleep(_seconds):
        if (here := next(number)) > 4:
            raise Interrupted
        with (home / "logs" / "web.log").open("a") as file:
            file.write(entry(here, level="ERROR" if here % 2 else "INFO") + "\n")

    # Only for the command: the thread of our own runtime, which may be in this process, sleeps too.
    monkeypatch.setattr(logs, "_clock", SimpleNamespace(wall=_clock.wall, sleep=sleep))
    shown = []
    monkeypatch.setattr(logs, "_people", shown.extend)
    with pytest.raises(Interrupted):
        run("web", "-f", "--level", "error")
    assert [one.text for one in shown] == ["m3"]


def events(*numbers):
    return [
        {"kind": "log", "at": NOW + n, "level": "info", "source": "app", "text": f"m{n}", "pid": 7} for n in numbers
    ]


def test_without_files_the_agent_is_asked(home, monkeypatch):
    class Agent:
        def events(self):
            yield events(2, 1)
            yield events(3)

    place = Places("web", home / "a", home / "r", home / "s")
    monkeypatch.setattr(logs, "connect", lambda app: Agent())
    monkeypatch.setattr(logs, "lives", lambda app: True)
    assert told(run("web")) == ["m1", "m2"]
    assert told(run("web", "-f")) == ["m1", "m2", "m3"]
    with pytest.raises(NotFound, match="writes no security log"):
        run("web", "--part", "security")
    monkeypatch.setattr(logs, "connect", lambda app: None)
    with pytest.raises(UsageError, match="no agent"):
        logs._from_agent(place, Wanted(), 0, shown := [].extend, follow=True)
    assert shown is not None
