from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.config import rules
from roadworthy.config.example import env_example, toml_example
from roadworthy.config.layers import Layer
from roadworthy.config.load import load
from roadworthy.config.origin import Candidate, Origin, refusal
from roadworthy.config.reference import reference
from roadworthy.errors import ConfigurationError, Unavailable, UsageError

KEYS = reference().by_name


def write(root, name, text):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def errors(loaded):
    return [str(issue) for issue in loaded.errors]


def test_without_a_file_the_defaults_count(tmp_path):
    loaded = load(tmp_path, {}).require()
    assert (loaded.files, loaded.issues, loaded["grace"]) == ((), (), 10.0)


def test_all_that_is_wrong_is_told_at_once_with_its_origin_and_nothing_is_used(tmp_path):
    write(
        tmp_path,
        "roadworthy.toml",
        'wokers = 3\n[hang]\nafter = "soon"\n[monitoring.thresholds.cpu_percent]\nwarning = 99\n',
    )
    loaded = load(tmp_path, {"PORT": "99999", "ENV": "production", "DEBUG": "true"})
    assert loaded.values == {}
    told = errors(loaded)
    assert any("wokers: is no setting (roadworthy.toml:1)" in line for line in told)
    assert any("hang.after: 'soon' is not accepted" in line and "(roadworthy.toml:3)" in line for line in told)
    assert any("port: '99999'" in line and "(environment variable PORT)" in line for line in told)
    assert any("debug mode is not allowed in production (environment variable DEBUG)" in line for line in told)
    assert any("99 is more than monitoring.thresholds.cpu_percent.critical" in line for line in told)
    assert len(told) == 5
    with pytest.raises(ConfigurationError, match="5 settings are wrong"):
        loaded.require()
    assert "Did you mean workers?" in [issue.hint for issue in loaded.errors]


@pytest.mark.parametrize(
    ("file", "text", "error"),
    [
        ("roadworthy.toml", "wrkers = 1", True),
        ("pyproject.toml", "[tool.roadworthy]\nwrkers = 1", True),
        ("config/development.json", {"wrkers": 1}, False),
        ("config/monitoring_config.json", {"monitoring": {"enbled": True}}, False),
        ("config/monitoring_config.json", {"wrkers": 1}, False),
        (".env", "ROADWORTHY_WRKERS=1", False),
    ],
)
def test_a_misspelt_key_is_an_error_below_our_root_and_a_warning_elsewhere(tmp_path, file, text, error):
    write(tmp_path, file, text)
    (issue,) = load(tmp_path, {}).issues
    assert issue.error is error
    assert issue.origin.where.startswith(file)
    assert issue.hint.startswith("Did you mean ") or "no meaning" in issue.text


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("roadworthy.toml", "workers = ", "is no TOML"),
        ("roadworthy.toml", "hang = 1", "is a section, not a value"),
        ("roadworthy.toml", 'monitoring.alerts.rules = [{name = "a"}]', "rules: "),
        ("pyproject.toml", "[tool]\nroadworthy = 1", "is no table"),
        ("config/development.json", "{", "is no JSON"),
        ("config/development.json", "[]", "is no JSON object"),
        ("config/development.json", '{"workers": 1, "workers": 2}', "comes twice"),
        ("config/development.json", '{"workers": true}', "a number is wanted"),
        ("config/development.json", '{"environment": "staging"}', "contradicts the name of the file"),
        (".env", "A='", "never closed"),
        (".env", "monitoring.alerts.rules=[", "is no JSON"),
        ("roadworthy.toml", "environment = 'prod'", "environment: 'prod' is not accepted"),
        ("roadworthy.toml", "environment = 'production'\nallowed_hosts = ['*']", "'*' is allowed in development only"),
        ("roadworthy.toml", "dev = true\nenvironment = 'staging'", "is for development"),
        ("roadworthy.toml", "assets.path = 'nowhere'", "does not exist"),
        ("roadworthy.toml", "assets.path = 'roadworthy.toml'", "is no directory"),
        ("roadworthy.toml", 'name = "a\\u0000b"', "NUL"),
        ("roadworthy.toml", "grace = -1", "is no duration"),
        ("roadworthy.toml", "jitter = nan", "is no setting"),
        ("roadworthy.toml", "restart.jitter = nan", "restart.jitter: nan is not accepted"),
    ],
)
def test_what_cannot_be_used_is_one_error_that_names_the_file(tmp_path, file, text, said):
    write(tmp_path, file, text)
    (told,) = errors(load(tmp_path, {}))
    assert said in told
    assert file in told


@pytest.mark.parametrize("content", [b"workers = 1\n\xff", b"x" * (1 << 20) + b"xx"])
def test_a_file_that_is_no_text_or_too_large_is_an_error(tmp_path, content):
    (tmp_path / "roadworthy.toml").write_bytes(content)
    assert len(errors(load(tmp_path, {}))) == 1


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / ".env").mkdir()
    assert "cannot be read" in errors(load(tmp_path, {}))[0]


