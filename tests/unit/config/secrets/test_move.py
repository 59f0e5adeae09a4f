"""The secrets of a ``.env`` move to the encrypted file; everything else stays, and nothing is ever in neither."""

import pytest

from roadworthy.config.secrets import dotenv
from roadworthy.config.secrets.encrypted import EncryptedStore
from roadworthy.config.secrets.key import KeyPlace
from roadworthy.config.secrets.move import move, plan
from roadworthy.errors import RoadworthyError, UsageError
from support.crash_points import crash_points

PAGE = """\
# the shop
PORT=8000

API_KEY=sk-ant-0123456789   # Anthropic
DB_PASSWORD="two
lines"
SECRETS_BACKEND=encrypted_file
ROADWORTHY_SECRETS_KEY_FILE=/etc/key
# OLD_KEY=sk-old
EMPTY_KEY=
"""
LEFT = """\
# the shop
PORT=8000

# API_KEY is in the encrypted file: roadworthy secrets get API_KEY
# DB_PASSWORD is in the encrypted file: roadworthy secrets get DB_PASSWORD
SECRETS_BACKEND=encrypted_file
ROADWORTHY_SECRETS_KEY_FILE=/etc/key
# OLD_KEY=sk-old
EMPTY_KEY=
"""
SECRETS = {"API_KEY": "sk-ant-0123456789", "DB_PASSWORD": "two\nlines"}


def is_secret(name, value):
    return "KEY" in name or "SECRET" in name or "PASSWORD" in name or "sk-" in value


def store_in(folder):
    return EncryptedStore(folder / "p" / "secrets.enc.json", KeyPlace(folder / "k" / "key", "the test", ours=True))


def prepare(folder):
    (folder / "p").mkdir()
    (folder / "p" / ".env").write_text(PAGE)


def moved(folder, **options):
    return move(folder / "p" / ".env", store_in(folder), is_secret, **options)


def text_of(folder):
    return (folder / "p" / ".env").read_text()


def values_in(folder):
    return {name: secret.reveal() for name, secret in store_in(folder).values().items()}


def test_the_secrets_move_and_the_rest_stays_as_it_was(tmp_path):
    prepare(tmp_path)
    done = moved(tmp_path)
    assert done.names == ("API_KEY", "DB_PASSWORD")
    assert done.doubtful == (9,)
    assert text_of(tmp_path) == LEFT
    assert values_in(tmp_path) == SECRETS
    assert (tmp_path / "p" / ".env").stat().st_mode & 0o777 == 0o600


def test_moving_again_changes_nothing(tmp_path):
    prepare(tmp_path)
    moved(tmp_path)
    assert moved(tmp_path).names == ()
    assert text_of(tmp_path) == LEFT


def test_what_is_to_be_kept_is_kept_and_telling_changes_nothing(tmp_path):
    prepare(tmp_path)
    assert moved(tmp_path, only_tell=True).names == ("API_KEY", "DB_PASSWORD")
    assert text_of(tmp_path) == PAGE
    assert moved(tmp_path, keep=["API_KEY"]).names == ("DB_PASSWORD",)
    assert "sk-ant-0123456789" in text_of(tmp_path)


def test_a_name_that_comes_twice_moves_with_its_last_value():
    secrets, left = plan(dotenv.parse("A_KEY=1\nB=b\nexport A_KEY=2"), is_secret)
    assert secrets == {"A_KEY": "2"}
    assert left == "# A_KEY is in the encrypted file: roadworthy secrets get A_KEY\nB=b\n"


def test_another_value_in_the_store_is_not_overwritten_unless_asked(tmp_path):
    prepare(tmp_path)
    store_in(tmp_path).write_all({"API_KEY": "value-of-the-store", "THIRD": "third"})
    with pytest.raises(UsageError, match="other values of API_KEY") as caught:
        moved(tmp_path)
    assert "value-of-the-store" not in str(caught.value)
    assert "sk-ant" not in str(caught.value)
    assert text_of(tmp_path) == PAGE
    assert values_in(tmp_path) == {"API_KEY": "value-of-the-store", "THIRD": "third"}
    moved(tmp_path, overwrite=True)
    assert values_in(tmp_path) == {**SECRETS, "THIRD": "third"}


def test_what_did_not_arrive_is_not_taken_out(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.setattr(EncryptedStore, "write_all", lambda _self, _secrets: None)
    with pytest.raises(RoadworthyError, match="API_KEY, DB_PASSWORD did not arrive"):
        moved(tmp_path)
    assert text_of(tmp_path) == PAGE


def test_after_a_crash_each_secret_is_somewhere_and_moving_again_finishes(tmp_path):
    crashes = list(crash_points(moved, tmp_path, prepare, power_cut=True))
    for crash in crashes:
        assert text_of(crash.folder) in ({LEFT} if crash.finished else {PAGE, LEFT}), crash
        if text_of(crash.folder) == LEFT:
            assert values_in(crash.folder) == SECRETS, crash
        else:
            assert values_in(crash.folder) in ({}, SECRETS), crash
        moved(crash.folder)
        assert (text_of(crash.folder), values_in(crash.folder)) == (LEFT, SECRETS), crash
    assert len(crashes) > 40
