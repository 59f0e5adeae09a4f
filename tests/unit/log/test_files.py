"""Files: what is due, what goes, and that no line is lost on the way."""

import json
import os
import threading
from pathlib import Path

import pytest

from roadworthy import log
from roadworthy.config.detect import facts
from roadworthy.config.detect.reader import Reader
from roadworthy.errors import ConfigurationError
from roadworthy.log import files, hook, setup, sink
from roadworthy.log.files import RotatingFile, Rules
from support.crash_points import crash_points

NS = 10**9
T0 = 1_767_225_600
DAY = 86_400.0


def told(what):
    return f"told: {what}\n".encode()


def lines(folder, name="app.log"):
    """Return all lines, the rotated files' first."""
    found = [path for path, _ in files.rotated(str(folder / name))]
    if (folder / name).exists():
        found.append(str(folder / name))
    return [line for path in found for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("rules", "size", "first", "now", "due"),
    [
        (Rules(size=100), 99, T0, T0, False),
        (Rules(size=100), 100, T0, T0, True),
        (Rules(size=0), 10**12, T0, T0 + 10**9, False),
        (Rules(every=DAY), 1, T0, T0 + DAY - 1, False),
        (Rules(every=DAY), 1, T0 + DAY - 1, T0 + DAY, True),
        (Rules(every=DAY), 0, T0, T0 + 3 * DAY, False),
    ],
)
def test_a_file_is_due_by_size_or_when_its_period_is_over(rules, size, first, now, due):
    assert rules.due(size, first, now) is due


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (Rules(keep=2), ["a"]),
        (Rules(keep=0), []),
        (Rules(keep=0, max_age=25), ["a"]),
        (Rules(keep=1, max_age=15), ["a", "b"]),
        (Rules(keep=1, max_age=0), ["a", "b"]),
    ],
)
def test_old_files_go_by_number_and_age(rules, gone):
    assert rules.surplus([("a", T0), ("b", T0 + 10), ("c", T0 + 20)], T0 + 30) == gone


def test_a_file_that_was_written_a_moment_ago_stays_for_somebody_may_not_have_looked():
    assert Rules(keep=1).surplus([("a", T0), ("b", T0)], T0 + 1) == []


def test_lines_go_on_in_a_new_file_when_the_old_one_is_full(tmp_path):
    one = RotatingFile(str(tmp_path), "app.log", told, Rules(size=100, keep=0))
    for number in range(40):
        one.write(f"{number:09d}\n".encode(), (T0 + number) * NS)
    assert lines(tmp_path) == [f"{number:09d}" for number in range(40)]
    assert len(files.rotated(one.name)) >= 3
    assert all(Path(path).stat().st_size <= 120 for path, _ in files.rotated(one.name))
    one.close()


def test_the_first_line_of_a_new_period_begins_a_new_file(tmp_path):
    one = RotatingFile(str(tmp_path), "app.log", told, Rules(every=DAY))
    one.write(b"monday\n", (T0 + 10) * NS)
    os.utime(tmp_path / "app.log", (T0 + 10, T0 + 10))
    one.write(b"monday, late\n", (T0 + int(DAY) - 1) * NS)
    one.write(b"tuesday\n", (T0 + int(DAY)) * NS)
    one.close()
    ((old, _),) = files.rotated(str(tmp_path / "app.log"))
    assert Path(old).read_text(encoding="utf-8") == "monday\nmonday, late\n"
    assert (tmp_path / "app.log").read_text() == "tuesday\n"
    os.utime(tmp_path / "app.log", (T0, T0))
    another = RotatingFile(str(tmp_path), "app.log", told, Rules(every=DAY))
    another.write(b"wednesday\n", (T0 + 2 * int(DAY)) * NS)
    another.close()
    assert len(files.rotated(str(tmp_path / "app.log"))) == 2


@pytest.mark.parametrize("what", ["moved", "removed", "closed", "replaced", "looking"])
def test_a_file_that_somebody_takes_away_is_opened_anew(tmp_path, what):
    one = RotatingFile(str(tmp_path), "app.log", told, Rules())
    one.write(b"one\n", T0 * NS)
    if what == "looking":
        os.close(one.descriptor)
        one._looking.acquire()
    elif what == "moved":
        (tmp_path / "app.log").rename(tmp_path / "old")
    elif what == "removed":
        (tmp_path / "app.log").unlink()
    else:
        os.close(one.descriptor)
    if what == "replaced":
        other = os.open(tmp_path / "database", os.O_WRONLY | os.O_CREAT)
        os.dup2(other, one.descriptor)
    one.write(b"two\n", (T0 + 1) * NS)
    assert (tmp_path / "app.log").read_text().endswith("two\n")
    if what == "replaced":
        assert (tmp_path / "database").read_bytes() == b""
    one.after_fork()
    one.close()


