"""Where things live, and what is refused there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from roadworthy.config import places
from roadworthy.errors import Exhausted, Refused, Unavailable, UsageError


@pytest.mark.parametrize("name", ["web", "web-2", "a", "A.b_c-1", "x" * 64])
def test_a_plain_name_is_taken(name):
    assert places.check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../etc", "-x", "x" * 65, "a b", "a\n", "é", "a\x00b"])
def test_a_name_that_could_leave_the_folder_or_hide_is_refused_and_the_origin_is_named(name):
    with pytest.raises(UsageError, match="cannot be an application's name") as caught:
        places.check_name(name, "the variable ROADWORTHY_APP")
    assert repr(name) in caught.value.what
    assert "ROADWORTHY_APP" in caught.value.why
    assert caught.value.hint


def test_one_variable_puts_everything_below_one_folder(tmp_path):
    found = places.places("web", {"ROADWORTHY_HOME": str(tmp_path)})
    assert found == places.Places("web", tmp_path / "arena/web", tmp_path / "run/web", tmp_path / "state/web")


def test_a_relative_home_is_made_absolute_because_the_program_may_change_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = places.places("web", {"ROADWORTHY_HOME": "here"})
    assert found == places.Places(
        "web", tmp_path / "here/arena/web", tmp_path / "here/run/web", tmp_path / "here/state/web"
    )


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR", "HOME"])
def test_a_relative_directory_of_the_environment_is_ignored(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    found = places.places("web", {name: "relative"})
    assert all(path.is_absolute() and tmp_path not in path.parents for path in (found.arena, found.run, found.state))


def test_the_state_directory_of_systemd_wins_over_the_home_directory(tmp_path):
    env = {"STATE_DIRECTORY": f"{tmp_path}/one:{tmp_path}/two", "HOME": "/nowhere"}
    assert places.state_root(env, "web") == tmp_path / "one/web"


def test_the_runtime_directory_of_systemd_wins_over_the_users(tmp_path):
    env = {"RUNTIME_DIRECTORY": f"{tmp_path}/one:{tmp_path}/two", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert places.places("web", env).run == tmp_path / "one/web"


def test_the_state_home_of_the_user_is_respected(tmp_path):
    assert places.state_root({"XDG_STATE_HOME": str(tmp_path)}, "web") == tmp_path / "roadworthy/web"


def test_without_any_variable_the_state_lives_below_home():
    assert places.state_root({"HOME": "/home/ann"}, "web") == Path("/home/ann/.local/state/roadworthy/web")


def test_an_unwritable_runtime_directory_is_passed_over(tmp_path):
    assert (
        places.run_root({"XDG_RUNTIME_DIR": str(tmp_path / "missing"), "TMPDIR": str(tmp_path)})
        != tmp_path / "missing/roadworthy"
    )


def test_a_shared_memory_too_small_for_arenas_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_big_enough", lambda path: not str(path).startswith("/dev/shm"))
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert places.arena_root(env) == tmp_path / "roadworthy/.arena"


def test_when_every_tmpfs_is_too_small_arenas_live_in_the_state_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_big_enough", lambda _path: False)
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert places.arena_root(env) == tmp_path / "state/roadworthy/.arena"


def test_made_directories_are_for_their_owner_only(tmp_path):
    made = places.make(places.places("web", {"ROADWORTHY_HOME": str(tmp_path)}))
    for path in (made.arena, made.run, made.state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_of_ours_that_others_may_enter_is_closed_to_them(tmp_path):
    path = tmp_path / "open"
    path.mkdir(mode=0o755)
    places.private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Refused, match="not a plain directory"):
        places.private(tmp_path / "link")


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="not a plain directory"):
        places.private(tmp_path / "file")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, 12345, 12345)
    with pytest.raises(Refused, match="belongs to user 12345"):
        places.private(path)


@pytest.mark.parametrize(("number", "kind"), [(28, Exhausted), (122, Exhausted), (30, Unavailable), (13, Unavailable)])
def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path, monkeypatch, number, kind):
    def fail(_self, *_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(kind, match="cannot make the directory") as caught:
        places.private(tmp_path / "x")
    assert str(number) in caught.value.why
    assert "ROADWORTHY_HOME" in caught.value.hint


@pytest.mark.parametrize(("free_mib", "workers", "full"), [(4, 1, False), (3, 1, True), (7, 2, True), (8, 2, False)])
def test_a_file_system_without_room_for_the_workers_is_one_clear_error(tmp_path, monkeypatch, free_mib, workers, full):
    space = os.statvfs_result((4096, 4096, 9999, 9999, free_mib << 8, 100, 100, 100, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: space)
    if not full:
        places.check_room(tmp_path, workers)
        return
    with pytest.raises(Exhausted, match="is full") as caught:
        places.check_room(tmp_path, workers)
    assert f"{4 * workers} MiB" in caught.value.why
    assert "ROADWORTHY_HOME" in caught.value.hint


def test_a_file_system_without_a_file_left_is_full_too(tmp_path, monkeypatch):
    space = os.statvfs_result((4096, 4096, 9999, 9999, 9999, 100, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: space)
    with pytest.raises(Exhausted):
        places.check_room(tmp_path, 1)
