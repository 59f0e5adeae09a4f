"""``roadworthy trail``: by the state directory, for people and as JSON, and by its exit code."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from roadworthy import _clock
from roadworthy.cli.trail import trail as command
from roadworthy.config.places import make, places
from roadworthy.errors import EXIT_UNHEALTHY, NotFound, UsageError
from roadworthy.log import head as heads
from roadworthy.log import trail


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def state(home):
    folder = make(places("shop")).state
    now = _clock.wall()
    trail.append(
        folder, {"at": now - 7200, "actor": "alice", "act": "restart", "target": "shop", "result": {"ok": True}}
    )
    trail.append(
        folder,
        {
            "at": now, "actor": "bob", "act": "force", "target": "db", "reason": "maintenance", "old": "closed",
            "new": 7, "result": {"ok": True, "outcome": "held", "detail": "for 60 s"}, "severity": "WARNING",
            "data": {"x": "y" * 200},
        },
    )  # fmt: skip
    return folder


def ask(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.output


@pytest.mark.parametrize("words", [(), ("show",), ("shop",), ("shop", "show"), ("show", "shop"), ("--app", "shop")])
def test_records_are_shown_one_a_line(state, words):
    code, output = ask(*words)
    first, second = output.splitlines()
    assert (code, first.endswith("alice: restart shop · ok")) == (0, True)
    assert "bob: force db · held, for 60 s · closed -> 7 · (maintenance) · [WARNING]" in second


def test_records_may_be_chosen_and_are_json_for_machines(state):
    assert [json.loads(line)["act"] for line in ask("--json")[1].splitlines()] == ["restart", "force"]
    assert [json.loads(line)["act"] for line in ask("--json", "--since", "1h")[1].splitlines()] == ["force"]
    assert [json.loads(line)["act"] for line in ask("--json", "--act", "restart")[1].splitlines()] == ["restart"]
    assert [json.loads(line)["act"] for line in ask("--json", "-n", "1")[1].splitlines()] == ["force"]
    yesterday = datetime.fromtimestamp(_clock.wall() - 3600, UTC).isoformat()
    assert [json.loads(line)["act"] for line in ask("--json", "--since", yesterday)[1].splitlines()] == ["force"]


def test_a_result_that_is_a_word_is_shown_as_it_is(state):
    trail.append(state, {"actor": "carol", "act": "secrets.set", "target": "API_KEY", "result": "done"})
    assert ask("-n", "1")[1].endswith("carol: secrets.set API_KEY · done\n")


def test_what_somebody_put_into_the_file_cannot_move_the_cursor(state):
    with (state / trail.FILE).open("ab") as file:
        file.write(b'{"at": "x", "act": "\\u001b[2J\\n", "data": {"a": 1}}\n')
    line = ask()[1].splitlines()[-1]
    assert line.startswith("unknown  -: ")
    assert line.isprintable()


def test_a_whole_trail_is_said_to_be_whole_and_its_head_is_printed(state):
    head = heads.read(str(state))[1]
    code, output = ask("verify")
    assert code == 0
    assert "2 records in 1 file(s): whole" in output
    assert f"head 2: {head}" in output
    assert ask("verify", "shop", "--expect", head)[0] == 0
    assert json.loads(ask("verify", "--json")[1])["whole"] is True
    assert ask("verify", "--folder", str(state))[0] == 0
    assert ask("show", "--folder", str(state))[0] == 0


def test_a_broken_trail_exits_with_7_and_names_the_first_broken_link(state):
    path = state / trail.FILE
    path.write_text(path.read_text().replace("alice", "mallory"))
    code, output = ask("verify")
    assert code == EXIT_UNHEALTHY
    assert output.startswith("BROKEN at line 1 of audit.jsonl: changed")
    code, output = ask("verify", "--json")
    assert (code, json.loads(output)["broken"]["line"]) == (EXIT_UNHEALTHY, 1)
    (state / trail.HEAD).unlink()
    path.write_text('{"at": 1}\n')
    assert "nothing is known of changes" in ask("verify")[1]


def test_lines_that_are_in_no_chain_or_were_cut_off_are_counted(home):
    folder = make(places("shop")).state
    (folder / trail.FILE).write_text('{"at": 1}\n')
    trail.append(folder, {})
    with (folder / trail.FILE).open("ab") as file:
        file.write(b"half")
    trail.append(folder, {})
    output = ask("verify")[1]
    assert "1 line(s) of an older version" in output
    assert "1 line(s) were cut off" in output


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (("shop", "shelf"), UsageError, "not understood"),
        (("show", "verify"), UsageError, "not understood"),
        (("--expect", "0" * 64), UsageError, "for verify"),
        (("verify", "--expect", "x"), UsageError, "no hash"),
        (("--since", "yesterday"), UsageError, "no time"),
        (("other",), NotFound, "other has no audit trail"),
        (("../x",), UsageError, "cannot be an application's name"),
        (("--folder", "nowhere"), NotFound, "no audit trail"),
        (("verify", "--folder", "nowhere"), NotFound, "no audit trail"),
    ],
)
def test_what_cannot_be_is_one_clear_error(state, words, error, match):
    with pytest.raises(error, match=match):
        ask(*words)


def test_none_and_several_are_told_apart(home):
    with pytest.raises(NotFound, match="there is no audit trail"):
        ask()
    with pytest.raises(NotFound, match="shop has no audit trail"):
        ask("shop")
    for name in ("shop", "web"):
        trail.append(make(places(name)).state, {})
    with pytest.raises(UsageError, match="which application"):
        ask()
