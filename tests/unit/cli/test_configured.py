"""Options on top of the other sources: what is wrong with an option names it, everything else its source."""

from __future__ import annotations

import pytest

from roadworthy.cli import configured
from roadworthy.cli.configured import configuration, options, run_settings
from roadworthy.cli.run import run
from roadworthy.config import secrets
from roadworthy.config.layers import Layer, of_options
from roadworthy.config.origin import Origin, nearest
from roadworthy.config.reference import reference
from roadworthy.errors import ConfigurationError, UsageError
from roadworthy.types import Secret


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in ("ENV", "DEBUG", "PORT", "WORKERS", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


def given(*arguments):
    return options(run.make_context("run", [*arguments, "--", "prog"]))


def test_every_option_is_taken_with_its_own_units(tmp_path):
    layer = given(
        "--check-every", "10s", "--grace", "2m", "--retention-hours", "24", "--check", "db=tcp://127.0.0.1:1",
        "--data-dir", "a", "--data-dir", "b", "--no-inject", "--allow-host", "ops.example.com",
        "--environment", "cloud",
        "--set", "restart.jitter=0.5", "--set", "monitoring.alerts.channels=log,file", "--probe-bind", "0.0.0.0:1",
    )  # fmt: skip
    made = run_settings(configuration(tmp_path, layer).require(), ("prog",))
    assert (made.check_every, made.stop_grace, made.retention_hours, made.inject) == (10.0, 120.0, 24.0, False)
    assert [(one.name, one.target, one.every) for one in made.checks] == [("db", "tcp://127.0.0.1:1", 10.0)]
    assert made.data_dirs == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert (made.restart.jitter, made.environment, made.allowed_hosts) == (0.5, "production", ("ops.example.com",))
    assert layer.entries["inject"].origin.where == "--no-inject"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "restart.jiter=1"], "Did you mean restart.jitter?"),
        (["--set", "grace"], "has no value"),
        (["--set", "cors_origins=["], "is no JSON"),
        (["--grace", "soon"], "--grace: 'soon' is no duration"),
        (["--check", "db"], "--check"),
        (["--check-every", "10ms"], "--check-every is too short"),
        (["--retention-hours", "nan"], "--retention-hours"),
        (["--stop-signal", "KILL"], "--stop-signal"),
        (["--allow-host", "a/b"], "--allow-host"),
        (["--probe-bind", "nonsense"], "--probe-bind"),
    ],
)
def test_an_option_that_is_wrong_is_named(arguments, said):
    with pytest.raises(UsageError) as caught:
        given(*arguments)
    assert said in str(caught.value)


def test_several_wrong_options_are_a_usage_error_and_mixed_ones_a_wrong_configuration(tmp_path, monkeypatch):
    layer = given("--set", "workers=0", "--set", "restart.jitter=2")
    with pytest.raises(UsageError, match="2 settings are wrong"):
        configuration(tmp_path, layer).require()
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(ConfigurationError, match="3 settings are wrong"):
        configuration(tmp_path, layer).require()


def test_warnings_are_told_on_lines_of_their_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "development.json").write_text('{"wrkers": 1}')
    configured.told(configuration(tmp_path))
    assert capsys.readouterr().err == (
        "roadworthy: wrkers: is no setting (config/development.json:1). Did you mean workers?\n"
    )


def test_a_secret_of_the_backend_is_a_value(tmp_path, monkeypatch):
    monkeypatch.setattr(configured, "secret_source", lambda: {"REDIS_URL": Secret("redis://u:very-secret@h/0")}.get)
    loaded = configuration(tmp_path).require()
    assert loaded["redis_url"] == "redis://u:very-secret@h/0"
    assert loaded.values["redis_url"].origin == Origin("secrets", "secret REDIS_URL")


def test_what_is_set_by_hand_under_a_wrong_name_is_an_error():
    layer = of_options(reference(), {"grce": "1s", "cors_origins": "["}, source="set")
    assert [str(issue) for issue in layer.issues] == [
        "grce: is no setting (set grce)",
        "cors_origins: is no JSON: Expecting value: line 1 column 2 (char 1) (set cors_origins)",
    ]
    assert layer.entries == Layer("set").entries


def test_the_nearest_name_may_be_in_another_section():
    assert nearest("jitter", ["restart.jitter", "grace"]) == "restart.jitter"
    assert nearest("zzz", ["restart.jitter", "grace"]) == ""


def test_a_store_is_asked_only_when_it_was_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.delenv("SECRETS_BACKEND", raising=False)
    assert configured.secret_source() is None
    assert configuration(tmp_path).errors == ()
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "REDIS_URL").write_text("redis://u:very-secret@h/0")
    (tmp_path / "held" / "REDIS_URL").chmod(0o600)
    monkeypatch.setenv("SECRETS_BACKEND", "directory")
    monkeypatch.setenv("ROADWORTHY_SECRETS_DIRECTORY", str(tmp_path / "held"))
    secrets.use(None)
    try:
        assert configuration(tmp_path).require().values["redis_url"].origin.where == "secret REDIS_URL"
    finally:
        secrets.use(None)