@pytest.mark.parametrize(
    ("word", "stage"),
    [("production", "production"), ("CLOUD", "production"), ("kubernetes", "production"), ("local", "development"),
     ("codespaces", "development"), ("testing", "testing")],
)  # fmt: skip
def test_an_environment_is_a_stage_or_a_kind_of_place(tmp_path, word, stage):
    assert load(tmp_path, {"ENV": word}).require()["environment"] == stage


def test_the_file_of_the_stage_is_read_and_no_other(tmp_path):
    write(tmp_path, "config/staging.json", {"environment": "staging", "grace": 3})
    write(tmp_path, "config/production.json", {"grace": 4})
    loaded = load(tmp_path, {"ENV": "staging"}).require()
    assert (loaded["grace"], loaded.files) == (3.0, ("config/staging.json",))


def test_the_monitoring_file_may_choose_the_stage_whose_file_goes_before_it(tmp_path):
    write(tmp_path, "config/monitoring_config.json", {"monitoring": {"environment": "staging", "retention_hours": 1}})
    write(tmp_path, "config/staging.json", {"monitoring": {"retention_hours": 2}})
    loaded = load(tmp_path, {}).require()
    assert (loaded["environment"], loaded["monitoring.retention_hours"]) == ("staging", 2.0)


def test_two_names_with_different_values_take_the_prefixed_one_and_warn_naming_both(tmp_path):
    loaded = load(tmp_path, {"ROADWORTHY_LOG_LEVEL": "info", "LOG_LEVEL": "debug"}).require()
    assert loaded["log_level"] == "info"
    (warning,) = loaded.warnings
    assert "ROADWORTHY_LOG_LEVEL and LOG_LEVEL have different values" in str(warning)
    assert load(tmp_path, {"ROADWORTHY_LOG_LEVEL": "info", "LOG_LEVEL": "info"}).warnings == ()


def test_an_empty_variable_is_not_set(tmp_path):
    assert load(tmp_path, {"PORT": "", "WORKERS": "2"}).require()["port"] is None


def test_alert_rules_may_stand_at_the_top_and_are_merged(tmp_path):
    rule = '{name = "%s", condition = "cpu_percent > 75", cooldown_minutes = 30}'
    write(tmp_path, "roadworthy.toml", f"alerts.rules = [{rule % 'a'}]\nmonitoring.alerts.rules = [{rule % 'b'}]\n")
    assert [one.name for one in load(tmp_path, {}).require()["monitoring.alerts.rules"]] == ["a", "b"]


def test_a_key_and_its_other_name_in_one_file_are_warned_about(tmp_path):
    write(tmp_path, "roadworthy.toml", "monitoring.environment = 'staging'\nenvironment = 'testing'\n")
    loaded = load(tmp_path, {}).require()
    assert loaded["environment"] == "testing"
    assert "roadworthy.toml:2 and roadworthy.toml:1 have different values" in str(loaded.warnings[0])


def test_dotted_names_are_taken_from_variables(tmp_path):
    assert (
        load(tmp_path, {"monitoring.thresholds.cpu_percent.warning": "40"}).require()[
            "monitoring.thresholds.cpu_percent.warning"
        ]
        == 40.0
    )


def test_dev_is_development_with_debug_and_text_logs_and_debug_is_level_debug(tmp_path):
    loaded = load(tmp_path, {"ROADWORTHY_DEV": "1"}).require()
    assert (loaded["environment"], loaded["debug"], loaded["log_level"]) == ("development", True, "debug")
    assert loaded["log.format_json"] is False
    assert "dev, environment variable ROADWORTHY_DEV" in loaded.values["log_level"].origin.where
    loaded = load(tmp_path, {"DEBUG": "true", "LOG_LEVEL": "warning"}).require()
    assert (loaded["debug"], loaded["log_level"]) == (True, "warning")
    assert load(tmp_path, {"LOG_LEVEL": "debug"}).require()["debug"] is False


def with_profile(root, environ, *values):
    return load(root, environ, profile_of=lambda named, _environ: (named or "detected", dict(values))).require()


def test_a_profile_gives_no_worker_or_port_unless_the_environment_was_chosen_for_us(tmp_path):
    profiled = ("WORKERS", "4"), ("PORT", "8888"), ("CLOUD_DEPLOYMENT", "true")
    for environ in ({}, {"ENV": "production"}):
        loaded = with_profile(tmp_path, environ, *profiled)
        assert (loaded["workers"], loaded["port"], loaded["cloud_deployment"]) == (1, None, True)
    loaded = with_profile(tmp_path, {"ROADWORTHY_ENVIRONMENT": "production"}, *profiled)
    assert (loaded["workers"], loaded["port"]) == (4, 8888)
    assert loaded.values["workers"].origin.where == "profile production (WORKERS)"


