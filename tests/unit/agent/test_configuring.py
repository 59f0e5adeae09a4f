"""Settings that change while a program runs: all or nothing, saved first, ended in time, kept over a crash."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy import _clock
from roadworthy.agent import changes
from roadworthy.agent.changes import Changes
from roadworthy.agent.configuring import FILE, Configuring
from roadworthy.cli import reconfigure
from roadworthy.cli.configured import configuration, recorded, run_settings
from roadworthy.config.layers import Layer
from roadworthy.config.origin import Candidate, Origin
from roadworthy.config.values import RunSettings
from roadworthy.errors import ConfigurationError, Exhausted, NotFound, Unavailable, UsageError
from support.crash_points import crash_points

COMMAND = ("prog",)


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in ("ENV", "DEBUG", "PORT", "WORKERS", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


class House:
    """A folder with a configuration, the run directory, and what was applied, audited and noted."""

    def __init__(self, root, text="", options=None, *, fails=False):
        self.root, self.run = root / "app", root / "run"
        self.root.mkdir(exist_ok=True)
        self.run.mkdir(exist_ok=True)
        self.applied, self.audited, self.noted, self.reloads = [], [], [], []
        self.fails = fails
        self.layer = Layer("flag", options or {})
        self.write(text)

    def write(self, text):
        (self.root / "roadworthy.toml").write_text(text)

    def started(self):
        loaded = configuration(self.root, self.layer).require()
        (self.run / "config.json").write_text(recorded(loaded, self.layer))
        self.first = run_settings(loaded, COMMAND)
        return self.agent()

    def agent(self):
        return Configuring(
            self.first, self.run, validate=self.validate, apply=self.apply, audit=self.audit,
            note=lambda text, level: self.noted.append((level, text)), reloaded=lambda: self.reloads.append(1),
        )  # fmt: skip

    async def validate(self, asked):
        return json.loads(json.dumps(reconfigure.answer(json.loads(json.dumps(asked)))))

    def apply(self, settings):
        if self.fails and self.applied:
            self.fails = False
            raise Exhausted("the control page is full")
        self.applied.append(settings)

    def audit(self, record):
        self.audited.append(record)
        return True


def act(made, verb, **asked):
    if "for_" in asked:
        asked["for"] = asked.pop("for_")
    return asyncio.run(getattr(made, verb)({"actor": "somebody", **asked}))


def row(made, key):
    return next(one for one in made.shown({})["settings"] if one["key"] == key)


def test_a_live_setting_is_in_force_at_once_and_audited_with_old_and_new(tmp_path):
    house = House(tmp_path)
    made = house.started()
    done = act(made, "set", key="grace", value="5s", reason="why")
    assert done["changed"] == [{"key": "grace", "old": 10.0, "new": 5.0, "origin": "set grace"}]
    assert house.applied[-1].stop_grace == made.settings.stop_grace == 5.0
    (record,) = house.audited
    assert (record["act"], record["target"], record["old"], record["new"]) == ("config set", "grace", 10.0, 5.0)
    assert (record["actor"], record["reason"], record["source"]) == ("somebody", "why", "set grace")
    assert row(made, "grace")["origin"] == "set grace"


@pytest.mark.parametrize(
    ("key", "value", "error", "said"),
    [
        ("grace", "soon", ConfigurationError, "is no duration"),
        ("restart.backoff_first", "90s", ConfigurationError, "more than restart.backoff_most"),
        ("workers", "3", UsageError, "needs a restart"),
        ("grce", "3", NotFound, "no setting"),
        ("grace", None, UsageError, "missing"),
        ("grace", "x" * 5000, UsageError, "too long"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path, key, value, error, said):
    house = House(tmp_path)
    made = house.started()
    with pytest.raises(error, match=said):
        act(made, "set", key=key, value=value)
    assert (house.applied, house.audited, made.settings) == ([], [], house.first)
    assert not (house.run / FILE).exists()


def test_a_timed_change_reverts_by_itself_also_in_the_next_agent(tmp_path, monkeypatch):
    house = House(tmp_path, 'grace = "7s"')
    made = house.started()
    act(made, "set", key="grace", value="5s", for_=60)
    until = row(made, "grace")["until"]
    assert made.next_end() == until
    later = house.agent()
    assert later.settings.stop_grace == 5.0
    later.tick(until - 1)
    assert later.settings.stop_grace == 5.0
    later.tick(until)
    assert later.settings.stop_grace == 7.0
    assert row(later, "grace")["origin"] == "roadworthy.toml:1"
    assert house.audited[-1]["act"] == "config revert"
    assert (house.audited[-1]["old"], house.audited[-1]["new"]) == (5.0, 7.0)
    assert later.next_end() is None
    assert house.agent().settings.stop_grace == 7.0


def test_changes_for_a_while_lie_on_top_of_those_for_good_and_of_reloads(tmp_path):
    house = House(tmp_path)
    made = house.started()
    act(made, "set", key="hang.after", value="3s", for_=60)
    act(made, "set", key="grace", value="5s")
    house.write('grace = "8s"\nhang.after = "9s"\nready_timeout = "20s"\n')
    done = act(made, "reload")
    assert [one["key"] for one in done["changed"]] == ["ready_timeout"]
    assert (made.settings.stop_grace, made.settings.hang.after, made.settings.ready_timeout) == (5.0, 3.0, 20.0)
    made.tick(_clock.wall() + 61)
    assert made.settings.hang.after == 9.0
    assert act(made, "unset", key="grace")["changed"][0]["new"] == 8.0
    with pytest.raises(NotFound, match="not set by hand"):
        act(made, "unset", key="grace")


def test_a_change_for_good_ends_one_for_a_while(tmp_path):
    house = House(tmp_path)
    made = house.started()
    act(made, "set", key="grace", value="3s", for_=60)
    act(made, "set", key="hang.after", value="3s", for_=60)
    act(made, "set", key="grace", value="4s")
    made.tick(_clock.wall() + 61)
    assert (made.settings.stop_grace, made.settings.hang.after) == (4.0, 10.0)


def test_unset_ends_a_change_for_a_while_too(tmp_path):
    made = House(tmp_path).started()
    act(made, "set", key="grace", value="3s", for_=60)
    act(made, "set", key="hang.after", value="3s", for_=60)
    act(made, "unset", key="grace")
    assert (made.settings.stop_grace, made.settings.hang.after) == (10.0, 3.0)


def test_a_reload_names_what_needs_a_restart_and_tells_the_program(tmp_path):
    house = House(tmp_path)
    made = house.started()
    house.write('workers = 3\ngrace = "4s"\nmonitoring.sampling.error_sample_rate = 0.5\n')
    done = act(made, "reload")
    assert done["needs_restart"] == ["workers"]
    assert {one["key"] for one in done["changed"]} == {"grace", "monitoring.sampling.error_sample_rate"}
    assert "some errors will be counted and not kept" in done["warnings"][0]
    assert (made.settings.workers, made.settings.stop_grace, house.reloads) == (1, 4.0, [1])
    assert row(made, "workers")["value"] == 1
    assert act(made, "reload")["needs_restart"] == ["workers"]
    house.write('grace = "4s"\nmonitoring.sampling.error_sample_rate = 0.5\n')
    assert "nothing is different" in act(house.agent(), "reload")["what"]


def test_a_bad_reload_is_refused_as_a_whole(tmp_path):
    house = House(tmp_path)
    made = house.started()
    house.write('grace = "4s"\nhang.after = "never"\nwrkers = 2\n')
    with pytest.raises(ConfigurationError, match="2 settings are wrong"):
        act(made, "reload")
    assert (made.settings, house.reloads, house.applied) == (house.first, [], [])


def test_a_reload_that_does_not_fit_what_is_set_for_a_while_is_refused(tmp_path):
    house = House(tmp_path)
    made = house.started()
    act(made, "set", key="restart.backoff_first", value="20s", for_=60)
    house.write('restart.backoff_most = "15s"\n')
    with pytest.raises(ConfigurationError, match="is more than"):
        act(made, "reload")
    assert made.settings.restart.backoff_most == 30.0


def test_options_of_the_start_go_before_what_a_reload_finds(tmp_path):
    house = House(tmp_path, "", {"grace": Candidate(2.0, Origin("flag", "--grace"))})
    made = house.started()
    house.write('grace = "9s"\n')
    assert act(made, "reload")["changed"] == []
    assert (made.settings.stop_grace, row(made, "grace")["origin"]) == (2.0, "--grace")


def test_when_a_change_cannot_be_taken_over_everything_is_as_before(tmp_path):
    house = House(tmp_path, fails=True)
    made = house.started()
    act(made, "set", key="grace", value="5s")
    with pytest.raises(Exhausted):
        act(made, "set", key="hang.after", value="3s")
    assert (made.settings.hang.after, made.settings.stop_grace) == (10.0, 5.0)
    assert house.applied[-1] == made.settings
    assert house.agent().settings == made.settings


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "leaves": {"workers": 2}}'])
def test_a_file_that_cannot_be_read_is_told_of_and_the_first_settings_count(tmp_path, text):
    house = House(tmp_path)
    house.started()
    (house.run / FILE).write_text(text)
    made = house.agent()
    assert made.settings == house.first
    assert len(made.notices) == 1


def test_changes_of_another_version_are_told_of(tmp_path):
    house = House(tmp_path)
    made = house.started()
    act(made, "set", key="grace", value="5s")
    raw = json.loads((house.run / FILE).read_text())
    del raw["leaves"]["report_every"]
    (house.run / FILE).write_text(json.dumps(raw))
    assert "another version" in house.agent().notices[0]


def test_an_attached_agent_says_that_it_does_not_know_the_settings(tmp_path):
    house = House(tmp_path)
    house.started()
    (house.run / "config.json").write_text("no JSON")
    made = house.agent()
    with pytest.raises(Unavailable, match="not known"):
        act(made, "reload")
    with pytest.raises(NotFound):
        act(made, "set", key="grace", value="1s")


def test_it_is_told_where_the_settings_came_from(tmp_path):
    house = House(tmp_path)
    assert house.started().told == "settings come from roadworthy.toml"
    (house.root / "roadworthy.toml").unlink()
    assert house.started().told == "no configuration file: defaults count"
    (house.run / "config.json").unlink()
    assert "attached" in house.agent().told


def test_more_changes_than_are_kept_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("roadworthy.agent.configuring.MOST_SET", 1)
    made = House(tmp_path).started()
    act(made, "set", key="grace", value="1s")
    act(made, "set", key="grace", value="2s")
    with pytest.raises(UsageError, match="more than 1"):
        act(made, "set", key="hang.after", value="1s")


def test_every_crash_while_a_change_is_saved_leaves_the_old_or_the_new_settings(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "c").mkdir()
    house = House(tmp_path / "first")
    made = house.started()
    act(made, "set", key="grace", value="5s")
    old = (house.run / FILE).read_text()
    record = (house.run / "config.json").read_text()
    answers = asyncio.run(house.validate(asked(house, {"grace": "6s"})))

    def prepare(folder):
        (folder / "config.json").write_text(record)
        (folder / FILE).write_text(old)

    def agent(folder):
        async def validate(_asked):
            return answers

        return Configuring(
            house.first, folder, validate=validate, apply=lambda _settings: None, audit=lambda _record: True,
            note=lambda _text, _level: None,
        )  # fmt: skip

    seen = set()
    for crash in crash_points(
        lambda folder: act(agent(folder), "set", key="grace", value="6s"), tmp_path / "c", prepare
    ):
        found = agent(crash.folder)
        assert found.notices == [], crash
        seen.add(found.settings.stop_grace)
        assert found.settings.stop_grace in {5.0, 6.0}, crash
        assert not crash.finished or found.settings.stop_grace == 6.0
    assert seen == {5.0, 6.0}


def asked(house, given):
    return {"root": str(house.root), "options": {}, "set": given, "command": list(COMMAND)}


WORDS = st.sampled_from(["1s", "3s", "soon", "", "-1", "0", "0.5", "2", "true", "debug", "restart", "auto", "99h"])
KEYS = st.sampled_from(
    ["grace", "hang.action", "log_level", "restart.backoff_first", "restart.backoff_most", "restart.jitter", "debug",
     "monitoring.enabled", "monitoring.thresholds.cpu_percent.warning", "workers"]
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(acts=st.lists(st.tuples(KEYS, WORDS, st.sampled_from([None, 60])), max_size=4))
def test_no_invalid_change_is_ever_partly_applied(tmp_path, acts):
    """Each act is in force as a whole, for the next agent too, or changed nothing; what is in force is always valid."""
    house = House(tmp_path)
    (house.run / FILE).unlink(missing_ok=True)
    made = house.started()
    for key, value, seconds in acts:
        before = made.settings, made.shown({})
        try:
            act(made, "set", key=key, value=value, **({"for_": seconds} if seconds else {}))
        except (ConfigurationError, UsageError):
            assert (made.settings, made.shown({})) == before
        assert house.agent().settings == made.settings
        whole = reconfigure.answer(asked(house, made._state.given()))
        assert whole["ok"] is True
        assert run_settings_of(whole) == made.settings


def run_settings_of(whole):
    made = RunSettings.from_json(json.dumps(whole["settings"]))
    return changes.with_leaves(made, changes.leaves(made))


def test_parts_of_the_monitoring_are_switched_while_it_runs(tmp_path):
    made = House(tmp_path).started()
    act(made, "set", key="monitoring.features.metrics", value="false")
    assert (made.settings.sample_performance, made.settings.sample_errors, made.settings.thresholds.on) == (0, 1, True)
    act(made, "set", key="monitoring.enabled", value="false")
    assert (made.settings.sample_performance, made.settings.sample_errors, made.settings.thresholds.on) == (0, 0, False)
    act(made, "unset", key="monitoring.features.metrics")
    act(made, "unset", key="monitoring.enabled")
    assert (made.settings.sample_performance, made.settings.sample_errors, made.settings.thresholds.on) == (1, 1, True)


def test_leaves_are_the_values_that_may_change_and_nothing_else():
    base = RunSettings("a", COMMAND, "/")
    assert changes.with_leaves(base, changes.leaves(base)) == base
    with pytest.raises(TypeError):
        changes.with_leaves(base, {"workers": 2})
    with pytest.raises(TypeError):
        changes.with_leaves(base, {"hang.nothing": 2})
    state = Changes.first(base, [])
    assert Changes.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert asdict(replace(base, stop_grace=1.0))["stop_grace"] == 1.0


def test_what_is_wrong_is_the_answer_of_the_process_with_the_schema(tmp_path):
    (tmp_path / "roadworthy.toml").write_text("wrkers = 1\n")
    told = reconfigure.answer({"root": str(tmp_path), "options": {}, "set": {}, "command": ["x"]})
    assert (told["ok"], told["what"], told["hint"]) == (False, "wrkers: is no setting", "Did you mean workers?")


def test_the_process_with_the_schema_is_a_process(tmp_path):
    request = {"root": str(tmp_path), "options": {}, "set": {"grace": "3s"}, "command": ["x"]}
    told = asyncio.run(reconfigure.validate(request))
    assert (told["ok"], told["settings"]["stop_grace"]) == (True, 3.0)


def test_a_process_that_gives_no_answer_is_an_error_that_says_so(monkeypatch):
    with pytest.raises(Unavailable, match="could not be checked"):
        asyncio.run(reconfigure.validate({}))
    monkeypatch.setattr(reconfigure, "TIMEOUT", 0.0)
    with pytest.raises(Unavailable, match="longer than"):
        asyncio.run(reconfigure.validate({}))
