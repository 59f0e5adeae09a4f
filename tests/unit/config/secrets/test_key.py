"""The key of the encrypted file: where it is looked for, what it must be, and where it must not be."""

import base64
import os
from pathlib import Path

import pytest

from roadworthy.config.secrets import key
from roadworthy.config.secrets.encrypted import EncryptedStore
from roadworthy.config.secrets.key import Key, KeyPlace
from roadworthy.errors import ConfigurationError, Refused, Unavailable
from support.crash_points import crash_points

LINE = base64.b64encode(b"k" * 32).decode() + "\n"


def place_in(folder, *, ours=True):
    return KeyPlace(folder / "secrets.key", "the test", ours=ours)


def written(folder, text=LINE, mode=0o600):
    (folder / "secrets.key").write_text(text)
    (folder / "secrets.key").chmod(mode)
    return place_in(folder)


@pytest.mark.parametrize(
    ("environ", "path", "ours"),
    [
        ({"ROADWORTHY_SECRETS_KEY_FILE": "/etc/k", "HOME": "/home/me"}, "/etc/k", True),
        ({"XDG_CONFIG_HOME": "/conf", "HOME": "/home/me"}, "/conf/roadworthy/secrets.key", True),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/home/me"}, "/home/me/.config/roadworthy/secrets.key", True),
        ({"HOME": "/home/me", "CREDENTIALS_DIRECTORY": "/absent"}, "/home/me/.config/roadworthy/secrets.key", True),
    ],
)
def test_it_is_looked_for_where_it_is_said_then_in_the_users_folder(environ, path, ours):
    found = key.place(environ)
    assert (found.path, found.ours) == (Path(path), ours)


def test_systemd_may_bring_it(tmp_path):
    (tmp_path / "roadworthy-secrets-key").write_text(LINE)
    (tmp_path / "roadworthy-secrets-key").chmod(0o440)
    found = key.place({"CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": "/home/me"})
    assert not found.ours
    assert key.load(found) == (Key(b"k" * 32),)
    for change in (lambda: key.make(found), lambda: key.save(found, ())):
        with pytest.raises(ConfigurationError, match="cannot be changed from here"):
            change()


def test_without_any_place_for_it_that_is_said():
    with pytest.raises(ConfigurationError, match="no place for the key"):
        key.place({})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(Refused, match="may be read by others") as caught:
        key.load(written(tmp_path, mode=mode))
    assert "chmod 600" in caught.value.hint


def test_a_key_of_somebody_else_is_refused(tmp_path, monkeypatch):
    found = written(tmp_path)
    if os.getuid() == 0:
        os.chown(found.path, 12345, 12345)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(Refused, match="belongs to user"):
        key.load(found)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "not base64!\n", LINE + "c2hvcnQ=\n", "\xff\n"])
def test_what_is_no_key_is_said_without_quoting_it(tmp_path, text):
    with pytest.raises(ConfigurationError, match="is not a key file") as caught:
        key.load(written(tmp_path, text))
    assert "short" not in str(caught.value)


def test_several_keys_are_read_in_order_and_comments_are_passed_over(tmp_path):
    other = base64.b64encode(b"o" * 32).decode()
    assert [each.raw[:1] for each in key.load(written(tmp_path, f"# new\n{LINE}\n# old\n  {other}\n"))] == [b"k", b"o"]


def test_a_key_shows_its_id_only():
    one = Key(b"k" * 32)
    assert "kkk" not in repr(one)
    assert LINE.strip() not in repr(one)
    assert one.id != Key(b"o" * 32).id


def test_one_that_is_not_there_is_none_and_one_that_cannot_be_read_is_said(tmp_path):
    assert key.load(place_in(tmp_path)) == ()
    (tmp_path / "secrets.key").mkdir(mode=0o700)
    with pytest.raises(Unavailable, match="cannot be read"):
        key.load(place_in(tmp_path))


def test_of_two_that_make_it_at_once_both_use_the_one_that_was_there_first(tmp_path):
    first = key.make(place_in(tmp_path))
    assert key.make(place_in(tmp_path)) == first
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.key"]


def test_where_it_cannot_be_made_that_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        key.make(KeyPlace(tmp_path / "file" / "secrets.key", "the test", ours=True))


def test_a_crash_while_it_is_made_leaves_none_or_a_whole_one(tmp_path):
    for crash in crash_points(lambda folder: key.make(place_in(folder)), tmp_path, power_cut=True):
        assert len(key.load(place_in(crash.folder))) in ({1} if crash.finished else {0, 1}), crash


@pytest.mark.parametrize("marker", key.MARKERS)
def test_a_project_begins_at_the_nearest_folder_with_a_marker(tmp_path, marker):
    inner = tmp_path / "project" / "deep" / "er"
    inner.mkdir(parents=True)
    (tmp_path / "project" / marker).mkdir()
    assert key.project_of(inner / "secrets.enc.json", tmp_path) == tmp_path / "project"


def test_without_a_marker_the_project_is_the_files_folder_and_a_home_that_is_one_does_not_count(tmp_path):
    inner = tmp_path / "project"
    inner.mkdir()
    (tmp_path / ".git").mkdir()
    assert key.project_of(inner / "secrets.enc.json", tmp_path) == inner
    assert key.project_of(inner / "secrets.enc.json", None) == tmp_path


@pytest.mark.parametrize("way", ["in it", "below it", "by a link"])
def test_a_key_in_the_project_is_refused_before_anything_is_written(tmp_path, way):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("")
    (tmp_path / "link").symlink_to(project)
    where = {"in it": project, "below it": project / "conf", "by a link": tmp_path / "link"}[way]
    store = EncryptedStore(project / "secrets.enc.json", KeyPlace(where / "secrets.key", "the test", ours=True))
    with pytest.raises(Refused, match="lies inside the project") as caught:
        store.write("API_KEY", "value")
    assert "ROADWORTHY_SECRETS_KEY_FILE" in caught.value.hint
    assert not (where / "secrets.key").exists()
    assert not (project / "secrets.enc.json").exists()
