"""The operator's settings for sampling, checks and reports, and the commands that repeat."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from roadworthy.cli import configured, report, settings
from roadworthy.config.load import load
from roadworthy.config.values import RunSettings
from roadworthy.errors import UsageError


def test_sampled_errors_are_warned_about(tmp_path, capsys):
    configured.told(load(tmp_path, {}))
    assert capsys.readouterr().err == ""
    configured.told(load(tmp_path, {"ROADWORTHY_SAMPLE_ERRORS": "0.5"}).require())
    assert "some errors will be counted and not kept" in capsys.readouterr().err


def test_checks_run_at_the_operators_interval_but_not_all_the_time():
    assert settings.check_interval("10s") == 10.0
    assert settings.check_setting("env=env://HOME", 10.0).every == 10.0
    with pytest.raises(UsageError, match="--check-every"):
        settings.check_interval("100ms")


def test_the_settings_survive_their_file():
    made = RunSettings("a", ("x",), "/", data_dirs=("/data",), sample_performance=0.5, report_every=60.0)
    assert RunSettings.from_json(made.to_json()) == made


def test_what_repeats_keeps_to_its_period_until_it_is_interrupted(monkeypatch):
    now = [100.0]
    runs = []

    def sleep(seconds):
        now[0] += seconds

    # Only for the command: the thread of our own runtime, which may be in this process, has the real one.
    monkeypatch.setattr(report, "_clock", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))

    def act():
        runs.append(now[0])
        now[0] += 2.0
        if len(runs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.repeat(act, "10s")
    assert runs == [100.0, 110.0, 120.0]


def test_without_a_period_it_is_done_once():
    runs = []
    assert report.repeat(lambda: runs.append(1), None) == 0
    assert runs == [1]


def test_a_period_that_is_too_short_is_refused():
    with pytest.raises(UsageError, match="--every"):
        report.repeat(lambda: None, "100ms")


@pytest.mark.parametrize("took", [0.0, 0.4, 1.0, 7.3])
def test_what_is_repeated_waits_the_rest_of_its_period_and_never_a_negative_time(monkeypatch, took):
    now, slept, done = [100.0], [], []

    def act():
        now[0] += took
        done.append(now[0])
        if len(done) == 3:
            raise KeyboardInterrupt

    def monotonic():
        now[0] += 0.001  # time goes on between two looks
        return now[0]

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(report, "_clock", SimpleNamespace(monotonic=monotonic, sleep=sleep))
    with pytest.raises(KeyboardInterrupt):
        report.repeat(act, "1s")
    assert len(slept) == 2
    assert all(seconds >= 0 for seconds in slept)
    assert slept[0] == pytest.approx(max(0.0, 1.0 - took), abs=0.01)