def test_a_directory_that_cannot_be_made_costs_the_lines_and_is_told(tmp_path, monkeypatch):
    said = []
    for module in (sink, files):
        monkeypatch.setattr(module, "complain", said.append)
    (tmp_path / "file").write_text("")
    one = RotatingFile(str(tmp_path / "file" / "logs"), "app.log", told, Rules())
    one.open_now()
    one.write(b"one\n", T0 * NS)
    one.write(b"two\n", T0 * NS)
    assert one.lost == 2
    assert "Not a directory" in said[0]
    (tmp_path / "file").unlink()
    one.write(b"three\n", (T0 + 1) * NS)
    assert (tmp_path / "file" / "logs" / "app.log").read_text().splitlines() == [
        f"told: 2 log lines could not be written to {one.name}: Not a directory",
        "three",
    ]
    one.close()


def test_a_line_that_somebody_was_killed_in_is_ended_before_the_next(tmp_path):
    (tmp_path / "app.log").write_bytes(b"whole\nhal")
    one = RotatingFile(str(tmp_path), "app.log", told, Rules())
    one.write(b"next\n", T0 * NS)
    one.close()
    assert (tmp_path / "app.log").read_text() == "whole\nhal\nnext\n"


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "complain", lambda what: None)
    (tmp_path / "app.log").symlink_to(tmp_path / "elsewhere")
    one = RotatingFile(str(tmp_path), "app.log", told, Rules())
    one.write(b"one\n", T0 * NS)
    assert one.lost == 1
    assert not (tmp_path / "elsewhere").exists()


def test_threads_that_write_while_the_file_moves_on_lose_nothing(tmp_path):
    one = RotatingFile(str(tmp_path), "app.log", told, Rules(size=2000, keep=0))

    def work(number):
        for count in range(400):
            one.write(f"{number}-{count}-xxxxxxxxxxxxxxxxxxxx\n".encode(), (T0 + count) * NS)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.close()
    found = [line for line in lines(tmp_path) if line]  # an empty one where a line seemed to be cut off
    assert len(found) == len(set(found)) == 1600
    assert one.lost == 0


def test_a_process_that_is_killed_anywhere_in_a_rotation_leaves_all_lines_readable(tmp_path):
    before = [f"{number:09d}" for number in range(10)]

    def prepare(folder):
        (folder / "app.log").write_text("\n".join(before) + "\n")

    def change(folder):
        one = RotatingFile(str(folder), "app.log", told, Rules(size=100, keep=3))
        one.write(b"first\n", T0 * NS)
        one.write(b"second\n", (T0 + 1) * NS)

    states = set()
    for crash in crash_points(change, tmp_path, prepare):
        found = [line for line in lines(crash.folder) if line != "fi"[: len(line)] and line not in {"fir", "sec"}]
        assert found[:10] == before, crash
        assert found[10:] in ([], ["first"], ["first", "second"]), crash
        if crash.finished:
            assert found[10:] == ["first", "second"]
        states.add(len(found))
        after = RotatingFile(str(crash.folder), "app.log", told, Rules(size=100, keep=3))
        after.write(b"after\n", (T0 + 60) * NS)
        after.close()
        assert lines(crash.folder)[-1] == "after", "and the next process goes on"
        assert lines(crash.folder)[:10] == before
    assert states == {10, 11, 12}


def test_the_names_of_one_second_sort_in_order(tmp_path):
    name = str(tmp_path / "app.log")
    made = []
    for _ in range(3):
        made.append(files.free_name(name, T0))
        Path(made[-1]).touch()
    assert made == sorted(made)
    assert [path for path, _ in files.rotated(name)] == made
    (tmp_path / "app.log.bak").touch()
    (tmp_path / "app.log.20260101T0000").touch()
    assert [path for path, _ in files.rotated(name)] == made


# -- configure


def test_three_files_take_everything_errors_and_security(clean, tmp_path):
    made = log.configure("web", json=True, directory=tmp_path, stream=None, environ={})
    log.logger("app").info("one")
    log.logger("app").error("two")
    hook.security_event(
        {
            "event_type": "authentication_failure",
            "description": "wrong password=x1",
            "severity": "WARNING",
            "attempts": 3,
        }
    )
    log.log_security_event("denied", "no", additional_data={"token": "x", "path": "/admin"})
    log.unconfigure()
    found = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in tmp_path.glob("*.log")}
    assert {name: [entry["message"] for entry in entries] for name, entries in found.items()} == {
        "web.log": ["one", "two"],
        "web-errors.log": ["two"],
        "web-security.log": ["wrong password=[redacted]", "no"],
    }
    event, other = found["web-security.log"]
    assert (other["event_type"], other["data"]) == ("denied", {"token": "[redacted]", "path": "/admin"})
    assert (event["event_type"], event["severity"], event["attempts"]) == ("authentication_failure", "WARNING", 3)
    assert (made.written, made.lost, made.files[0]) == (5, 0, str(tmp_path / "web.log"))
    assert "web" in repr(made)


