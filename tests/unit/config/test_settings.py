from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from roadworthy import config
from roadworthy.config import Asset, Env, Folder, Group, RequiredIf, Settings, reloads, secrets
from roadworthy.config import settings as module
from roadworthy.errors import ConfigurationError, NotFound, Unavailable
from roadworthy.types import Secret


class Performance(BaseModel):
    target_fps: Annotated[int, Env("TARGET_FPS")] = Field(60, ge=1, le=240, description="Frames a second.")
    movement_range: float = 1.5


class Monitoring(BaseModel):
    enabled: bool = True


class Speech(BaseModel):
    enabled: bool = False
    key: Annotated[Secret | None, Env("ELEVENLABS_API_KEY"), RequiredIf("speech.enabled")] = None
    model: Annotated[str, Env("ELEVENLABS_MODEL")] = "eleven_turbo_v2_5"
    voices: Annotated[dict[str, str], Group("ELEVENLABS_VOICE_")] = Field(default_factory=dict)


class Movie(Settings, prefix="DGT"):
    anthropic_api_key: Annotated[Secret, Field(description="For dialogue.")]
    sentry_dsn: Secret | None = None
    cors_origins: list[str] = Field(default_factory=list)
    workers: int = Field(1, ge=1)
    assets_path: Annotated[Path | None, Folder()] = None
    data: Annotated[Path, Folder(write=True, create=True)] = Path("data")
    icon: Annotated[Path | None, Asset()] = None
    performance: Performance = Performance()
    speech: Speech = Speech()
    monitoring: Monitoring = Monitoring()


KEY = {"ANTHROPIC_API_KEY": "sk-ant-api03-something"}


@pytest.fixture(autouse=True)
def own_secrets():
    """No value that the backend of the process has read for another test, and remembers for a while, is found."""
    secrets.use(None)
    yield
    secrets.use(None)


def loaded(root, path=None, cls=Movie, **environ):
    return cls.load(path, root=root, environ={**KEY, **environ}, secret_of=lambda _name: None)


def write(root, name, text):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def test_values_are_read_by_section_and_attribute_and_know_their_origin(tmp_path):
    write(tmp_path, "config/staging.json", {"performance": {"movement_range": 2.5, "target_fps": 20}, "debug": True})
    write(tmp_path, ".env", "# ours\nTARGET_FPS=30\n")
    write(tmp_path, "roadworthy.toml", "workers = 2\n[app.monitoring]\nenabled = false\n")
    found = loaded(tmp_path, ENV="staging")
    assert (found.environment, found.debug, found.monitoring.enabled) == ("staging", True, False)
    assert (found.performance.target_fps, found.performance.movement_range) == (30, 2.5)
    assert str(found.origin("performance.target_fps")) == ".env:2 (TARGET_FPS)"
    assert str(found.origin("performance.movement_range")) == "config/staging.json:1"
    assert str(found.origin("monitoring.enabled")) == "roadworthy.toml:3"
    assert str(found.origin("environment")) == "environment variable ENV"
    assert str(found.origin("workers")) == "default"
    assert found.files == (".env", "roadworthy.toml", "config/staging.json")
    with pytest.raises(NotFound, match="no setting"):
        found.origin("performance.target_fsp")


@pytest.mark.parametrize(
    ("environ", "fps"),
    [({"DGT_TARGET_FPS": "1"}, 1), ({"DGT_PERFORMANCE_TARGET_FPS": "2", "TARGET_FPS": "3"}, 2),
     ({"TARGET_FPS": "3"}, 3),
     ({"PERFORMANCE_TARGET_FPS": "4"}, 4), ({"performance.target_fps": "5"}, 5)],
)  # fmt: skip
def test_a_variable_with_the_prefix_goes_before_the_plain_one(tmp_path, environ, fps):
    assert loaded(tmp_path, **environ).performance.target_fps == fps


def test_two_names_with_different_values_are_warned_about(tmp_path):
    found = loaded(tmp_path, DGT_DEBUG="false", DEBUG="true")
    assert found.debug is False
    assert "DGT_DEBUG and DEBUG have different values" in str(found.warnings[0])


