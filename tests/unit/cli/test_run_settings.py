"""What ``roadworthy run`` makes of its options and of the command, before anything is started."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from roadworthy.cli import command, configured, daemon, settings
from roadworthy.cli.command import Python
from roadworthy.cli.main import VERBS, LazyGroup, root
from roadworthy.cli.run import run
from roadworthy.config import duration
from roadworthy.config.load import load
from roadworthy.config.reference import reference
from roadworthy.config.values import RunSettings
from roadworthy.errors import ConfigurationError, Unavailable, UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [("10", 10.0), ("10s", 10.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("1.5s", 1.5), (" 3 ", 3.0)],
)
def test_durations_are_understood(text, found):
    assert settings.seconds(text, "--grace") == found


@pytest.mark.parametrize("text", ["", "ten", "-1", "1d", "1 s", "nan", "1e3"])
def test_what_is_no_duration_is_refused_by_the_options_name(text):
    with pytest.raises(UsageError, match="--grace"):
        settings.seconds(text, "--grace")


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("term", 15), ("SIGINT", 2), ("2", 2), ("Quit", 3)])
def test_signals_are_understood_by_name_and_number(text, number):
    assert settings.stop_signal(text) == number


@pytest.mark.parametrize("text", ["KILL", "STOP", "9", "NOPE", "0", "999", ""])
def test_what_cannot_ask_a_program_to_stop_is_refused(text):
    with pytest.raises(UsageError, match="--stop-signal"):
        settings.stop_signal(text)


def test_a_check_is_a_name_and_a_url():
    found = settings.check_setting("db=postgresql+psycopg://h/db?a=b")
    assert (found.name, found.target) == ("db", "postgresql+psycopg://h/db?a=b")


@pytest.mark.parametrize("text", ["", "postgresql://rw@db.example/history", "postgres:///history"])
def test_a_history_is_kept_here_or_in_postgresql(text, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert settings.history_url(text) == text


@pytest.mark.parametrize("text", ["mysql://me:very-secret-word@h/db", "db.example", "/var/lib/history"])
def test_what_is_no_database_of_postgresql_is_refused_without_its_password(text):
    with pytest.raises(UsageError, match="--history-url") as caught:
        settings.history_url(text)
    assert "very-secret-word" not in str(caught.value)


def test_a_history_in_postgresql_without_psycopg_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"roadworthy\[postgres\]"):
        settings.history_url("postgresql://db.example/history")


@pytest.mark.parametrize("text", ["db", "=tcp://h:1", "db=", "db=ftp://h", "d b=tcp://h:1", "db=h:1"])
def test_what_is_no_check_is_refused(text):
    with pytest.raises(UsageError, match="--check"):
        settings.check_setting(text)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "app.py"], "app"),
        (["python3.12", "-u", "-X", "dev", "src/my app.py", "--x"], "my-app"),
        (["python", "-m", "http.server", "8000"], "http.server"),
        (["python", "-m", "pkg"], "pkg"),
        (["python", "-c", "print()"], "python"),
        (["./serve.sh", "-v"], "serve.sh"),
        (["sh", "jobs/nightly.sh"], "nightly"),
        (["bash", "-c", "sleep 1"], "bash"),
        (["gunicorn", "app:app"], "gunicorn"),
        (["/opt/-- ", "x"], "program"),
    ],
)
def test_the_default_name_is_what_people_would_call_it(words, name):
    python = command.python_of(words, words[0])
    assert command.default_name(words, python) == name


def test_a_package_that_is_a_folder_is_called_by_its_folder(tmp_path):
    path = tmp_path / "shop" / "__main__.py"
    assert command.default_name(["python"], Python("python", script=str(path))) == "shop"


@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        (f"#!{sys.executable}", "", ()),
        (f"#!{sys.executable} -I", "", ("-I",)),
        ("#!/usr/bin/env python3", "", ()),
        ("#!/bin/sh", f'\'\'\'exec\' "{sys.executable}" "$0" "$@"', ()),
    ],
)
def test_a_script_tells_its_interpreter_in_its_first_line(tmp_path, first, second, options):
    script = tmp_path / "tool"
    script.write_text(f"{first}\n{second}\n")
    found = command.python_of([str(script)], str(script))
    assert found is not None
    assert (found.options, found.script) == (options, str(script))


@pytest.mark.parametrize("text", ["#!/bin/sh\necho\n", "\x7fELF", "", "#!\n"])
def test_what_is_no_python_script_is_none(tmp_path, text):
    script = tmp_path / "tool"
    script.write_text(text)
    assert command.python_of([str(script)], str(script)) is None


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (None, "is not started by a Python"),
        (Python(sys.executable, ("-I",)), "started with -I"),
        (Python(sys.executable, ("-uE",)), "started with -uE"),
        (Python(sys.executable, ("-u", "-X", "dev")), ""),
        (Python("/none/python3"), "does not tell its version"),
    ],
)
def test_it_is_known_beforehand_where_our_runtime_cannot_go(python, reason):
    found = command.cannot_inject(python, "prog")
    assert reason in found
    assert bool(found) == bool(reason)


def run_settings(**given):
    return RunSettings(app="x", command=("python", "x.py"), cwd="/", **given)


def test_workers_that_cannot_share_a_port_are_refused_with_the_reason():
    with pytest.raises(UsageError, match="4 workers cannot share port 80") as raised:
        settings.sharing(run_settings(workers=4, port=80), None, "prog")
    assert "Python interpreter" in raised.value.why
    with pytest.raises(UsageError):
        settings.sharing(run_settings(workers=2, port=80, inject=False), Python(sys.executable), "prog")


def test_workers_without_a_port_are_warned_of(capsys):
    settings.sharing(run_settings(workers=4), Python(sys.executable), "prog")
    assert "4 workers without --port" in capsys.readouterr().err


def test_python_workers_share_a_port():
    assert settings.sharing(run_settings(workers=4, port=80), Python(sys.executable), "prog") == ""


@pytest.mark.parametrize(
    ("env", "pid", "parent", "name", "container", "refused"),
    [
        ({}, 50, 40, "bash", False, False),
        ({}, 50, 40, "bash", True, False),
        ({}, 1, 0, "", True, True),
        ({}, 7, 1, "sh", True, True),
        ({"INVOCATION_ID": "x"}, 50, 40, "bash", False, False),
        ({"INVOCATION_ID": "x"}, 50, 1, "systemd", False, True),
        ({"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "50"}, 50, 1, "init", False, True),
        ({"NOTIFY_SOCKET": "/run/n", "SYSTEMD_EXEC_PID": "40"}, 50, 40, "sh", False, True),
        ({"NOTIFY_SOCKET": "/run/n"}, 50, 40, "bash", False, False),
    ],
)
def test_the_background_is_refused_where_somebody_waits_for_us(env, pid, parent, name, container, refused):
    assert bool(daemon.refusal(env, pid, parent, name, container=container)) is refused


@pytest.mark.parametrize("text", ["", "999999999\n", f"{1}\n12345\n", "nonsense\n"])
def test_a_stale_pid_file_is_no_obstacle(tmp_path, text):
    path = tmp_path / "pid"
    path.write_text(text)
    daemon.check_pid_file(path)


def test_a_pid_file_of_a_living_process_is_refused(tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pytest.raises(Unavailable, match="names a living process, pid 1"):
        daemon.check_pid_file(path)


def test_a_pid_file_holds_pid_and_start(tmp_path):
    path = tmp_path / "pid"
    daemon.write_pid_file(path)
    pid, ticks = path.read_text().split()
    assert pid == str(__import__("os").getpid())
    assert ticks in Path("/proc/self/stat").read_text().split()


def test_a_pid_file_that_cannot_be_written_is_one_clear_error(tmp_path):
    with pytest.raises(Unavailable, match="cannot be written"):
        daemon.write_pid_file(tmp_path / "none" / "pid")


def options(*arguments, env=None):
    context = run.make_context("run", [*arguments, "--", "prog"], auto_envvar_prefix=None)
    return context.params


@pytest.mark.parametrize(
    ("env", "arguments", "port", "workers", "level"),
    [
        ({}, [], None, 1, ""),
        ({"PORT": "8001", "WORKERS": "3", "LOG_LEVEL": "INFO"}, [], 8001, 3, "info"),
        ({"PORT": "8001", "ROADWORTHY_PORT": "8002"}, [], 8002, 1, ""),
        (
            {"PORT": "8001", "WORKERS": "3", "LOG_LEVEL": "INFO"},
            ["--port", "1", "--workers", "2", "--log-level", "debug"],
            1,
            2,
            "debug",
        ),
    ],
)
def test_an_option_goes_before_the_environment_and_that_before_the_default(
    monkeypatch, tmp_path, env, arguments, port, workers, level
):
    for name in ("PORT", "WORKERS", "LOG_LEVEL", "ROADWORTHY_PORT", "ROADWORTHY_WORKERS", "ROADWORTHY_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    context = run.make_context("run", [*arguments, "--", "prog"])
    loaded = configured.configuration(tmp_path, configured.options(context)).require()
    made = configured.run_settings(loaded, ("prog",))
    assert (made.port, made.workers, made.log_level) == (port, workers, level)


def test_the_defaults_that_help_shows_are_those_of_the_schema():
    shown = {param.opts[0]: param.default for param in run.params if isinstance(param, click.Option)}
    for key in reference().by_name.values():
        value = shown.get(key.flag)
        if not isinstance(value, str | int | float) or value == "":
            continue  # it is not shown
        if key.kind in {"duration", "milliseconds"}:
            scale = 1000 if key.kind == "milliseconds" else 1
            wanted = key.default if key.kind == "milliseconds" else duration.seconds_in(key.default)
            assert duration.seconds_in(value) * scale == wanted
        else:
            assert value == key.default, key.name


def test_without_any_source_run_has_the_defaults_of_its_values(tmp_path):
    loaded = load(tmp_path, {}).require()
    assert configured.run_settings(loaded, ("prog",)) == RunSettings("", ("prog",), str(tmp_path))


@pytest.mark.parametrize(
    "arguments", [["--bogus"], ["--workers", "0"], ["--port", "70000"], ["--restart", "maybe"], ["--hang-action", "x"]]
)
def test_a_wrong_option_is_a_usage_error(arguments):
    with pytest.raises(click.UsageError):
        options(*arguments)


def test_the_command_keeps_its_own_options():
    context = run.make_context("run", ["python", "--port", "1", "-h"])
    assert context.params["command"] == ("python", "--port", "1", "-h")


def test_a_verb_whose_module_is_missing_does_not_break_the_others(monkeypatch):
    monkeypatch.setitem(VERBS, "gone", ("roadworthy.cli.nothing:gone", "Not there."))
    shown = CliRunner().invoke(root, ["--help"])
    assert shown.exit_code == 0
    assert "run" in shown.output
    assert "gone" not in shown.output
    assert CliRunner().invoke(root, ["gone"]).exit_code == 2


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb):
    group = root
    assert isinstance(group, LazyGroup)
    shown = CliRunner().invoke(root, [verb, "--help"])
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage")
