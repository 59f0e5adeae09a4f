"""Emergency state is whole or not there; what was damaged is a clear error, and the one before is kept."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.errors import Unavailable, UsageError
from roadworthy.resilience import outward
from roadworthy.resilience.recover import emergency
from roadworthy.resilience.recover.emergency import Emergency, EmergencyStateBroken, load, save
from support.resilience_outside import Outside

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture(autouse=True)
def nobody_listens():
    yield
    outward.attach(None)


def test_what_was_saved_is_loaded_again(tmp_path):
    path = save({"turn": 10, "units": ["a", None, 1.5]}, str(tmp_path), "out of memory")
    found = load(str(tmp_path))
    assert found["state"] == {"turn": 10, "units": ["a", None, 1.5]}
    assert found["reason"] == "out of memory"
    assert found["at"] > 1e9
    assert found["path"] == path
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_nothing_saved_is_nothing(tmp_path):
    assert load(str(tmp_path)) is None
    assert load(str(tmp_path / "not there")) is None


def test_the_one_before_is_kept(tmp_path):
    for turn in (1, 2, 3):
        save({"turn": turn}, str(tmp_path))
    assert load(str(tmp_path))["state"] == {"turn": 3}
    assert load(str(tmp_path), previous=True)["state"] == {"turn": 2}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["emergency.json", "emergency.previous.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-3],
        lambda _: b"",
        lambda _: b"not json\n{}\n",
        lambda data: data.replace(b'"turn"', b'"tern"'),
        lambda data: b"\0" * len(data),
        lambda data: data.replace(b'"format": 1', b'"format": 9'),
        lambda data: data + b"more",
    ],
)
def test_a_damaged_file_is_a_clear_error_and_never_half_a_state(tmp_path, damage):
    save({"turn": 1}, str(tmp_path))
    save({"turn": 2}, str(tmp_path))
    path = tmp_path / emergency.NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EmergencyStateBroken, match="damaged") as broken:
        load(str(tmp_path))
    assert "previous=True" in broken.value.hint
    assert load(str(tmp_path), previous=True)["state"] == {"turn": 1}
    save({"turn": 3}, str(tmp_path))  # the damaged one does not take the place of the whole one
    assert load(str(tmp_path))["state"] == {"turn": 3}
    assert load(str(tmp_path), previous=True)["state"] == {"turn": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(at=st.integers(0, 400), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(tmp_path, at, bit):
    save({"turn": 1, "units": list(range(20))}, str(tmp_path))
    path = tmp_path / emergency.NAME
    data = bytearray(path.read_bytes())
    body = data.index(b"\n") + 1
    at = body + at % (len(data) - body - 1)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(EmergencyStateBroken):
        load(str(tmp_path))


def test_with_the_newest_missing_the_one_before_is_loaded(tmp_path):
    save({"turn": 1}, str(tmp_path))
    save({"turn": 2}, str(tmp_path))
    (tmp_path / emergency.NAME).unlink()
    assert load(str(tmp_path))["state"] == {"turn": 1}


def test_when_the_disk_is_full_the_old_state_stays_and_nothing_is_left_over(tmp_path, monkeypatch):
    save({"turn": 1}, str(tmp_path))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable, match="could not be saved"):
        save({"turn": 2}, str(tmp_path))
    monkeypatch.undo()
    assert load(str(tmp_path))["state"] == {"turn": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["emergency.json"]


def test_a_write_that_takes_only_part_is_continued(tmp_path, monkeypatch):
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really(descriptor, bytes(data)[:7]))
    save({"turn": 1}, str(tmp_path))
    assert load(str(tmp_path))["state"] == {"turn": 1}


def test_a_link_planted_in_its_place_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = tmp_path / "state"
    place.mkdir()
    (place / emergency.NAME).symlink_to(victim)
    with pytest.raises(Unavailable):
        load(str(place))
    save({"turn": 1}, str(place))
    assert victim.read_text() == "precious"
    assert load(str(place))["state"] == {"turn": 1}


@pytest.mark.parametrize("state", [object(), {"x": {1, 2}}, float("nan"), [b"bytes"]])
def test_what_is_no_plain_data_is_refused_and_the_old_state_stays(tmp_path, state):
    save({"turn": 1}, str(tmp_path))
    with pytest.raises(UsageError, match="plain data"):
        save(state, str(tmp_path))
    assert load(str(tmp_path))["state"] == {"turn": 1}


def test_killed_in_the_middle_of_saving_there_is_a_whole_state(tmp_path):
    save({"turn": 1}, str(tmp_path))
    program = """
        import os, signal, sys
        from roadworthy.resilience.recover import emergency
        calls = int(sys.argv[2])
        def killed(name):
            really = getattr(os, name)
            def call(*args, **kwargs):
                global calls
                calls -= 1
                if calls == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return really(*args, **kwargs)
            setattr(os, name, call)
        for name in ("open", "write", "fsync", "link", "replace", "close"):
            killed(name)
        emergency.save({"turn": 2, "much": "x" * 100000}, sys.argv[1])
        print("saved")
    """
    ended = []
    for calls in range(1, 30):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(calls)],
            capture_output=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        assert load(str(tmp_path))["state"]["turn"] in {1, 2}
        assert emergency.whole(str(tmp_path / emergency.NAME))
        ended.append(done.returncode)
        if done.returncode == 0:
            break
    assert -9 in ended
    assert ended[-1] == 0, "it was never let through to its end"


# -- the functions that give the state


def test_the_functions_are_asked_and_loaded_by_name(tmp_path):
    made = Emergency()
    made.register(lambda: {"turn": 7}, str(tmp_path))
    made.register(lambda: [1, 2], str(tmp_path), "scores")
    assert made.save("why", 100.0) == [str(tmp_path / emergency.NAME)]
    assert made.load(str(tmp_path))["state"] == {"turn": 7}
    assert made.load(str(tmp_path), name="scores")["state"] == [1, 2]
    assert made.load(str(tmp_path), name="nobody") is None


def test_a_function_that_fails_does_not_keep_the_others_from_being_saved(tmp_path):
    made = Emergency()
    made.register(lambda: 1 / 0, str(tmp_path), "broken")
    made.register(lambda: {"turn": 7}, str(tmp_path))
    assert made.save("why", 100.0)
    assert made.failed == 1
    assert "ZeroDivisionError" in made.last_error
    assert made.load(str(tmp_path))["state"] == {"turn": 7}


def test_what_cannot_be_saved_is_counted_and_never_raises(tmp_path):
    (tmp_path / "file").write_text("in the way")
    made = Emergency()
    made.register(dict, str(tmp_path / "file" / "below"))
    assert made.save("why", 100.0) == []
    assert (made.saved, made.failed) == (0, 1)


def test_a_flood_of_critical_failures_is_saved_once_in_five_seconds(tmp_path):
    asked = []
    made = Emergency()
    made.register(lambda: asked.append(1) or len(asked), str(tmp_path))
    for now in (100.0, 101.0, 104.9, 105.0, 106.0):
        made.save("why", now)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({"STATE_DIRECTORY": "/var/lib/app:/var/lib/other"}, "/var/lib/app"),
        ({"XDG_STATE_HOME": "/s"}, "/s/roadworthy/"),
    ],
)
def test_without_a_place_it_is_where_state_belongs(monkeypatch, env, wanted):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    assert emergency.directory().startswith(wanted)
    assert emergency.directory("/given") == "/given"
    outward.attach(Outside(state="/told"))
    assert emergency.directory() == "/told"


def test_what_is_no_function_is_refused():
    with pytest.raises(UsageError):
        Emergency().register({"turn": 7})
