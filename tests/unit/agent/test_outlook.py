"""The look once a minute: sizes of directories, suspicions, and what is said when the history cannot be read."""

from __future__ import annotations

import asyncio
import os

import pytest

from roadworthy.agent import probes
from roadworthy.agent.baselines import Baselines
from roadworthy.agent.outlook import EVERY, Outlook, size
from roadworthy.config.values import Thresholds
from roadworthy.errors import Unavailable
from roadworthy.types import Overhead, Status
from roadworthy.watch.baseline import take
from unit.view.snapshots import NOW, quiet


def past(**figures):
    return lambda names, *_rest: {name: figures.get(name.replace(".", "_"), ()) for name in names}


async def finished(outlook):
    await asyncio.wait({outlook._task}, timeout=10)


def test_a_directory_is_as_large_as_its_files_and_links_are_not_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b").write_bytes(b"x" * 500)
    (tmp_path / "root").symlink_to("/")
    assert size(str(tmp_path)) == 1500.0


def test_what_our_own_check_just_writes_is_not_counted(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    sizes = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (sizes.append(size(str(tmp_path))), sync(file)))
    assert probes.writable(tmp_path).status is Status.OK
    assert sizes == [1000.0]


def test_a_directory_that_is_not_there_has_no_size(tmp_path):
    assert size(str(tmp_path / "no")) is None


def test_what_a_look_found_is_told_from_the_next_tick_on(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    rising = [(NOW - 3600 + 60 * minute, 1e8 + 1e6 * minute) for minute in range(61)]
    outlook = Outlook(past(roadworthy_agent_rss=rising), [str(tmp_path)])

    async def look():
        outlook.tick(0.0, quiet())
        await finished(outlook)
        assert outlook.findings() == ()
        outlook.tick(1.0, quiet())

    asyncio.run(look())
    (finding,) = outlook.findings()
    assert finding.subject == "roadworthy's own memory"
    figures = outlook.figures(Overhead(agent_rss=40))
    assert figures == {
        f"data.bytes{{path={tmp_path}}}": 10.0,
        "roadworthy.agent_rss": 40,
        "roadworthy.keeper_rss": None,
    }


def test_a_program_is_judged_only_by_what_its_present_process_did():
    before = [(NOW - 7200 + 60 * minute, 1e8 + 1e6 * minute) for minute in range(60)]
    outlook = Outlook(past(app_rss=before), ())
    assert outlook.look(quiet()).findings == ()


def test_a_history_that_cannot_be_read_is_told_and_tried_again():
    answers = [Unavailable("the history is locked"), {}]

    def query(*_asked):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    outlook = Outlook(query, ())

    async def look():
        outlook.tick(0.0, quiet())
        await finished(outlook)
        outlook.tick(1.0, quiet())
        with pytest.raises(Unavailable, match="cannot be judged"):
            outlook.verify()
        outlook.tick(EVERY, quiet())
        await finished(outlook)
        outlook.tick(EVERY + 1, quiet())
        outlook.verify()

    asyncio.run(look())


def test_a_baseline_is_kept_and_a_broken_file_is_told(tmp_path):
    kept = Baselines(tmp_path)
    assert kept.load() is None
    baseline = take({"a": [(float(at), 1.0) for at in range(10)]}, 0.0, 10.0)
    kept.save(baseline)
    assert kept.load() == baseline
    (tmp_path / "baseline.json").write_text("[]")
    with pytest.raises(Unavailable, match="cannot be read"):
        kept.load()


@pytest.mark.parametrize(
    ("thresholds", "subjects"),
    [
        (Thresholds(), set()),
        (Thresholds(cpu_warning=1.0, memory_warning=1.0), {"program CPU", "worker memory"}),
        (Thresholds(cpu_warning=1.0, memory_warning=1.0, on=False), set()),
    ],
)
def test_thresholds_are_those_of_the_settings(thresholds, subjects):
    snapshot = quiet()
    assert snapshot.system.cpus
    assert any(worker.resources.rss for worker in snapshot.workers)
    busy = [(NOW - 360 + 60 * minute, 4.0 * snapshot.system.cpus) for minute in range(7)]
    outlook = Outlook(past(app_cpu_percent=busy), [])
    outlook.thresholds = thresholds
    assert {one.subject for one in outlook.look(snapshot).findings} == subjects