def test_a_profile_opens_nothing_outside_development(tmp_path):
    opened = ("DEBUG", "true"), ("CORS_ORIGINS", "*"), ("ALLOWED_HOSTS", "*")
    loaded = with_profile(tmp_path, {}, *opened)
    assert (loaded["debug"], loaded["cors_origins"], loaded["log_level"]) == (True, ("*",), "debug")
    loaded = with_profile(tmp_path, {"ENV": "staging"}, *opened)
    assert (loaded["debug"], loaded["cors_origins"], loaded["log_level"]) == (False, (), "")


def test_a_configuration_file_may_be_elsewhere_and_its_folder_is_the_root(tmp_path):
    write(tmp_path, "conf/our.toml", "workers = 3")
    write(tmp_path, "conf/.env", "LOG_LEVEL=info")
    loaded = load(tmp_path, {"ROADWORTHY_CONFIG": "conf/our.toml"}).require()
    assert (loaded["workers"], loaded["log_level"], loaded.root) == (3, "info", tmp_path / "conf")
    (warning,) = load(tmp_path, {"ROADWORTHY_CONFIG": "conf/none.toml"}).require().warnings
    assert "conf/none.toml is not there" in str(warning)


def test_secrets_are_asked_for_secret_keys_alone_and_are_never_shown(tmp_path):
    asked = []

    def secret_of(name):
        asked.append(name)

    load(tmp_path, {}, secret_of=secret_of)
    assert "ROADWORTHY_DATABASE_URL" in asked
    assert set(asked) == {name for key in KEYS.values() if key.secret for name in key.variables}
    loaded = load(tmp_path, {"DATABASE_URL": "postgresql://u:very-secret@h/d"}).require()
    assert "very-secret" not in json.dumps(loaded.rows())


def test_a_secrets_backend_that_fails_is_an_error(tmp_path):
    def secret_of(name):
        raise Unavailable("the store does not answer", why="Timeout.", hint="Later.")

    (told,) = errors(load(tmp_path, {}, secret_of=secret_of))
    assert "the store does not answer. Timeout (secret " in told


def test_wrong_options_alone_are_a_usage_error():
    layer = Layer("flag", {"workers": Candidate(0, Origin("flag", "--workers"))})
    issues = load(__import__("pathlib").Path("/nonexistent"), {}, layer).issues
    assert isinstance(refusal(issues), UsageError)


def test_sampling_errors_is_warned_about(tmp_path):
    (warning,) = load(tmp_path, {"ROADWORTHY_SAMPLE_ERRORS": "0.5"}).require().warnings
    assert "some errors will be counted and not kept" in str(warning)


@pytest.mark.parametrize(
    ("must", "denied", "said"), [("read", 4 | 1, "cannot be read"), ("write", 2, "cannot be written"), ("read", 2, "")]
)
def test_a_path_must_be_usable(tmp_path, must, denied, said):
    assert said in rules.path_problem(tmp_path, must, lambda _path, mode: mode != denied)


def test_the_examples_are_complete_and_are_read_without_complaint(tmp_path):
    write(tmp_path, "roadworthy.toml", toml_example())
    write(tmp_path, ".env", env_example(reference()))
    loaded = load(tmp_path, {}).require()
    assert loaded.issues == ()
    assert {one.origin.source for one in loaded.values.values()} == {"default"}
    for name, key in KEYS.items():
        assert any(variable in env_example(reference()) for variable in key.variables), name
        assert f"# {name.rpartition('.')[2]} = " in toml_example()


def test_every_default_of_the_example_is_taken_when_it_is_no_comment(tmp_path):
    lines = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
             for line in toml_example().splitlines() if "comes from" not in line]  # fmt: skip
    write(tmp_path, "roadworthy.toml", "\n".join(lines))
    loaded = load(tmp_path, {})
    assert errors(loaded) == []
    assert {one.origin.source for one in loaded.values.values()} == {"toml"}


GOOD_OR_BAD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70000), st.floats(), st.text(max_size=6),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from(["1s", "debug", "production", "*", "true", "always", [{"name": "a", "condition": "b"}]]),
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(sorted(KEYS)), GOOD_OR_BAD, max_size=8))
def test_no_invalid_configuration_is_ever_partly_applied(tmp_path, values):
    """Either there is an error and no value at all, or every setting has a value that the schema takes again."""
    layer = Layer("flag", {name: Candidate(value, Origin("flag", "--x")) for name, value in values.items()})
    loaded = load(tmp_path, {}, layer)
    if loaded.errors:
        assert loaded.values == {}
        with pytest.raises(UsageError):
            loaded.require()
        return
    assert loaded.values.keys() == KEYS.keys()
    for name in values:
        assert loaded.values[name].origin.where == "--x"
    again = Layer("flag", {name: Candidate(one.value, one.origin) for name, one in loaded.values.items()})
    assert load(tmp_path, {}, again).require().rows() == loaded.rows()