def test_a_missing_required_value_stops_the_program_and_names_the_variable(tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY not set"):
        Movie.load(root=tmp_path, environ={}, secret_of=lambda _name: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        Movie.load_or_exit()
    assert ended.value.code == 3
    assert "ANTHROPIC_API_KEY not set" in capsys.readouterr().err
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-x")
    assert Movie.load_or_exit().environment == "development"


def test_everything_that_is_wrong_is_told_at_once_or_as_a_report(tmp_path):
    environ = {"TARGET_FPS": "0", "SPEECH_ENABLED": "maybe", "ENV": "production", "WORKERS": "x"}
    issues = Movie.check(root=tmp_path, environ=environ, secret_of=lambda _name: None)
    told = "\n".join(map(str, issues))
    for part in ("ANTHROPIC_API_KEY not set", "target_fps: '0'", "speech.enabled: 'maybe'", "workers: 'x'"):
        assert part in told
    with pytest.raises(ConfigurationError, match="4 settings are wrong"):
        Movie.load(root=tmp_path, environ=environ, secret_of=lambda _name: None)
    assert not (tmp_path / "data").exists(), "a configuration that is refused makes nothing"
    assert Movie.check(root=tmp_path, environ=KEY, secret_of=lambda _name: None) == ()
    assert not (tmp_path / "data").exists(), "a report makes nothing"


def test_a_conditionally_required_value_is_required_while_the_condition_holds(tmp_path):
    assert loaded(tmp_path).speech.key is None
    with pytest.raises(ConfigurationError, match="ELEVENLABS_API_KEY not set, which is required while"):
        loaded(tmp_path, SPEECH_ENABLED="true")
    assert loaded(tmp_path, SPEECH_ENABLED="true", ELEVENLABS_API_KEY="key-of-mine").speech.enabled


def test_a_missing_optional_value_switches_its_feature_off(tmp_path):
    found = loaded(tmp_path)
    assert found.sentry_dsn is None
    assert "sentry_dsn" in found.missing


def test_a_group_of_variables_is_a_table(tmp_path):
    found = loaded(tmp_path, ELEVENLABS_VOICE_ENGINEER="pNIn", ELEVENLABS_VOICE_CAPTAIN_HALE="SOYH")
    assert found.speech.voices == {"engineer": "pNIn", "captain_hale": "SOYH"}
    assert str(found.origin("speech.voices")) == "2 variables ELEVENLABS_VOICE_*"
    assert str(loaded(tmp_path, ELEVENLABS_VOICE_WIZARD="x").origin("speech.voices")).endswith(
        "ELEVENLABS_VOICE_WIZARD"
    )


def test_secrets_come_from_the_backend_below_variables_and_are_shown_nowhere(tmp_path):
    found = Movie.load(root=tmp_path, environ={}, secret_of={"ANTHROPIC_API_KEY": Secret("from-the-store")}.get)
    assert found.anthropic_api_key.reveal() == "from-the-store"
    assert str(found.origin("anthropic_api_key")) == "secret ANTHROPIC_API_KEY"
    found = Movie.load(root=tmp_path, environ=KEY, secret_of={"ANTHROPIC_API_KEY": Secret("from-the-store")}.get)
    assert found.anthropic_api_key.reveal() == KEY["ANTHROPIC_API_KEY"]
    shown = f"{found!r} {found} {found.model_dump()} {found.model_dump_json()} {found.rows()} {found.env_example()}"
    assert KEY["ANTHROPIC_API_KEY"] not in shown


def test_a_backend_that_fails_is_told_with_everything_else(tmp_path):
    def secret_of(_name):
        raise Unavailable("the store does not answer", why="Timeout.")

    assert "the store does not answer" in str(Movie.check(root=tmp_path, environ={}, secret_of=secret_of)[0])


def test_paths_are_seen_from_the_root_verified_and_made_when_asked(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "art").mkdir()
    found = loaded(tmp_path, ASSETS_PATH="art")
    assert (found.assets_path, found.data) == (tmp_path / "art", tmp_path / "data")
    assert found.data.is_dir()
    for environ, said in (
        ({"ASSETS_PATH": "none"}, "does not exist"),
        ({"ICON": "art"}, "no file that this user can read"),
        ({"DATA": "/proc/none/x"}, "cannot be made"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            loaded(tmp_path, **environ)


@pytest.mark.parametrize(
    ("environ", "said"),
    [({"DEBUG": "true"}, "debug mode is not allowed"), ({"CORS_ORIGINS": "*"}, "'*' is allowed in development only")],
)
def test_production_refuses_debug_and_everybody(tmp_path, environ, said):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, ENV="production", **environ)
    assert said in str(caught.value)
    assert loaded(tmp_path, **environ)


def test_debug_means_level_debug_unless_that_is_set(tmp_path):
    assert loaded(tmp_path, DEBUG="1").log_level == "DEBUG"
    assert loaded(tmp_path, DEBUG="1", LOG_LEVEL="warning").log_level == "WARNING"


def test_a_named_environment_feeds_its_profile(tmp_path, monkeypatch):
    values = {"cloud": {"WORKERS": "4"}, "codespaces": {"CORS_ORIGINS": "*"}}
    monkeypatch.setattr(module.profiles, "profile", lambda named, _environ: (named, values.get(named, {})))
    assert loaded(tmp_path, DGT_ENVIRONMENT="cloud").workers == 4
    assert loaded(tmp_path, ENV="cloud").workers == 1
    assert loaded(tmp_path, ENV="codespaces").cors_origins == ["*"]


def test_the_stage_that_the_keeper_gives_goes_before_the_plain_name(tmp_path):
    assert loaded(tmp_path, ROADWORTHY_ENV="staging", ENV="testing").environment == "staging"
    assert loaded(tmp_path, ROADWORTHY_ENV="staging", DGT_ENV="testing").environment == "testing"


def test_a_file_may_be_named_and_a_missing_one_means_the_defaults(tmp_path):
    write(tmp_path, "config/production.json", {"performance": {"target_fps": 25}, "rendering": {"x": 1}})
    write(tmp_path, "mine.toml", "[performance]\ntarget_fps = 24\n")
    assert loaded(tmp_path, "config/production.json").performance.target_fps == 25
    assert "rendering: is no setting" in str(loaded(tmp_path, "config/production.json").warnings[0])
    assert loaded(tmp_path, DGT_CONFIG="mine.toml").performance.target_fps == 24
    assert loaded(tmp_path, "none.json").performance.target_fps == 60
    assert loaded(tmp_path, ENV="production").performance.target_fps == 25


def test_the_example_lists_every_variable_and_is_read_back(tmp_path):
    text = Movie.env_example()
    for name in ("ANTHROPIC_API_KEY=", "# SENTRY_DSN=", "# TARGET_FPS=60", "# ELEVENLABS_VOICE_NAME="):
        assert f"\n{name}" in text
    write(tmp_path, ".env", text.replace("ANTHROPIC_API_KEY=", "ANTHROPIC_API_KEY=sk-1234567"))
    found = Movie.load(root=tmp_path, environ={}, secret_of=lambda _name: None)
    assert str(found.origin("anthropic_api_key")).startswith(".env:")


def test_a_reload_exchanges_all_or_nothing_and_tells_subscribers_afterwards(tmp_path):
    found, told = loaded(tmp_path), []
    end = found.subscribe(lambda now, names: told.append((names, now.workers, now.performance.target_fps)))
    assert found.reload() == ()
    write(tmp_path, "roadworthy.toml", "[app]\nworkers = 2\nperformance.target_fps = 30\n")
    assert set(found.reload()) == {"workers", "performance.target_fps"}
    assert told == [(("workers", "performance.target_fps"), 2, 30)]
    assert str(found.origin("workers")) == "roadworthy.toml:2"
    write(tmp_path, "roadworthy.toml", "[app]\nworkers = 3\nperformance.target_fps = 0\n")
    with pytest.raises(ConfigurationError):
        found.reload()
    assert (found.workers, found.performance.target_fps, len(told)) == (2, 30, 1)
    end()
    write(tmp_path, "roadworthy.toml", "[app]\nworkers = 4\n")
    assert found.reload() == ("workers", "performance.target_fps")
    assert (len(told), found.workers) == (1, 4)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.tuples(st.sampled_from([1, 2, 0, "x"]), st.sampled_from([30, 31, 0, 999])), max_size=4))
def test_no_invalid_reload_is_ever_partly_applied(tmp_path, values):
    write(tmp_path, "roadworthy.toml", "[app]\n")
    found = loaded(tmp_path)
    before = (found.workers, found.performance.target_fps)
    for workers, fps in values:
        write(tmp_path, "roadworthy.toml", f"[app]\nworkers = {json.dumps(workers)}\nperformance.target_fps = {fps}\n")
        if workers in {1, 2} and fps in {30, 31}:
            found.reload()
            before = (workers, fps)
        else:
            with pytest.raises(ConfigurationError):
                found.reload()
        assert (found.workers, found.performance.target_fps) == before


def test_the_agents_reload_reaches_settings_that_somebody_has(tmp_path):
    found = loaded(tmp_path)
    write(tmp_path, "roadworthy.toml", "[app]\nworkers = 2\n")
    mine = reloads.reloaders[-1]
    mine()
    assert found.workers == 2
    del found
    gc.collect()
    mine()
    assert mine not in reloads.reloaders


def test_who_listens_for_reloads_is_told_of_the_first(monkeypatch):
    monkeypatch.setattr(reloads, "reloaders", [])
    monkeypatch.setattr(reloads, "_used", [])
    told = []
    reloads.when_used(lambda: told.append(1))
    assert told == []
    reloads.add(print)
    assert told == [1]
    reloads.when_used(lambda: told.append(2))
    assert told == [1, 2]
    reloads.remove(print)
    reloads.remove(print)
    assert reloads.reloaders == []


def test_there_is_one_configuration_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_central", None)
    monkeypatch.chdir(tmp_path)
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ENV", raising=False)
    first = config.get_config()
    assert config.get_config() is first
    write(tmp_path, "config/production.json", {"log_level": "error"})
    assert config.initialize_config("config/production.json") is first
    assert first.log_level == "ERROR"
    assert first.reload() == ()
    mine = config.initialize_config(schema=Movie)
    assert config.get_config() is mine is config.initialize_config()
    assert isinstance(mine, Movie)


def test_names_of_the_package_are_lazy_and_others_are_none():
    assert set(config.__all__) <= set(dir(config))
    with pytest.raises(AttributeError):
        config.nothing  # noqa: B018 - the look is the test


def test_a_prefix_is_not_needed_and_shell_variables_are_no_settings(tmp_path):
    class Plain(Settings):
        path: str = "none"
        size: int = 1

    found = Plain.load(root=tmp_path, environ={"PATH": "/bin", "SIZE": "2"})
    assert (found.path, found.size) == ("none", 2)


def test_values_are_not_assigned(tmp_path):
    found = loaded(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        found.workers = 3


def test_secrets_come_from_the_store_that_the_given_environment_chooses(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRETS_BACKEND", "nowhere")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "MOVIE_TOKEN").write_text("from-the-folder")

    class Guarded(Settings):
        prefix = "MOVIE"
        token: Annotated[Secret, Env("MOVIE_TOKEN")]

    environ = {"SECRETS_BACKEND": "directory", "ROADWORTHY_SECRETS_DIRECTORY": str(folder)}
    made = Guarded.load(root=tmp_path, environ=environ)
    assert made.token.reveal() == "from-the-folder"
    assert Guarded.check(root=tmp_path, environ=environ) == ()
    assert Guarded.check(root=tmp_path, environ={"SECRETS_BACKEND": "env"}) != ()
