from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from roadworthy.cli import config as module
from roadworthy.cli.main import root
from roadworthy.config.example import toml_example
from roadworthy.config.places import Places
from roadworthy.errors import ConfigurationError, Exhausted, NotFound, Unavailable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ENV", "DEBUG", "PORT", "WORKERS", "LOG_LEVEL", "ROADWORTHY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def asked(*arguments):
    done = CliRunner().invoke(root, ["config", *arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.output


def test_settings_are_shown_with_origin_and_secrets_redacted(folder, monkeypatch):
    (folder / "roadworthy.toml").write_text('workers = 3\ncors_origins = ["https://a.example"]\n')
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:very-secret-word@h/d")
    code, text = asked("show", "--origin")
    assert code == 0
    assert "3  # roadworthy.toml:1" in text
    assert '["https://a.example"]  # roadworthy.toml:2  (no effect yet)' in text
    assert '"[redacted]"  # environment variable DATABASE_URL' in text
    assert "Read: roadworthy.toml." in text
    assert "very-secret-word" not in text + asked("show", "--json")[1] + asked("why", "database_url")[1]
    rows = json.loads(asked("show", "--json")[1])["settings"]
    assert next(row for row in rows if row["key"] == "workers")["origin"] == "roadworthy.toml:1"


def test_why_names_the_source_what_it_outranks_and_the_other_names(folder, monkeypatch):
    (folder / "roadworthy.toml").write_text("workers = 3\n")
    monkeypatch.setenv("WORKERS", "2")
    monkeypatch.setenv("ROADWORTHY_WORKERS", "4")
    _, text = asked("why", "workers")
    assert "= workers = 4  # environment variable ROADWORTHY_WORKERS" in text
    assert "  workers = 3  # roadworthy.toml:1" in text
    assert "  workers = 1  # default" in text
    assert "warning: workers: ROADWORTHY_WORKERS and WORKERS have different values" in text
    assert "Variables: ROADWORTHY_WORKERS, WORKERS; option: --workers." in text
    assert "A change needs a restart." in text
    told = json.loads(asked("why", "monitoring.environment", "--json")[1])
    assert (told["key"], told["sources"]) == ("environment", [{"value": "development", "origin": "default"}])
    assert "does nothing with it yet" in asked("why", "data_dir")[1]
    assert "option: --set restart.jitter=VALUE" in asked("why", "restart.jitter")[1]


def test_a_misspelt_key_is_met_with_the_nearest_one(folder):
    with pytest.raises(NotFound) as caught:
        asked("why", "worker")
    assert "Did you mean workers?" in caught.value.hint


def test_check_lists_everything_at_once(folder):
    (folder / "roadworthy.toml").write_text("wrkers = 3\nport = 99999\n")
    (folder / ".env").write_text("ROADWORTHY_GRACES=3\n")
    code, text = asked("check")
    assert code == 3
    assert "error: wrkers: is no setting (roadworthy.toml:1)  Did you mean workers?" in text
    assert "error: port: 99999 is not accepted" in text
    assert "warning: ROADWORTHY_GRACES is no setting (.env:1 (ROADWORTHY_GRACES))" in text
    told = json.loads(asked("check", "--json")[1])
    assert (told["ok"], len(told["issues"])) == (False, 3)
    with pytest.raises(ConfigurationError, match="2 settings are wrong"):
        asked("show")


def test_what_only_the_command_line_can_tell_is_checked_too(folder):
    text = 'stop_signal = "KILL"\nhealth.checks = {db = "nonsense"}\nops.allowed_hosts = ["a/b"]\nname = "../x"\n'
    (folder / "roadworthy.toml").write_text(text)
    code, text = asked("check")
    assert code == 3
    for part in ("stop_signal: SIGKILL cannot ask", "health.checks: ", "ops.allowed_hosts: 'a/b' is no host", "name: "):
        assert f"error: {part}" in text
    assert "(roadworthy.toml:1)" in text


def test_check_says_when_all_is_well(folder):
    code, text = asked("check")
    assert code == 0
    assert "The configuration can be used." in text
    assert "No configuration file is here: defaults count." in text


def test_init_writes_both_files_and_overwrites_neither(folder, monkeypatch):
    assert asked("init")[0] == 0
    assert (folder / "roadworthy.toml").read_text() == toml_example()
    assert "# WORKERS=1" in (folder / ".env.example").read_text()
    (folder / ".env.example").unlink()
    (folder / "roadworthy.toml").write_text("mine")
    with pytest.raises(Unavailable, match=r"roadworthy.toml is there already"):
        asked("init")
    assert [path.name for path in folder.iterdir()] == ["roadworthy.toml"]


def test_init_leaves_nothing_when_the_disk_is_full(folder, monkeypatch):
    import pathlib

    real = pathlib.Path.open

    def full(self, mode="r", **given):
        if self.name == ".env.example":
            raise OSError(28, "No space left on device", str(self))
        return real(self, mode, **given)

    monkeypatch.setattr(pathlib.Path, "open", full)
    with pytest.raises(Exhausted):
        asked("init")
    assert list(folder.iterdir()) == []


@pytest.fixture
def answered(monkeypatch, tmp_path):
    questions, answers = [], []

    def ask(_path, message, _timeout=10.0):
        questions.append(message)
        return answers.pop(0)

    found = type("Found", (), {"places": Places("web", tmp_path, tmp_path, tmp_path)})
    monkeypatch.setattr("roadworthy.cli.running.find", lambda _name: found)
    monkeypatch.setattr("roadworthy.cli.socket.ask", ask)
    return questions, answers


def test_a_running_program_is_asked_and_its_answer_shown(answered):
    questions, answers = answered
    answers.append({"ok": True, "what": "set: grace is 5.0", "warnings": ["careful"], "audited": False})
    _, text = asked("set", "grace", "5s", "web", "--for", "10m", "--reason", "why")
    assert (questions[0]["do"], questions[0]["key"], questions[0]["value"]) == ("config-set", "grace", "5s")
    assert (questions[0]["for"], questions[0]["reason"]) == (600.0, "why")
    assert questions[0]["actor"].startswith("command line, ")
    assert "set: grace is 5.0" in text
    answers += [{"ok": True, "what": "reload: nothing is different"}, {"ok": True, "what": "unset", "changed": []}]
    assert json.loads(asked("reload", "web", "--json")[1])["what"] == "reload: nothing is different"
    asked("unset", "grace", "web")
    assert [one["do"] for one in questions] == ["config-set", "config-reload", "config-unset"]
    row = {"key": "grace", "value": 5.0, "origin": "set grace", "source": "set", "live": True, "unused": False}
    answers.append({"ok": True, "settings": [row], "files": []})
    assert "grace  5.0  # set grace" in asked("show", "web", "--origin")[1]


@pytest.mark.parametrize(
    ("kind", "error"), [("ConfigurationError", ConfigurationError), ("NotFound", NotFound), ("Other", Unavailable)]
)
def test_what_the_agent_refuses_is_its_own_error(answered, kind, error):
    answered[1].append({"ok": False, "kind": kind, "what": "no", "why": "because", "hint": "then"})
    with pytest.raises(error, match="no"):
        asked("set", "grace", "5s")


def test_the_group_is_the_module_of_its_verb():
    assert set(module.config.commands) == {"show", "why", "check", "init", "reload", "set", "unset"}


def test_only_run_and_config_load_the_schema_and_the_agent_never_does():
    """Each verb is a process of its own: what it does not need, it does not load."""
    script = (
        "import importlib, pkgutil, sys, roadworthy.cli, roadworthy.agent\n"
        "for package in (roadworthy.cli, roadworthy.agent):\n"
        "    for one in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if one.name not in {'roadworthy.cli.run', 'roadworthy.cli.configured'}:\n"
        "            importlib.import_module(one.name)\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