@pytest.mark.parametrize(
    ("environ", "json_form", "level", "stage"),
    [
        ({}, False, 20, "development"),
        ({"ENV": "production"}, True, 20, "production"),
        ({"ENV": "staging"}, True, 20, "staging"),
        ({"ENV": "testing"}, False, 20, "testing"),
        ({"DGT_ENV": "prod", "ENV": "dev"}, True, 20, "production"),
        ({"ENV": "production", "LOG_FORMAT_JSON": "false"}, False, 20, "production"),
        ({"LOG_FORMAT_JSON": "TRUE"}, True, 20, "development"),
        ({"LOG_FORMAT_JSON": "maybe"}, False, 20, "development"),
        ({"LOG_LEVEL": "warning"}, False, 30, "development"),
        ({"LOG_LEVEL": "loud"}, False, 20, "development"),
        ({"DEBUG": "true"}, False, 10, "development"),
        ({"DGT_DEBUG": "1"}, False, 10, "development"),
        ({"DGT_DEBUG": "1", "LOG_LEVEL": "ERROR"}, False, 40, "development"),
        ({"ROADWORTHY_LOG_LEVEL": "debug", "ENV": "qa"}, True, 10, "qa"),
    ],
)
def test_form_and_level_are_those_of_the_environment(clean, monkeypatch, environ, json_form, level, stage):
    monkeypatch.setattr(setup, "complain", lambda what: None)
    made = log.configure("web", files=False, stream=None, prefix="dgt", environ=environ)
    assert (made.json, made.level, made.environment) == (json_form, level, stage)


@pytest.mark.parametrize(
    ("environ", "contained", "wanted"),
    [
        ({}, False, True),
        ({"JOURNAL_STREAM": "8:1"}, False, False),
        ({"INVOCATION_ID": "x"}, False, False),
        ({"KUBERNETES_SERVICE_HOST": "x"}, False, False),
        ({}, True, False),
    ],
)
def test_in_containers_and_under_systemd_there_are_no_files_unless_asked(environ, contained, wanted):
    assert setup.files_wanted(environ, lambda: contained) is wanted


@pytest.mark.parametrize("environ", [{"container": "podman"}, {"container": "lxc"}, {"DOCKER_CONTAINER": "true"}, {}])
def test_a_container_is_what_detection_says_it_is(monkeypatch, environ):
    monkeypatch.setattr(setup, "_MARKS", ("/",))  # a mark is there: whether it counts is for detection
    assert setup._contained(environ) is (facts.container(Reader(environ)) is not None)
    assert not environ or setup._contained(environ)
    monkeypatch.setattr(setup, "_MARKS", ())
    assert setup._contained({}) is False


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({}, "logs"),
        ({"LOG_DIR": "/var/log/web"}, "/var/log/web"),
        ({"ROADWORTHY_APP": "web", "ROADWORTHY_HOME": "/h"}, "/h/state/web/logs"),
    ],
)
def test_files_are_where_the_environment_says(environ, directory):
    assert setup.default_directory(environ, "web") == directory


@pytest.mark.parametrize(
    "options",
    [{"level": "loud"}, {"level": True}, {"keep": -1}, {"rotate_bytes": "x"}, {"sessions": "no"}, {"app": "../x"}],
)
def test_an_argument_that_makes_no_sense_is_refused_and_changes_nothing(clean, options):
    with pytest.raises((ConfigurationError, Exception)) as caught:
        log.configure(**{"app": "web", "files": False, "stream": None, **options})
    assert caught.value.what
    assert setup.pipeline.current is None


def test_configuring_again_replaces_what_was_and_adds_no_second_handler(clean, tmp_path):
    for name in ("one", "two"):
        log.configure(name, directory=tmp_path, stream=None, environ={})
        log.logger("app").info("here")
    assert sum(isinstance(one, setup.Handler) for one in setup.logging.root.handlers) == 1
    assert [len(lines(tmp_path, f"{name}.log")) for name in ("one", "two")] == [1, 1]


def test_a_terminal_gets_colours_and_a_pipe_does_not(clean, tmp_path, monkeypatch):
    import pty

    leader, follower = pty.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    log.configure("web", directory=tmp_path, json=False, stream=follower, environ={})
    log.logger("app").warning("one")
    log.unconfigure()
    assert b"\x1b[33mWARNING" in os.read(leader, 1000)
    assert "\x1b" not in (tmp_path / "web.log").read_text()
    for one in (leader, follower):
        os.close(one)


def test_a_forked_child_writes_entries_of_its_own(clean, tmp_path):
    log.configure("web", json=True, directory=tmp_path, stream=None, environ={})
    log.logger("app").info("one")
    child = os.fork()
    if child == 0:
        log.logger("app").info("two")
        os._exit(0)
    os.waitpid(child, 0)
    first, second = [json.loads(line) for line in lines(tmp_path, "web.log")]
    assert (first["pid"], second["pid"]) == (os.getpid(), child)
    assert first["correlation_id"] != second["correlation_id"]
