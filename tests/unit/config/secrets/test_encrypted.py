"""The encrypted file: nothing readable and nothing exchangeable in it, nothing lost by a crash or a change of key."""

import base64
import json
import os
import stat
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.config.secrets import Backend, files, key, open_backend, sealed
from roadworthy.config.secrets.encrypted import EncryptedStore
from roadworthy.config.secrets.key import Key, KeyPlace
from roadworthy.config.secrets.sealed import Kept, Value
from roadworthy.errors import ConfigurationError, NotFound, Refused, Unavailable
from support.crash_points import crash_points

OLD, NEW, HAND = "old-value-of-the-key", "new-value-of-the-key", "typed-in-by-hand"


def store_in(folder, **options):
    (folder / "project").mkdir(exist_ok=True)
    place = KeyPlace(folder / "keys" / "secrets.key", "the test", ours=True)
    return EncryptedStore(folder / "project" / "secrets.enc.json", place, **options)


def value_of(folder, name="API_KEY"):
    """Return the value as another process would read it now, None when there is none."""
    return Backend(store_in(folder)).find(name)


def prepare(folder):
    store_in(folder).write("API_KEY", OLD)


def edit(store, change):
    document = json.loads(store.path.read_text())
    change(document["entries"])
    store.path.write_text(json.dumps(document))


@pytest.fixture
def store(tmp_path):
    return store_in(tmp_path)


def test_no_value_can_be_read_in_the_file_and_names_can(store):
    store.write("API_KEY", OLD)
    text = store.path.read_text()
    assert OLD not in text
    assert base64.b64encode(OLD.encode()).decode() not in text
    assert "API_KEY" in text


def test_file_and_key_are_their_owners_alone(store, tmp_path):
    store.write("API_KEY", OLD)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys" / "secrets.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_plain_value_that_somebody_typed_in_is_encrypted_when_it_is_read(store):
    store.write("API_KEY", OLD)
    edit(store, lambda entries: entries.update(OTHER_KEY=HAND))
    assert store.read("OTHER_KEY")["OTHER_KEY"].secret.reveal() == HAND
    assert HAND not in store.path.read_text()
    assert store.read("OTHER_KEY")["OTHER_KEY"].secret.reveal() == HAND
    assert store.read("API_KEY")["API_KEY"].secret.reveal() == OLD


def test_a_file_that_somebody_began_by_hand_is_one_of_ours_afterwards(store):
    store.path.write_text(json.dumps({"roadworthy-secrets": 1, "entries": {"API_KEY": HAND}}))
    assert store.values()["API_KEY"].reveal() == HAND
    assert HAND not in store.path.read_text()


def test_a_plain_value_that_cannot_be_encrypted_is_said(store, monkeypatch):
    store.write("API_KEY", OLD)
    edit(store, lambda entries: entries.update(OTHER_KEY=HAND))

    def full(path, data):
        raise Unavailable(f"cannot write {path}")

    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(Unavailable):
        store.read("OTHER_KEY")


def test_times_are_kept_and_listed(tmp_path):
    store = store_in(tmp_path, wall=lambda: 1234.5)
    store.write("API_KEY", OLD)
    (entry,) = store.entries()
    assert (entry.name, entry.changed) == ("API_KEY", 1234.0)


def swap(entries):
    entries["A"], entries["B"] = entries["B"], entries["A"]


def role(entries):
    entries["A"]["previous"] = {key: entries["A"][key] for key in ("changed", "nonce", "value")}


def time(entries):
    entries["A"]["changed"] += 1


def flip(entries):
    raw = bytearray(base64.b64decode(entries["A"]["value"]))
    raw[3] ^= 1
    entries["A"]["value"] = base64.b64encode(raw).decode()


def cut(entries):
    entries["A"]["value"] = entries["A"]["value"][:8]


@pytest.mark.parametrize("change", [swap, role, time, flip, cut], ids=lambda change: change.__name__)
def test_what_was_moved_or_altered_is_refused(store, change):
    store.write_all({"A": "value-of-a", "B": "value-of-b"})
    edit(store, change)
    with pytest.raises(Refused, match="was altered or moved") as caught:
        store.read("B")
    assert "value-of" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ('{"roadworthy-secrets": 1, "entries": {"A": "hush-hush",}}', "no JSON"),
        ("\x80", "UTF-8"),
        ("[]", "no file of ours"),
        ('{"entries": {}}', "no file of ours"),
        ('{"roadworthy-secrets": 2, "entries": {}}', "another version"),
        ('{"roadworthy-secrets": 1, "cipher": "ROT13", "entries": {}}', "another version"),
        ('{"roadworthy-secrets": 1}', "no entries"),
        ('{"roadworthy-secrets": 1, "entries": {"../x": "hush-hush"}}', "cannot be the name"),
        ('{"roadworthy-secrets": 1, "key": "KEY", "entries": {"A": {"changed": "x"}}}', "neither text"),
        ('{"roadworthy-secrets": 1, "key": "KEY", "entries": {"A": ["hush-hush"]}}', "neither text"),
        ('{"roadworthy-secrets": 1, "key": "KEY", "entries": {"A": {"changed": 1, "nonce": "?"}}}', "cut off"),
    ],
)
def test_what_is_no_such_file_is_said_without_quoting_it(store, text, why):
    store.write("API_KEY", OLD)
    store.path.write_bytes(text.replace("KEY", key.load(store._key)[0].id).encode("latin-1"))
    with pytest.raises(ConfigurationError) as caught:
        store.read("A")
    assert why in caught.value.why
    assert store.place in caught.value.what
    assert "hush" not in str(caught.value)
    assert caught.value.__context__ is None or "hush" not in repr(vars(caught.value.__context__))
    before = store.path.read_bytes()
    with pytest.raises(ConfigurationError):
        store.write("API_KEY", NEW)
    assert store.path.read_bytes() == before


def test_without_its_key_the_file_says_which_one_is_missing(store, tmp_path):
    store.write("API_KEY", OLD)
    (tmp_path / "keys" / "secrets.key").unlink()
    with pytest.raises(ConfigurationError, match="key of the encrypted file") as caught:
        store.read("API_KEY")
    assert "does not exist" in caught.value.why
    key.make(store._key)
    with pytest.raises(ConfigurationError, match="key of the encrypted file") as caught:
        store.read("API_KEY")
    assert str(key.load(store._key)[0].id) in caught.value.why
    with pytest.raises(ConfigurationError):
        store.write("API_KEY", NEW)


def test_a_file_that_cannot_be_read_is_said(store):
    store.path.mkdir()
    with pytest.raises(Unavailable, match="API_KEY"):
        store.read("API_KEY")


def test_without_cryptography_the_extra_is_named(store, monkeypatch):
    store.write("API_KEY", OLD)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match="cryptography is not installed") as caught:
        store.read("API_KEY")
    assert "roadworthy[secrets]" in caught.value.hint


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,30}", fullmatch=True),
        st.tuples(TEXT, st.none() | TEXT),
        max_size=4,
    )
)
def test_what_is_sealed_is_unsealed_as_it_was(secrets):
    one = Key(b"k" * 32)
    kept = {
        name: Kept(Value(text, 7), None if previous is None else Value(previous, 6))
        for name, (text, previous) in secrets.items()
    }
    assert sealed.unseal(sealed.seal(kept, one), lambda _id: one, "the file", 9) == kept


def test_no_nonce_comes_twice(store):
    for number in range(20):
        store.write(f"KEY_{number % 3}", "same")
        store.replace_value("KEY_0", "same")
    entries = json.loads(store.path.read_text())["entries"]
    nonces = [entry["nonce"] for entry in entries.values()] + [entries["KEY_0"]["previous"]["nonce"]]
    assert len(set(nonces)) == len(nonces) == 4


# -- values with a previous one


def test_a_replaced_value_is_kept_until_it_is_confirmed(store):
    store.write("API_KEY", OLD)
    store.replace_value("API_KEY", NEW)
    assert store.values()["API_KEY"].reveal() == NEW
    assert store.previous("API_KEY").reveal() == OLD
    store.write("OTHER", "something")
    assert store.previous("API_KEY").reveal() == OLD
    assert OLD not in store.path.read_text()
    store.confirm("API_KEY")
    assert store.previous("API_KEY") is None
    assert store.values()["API_KEY"].reveal() == NEW


def test_a_replaced_value_can_be_taken_back(store):
    store.write("API_KEY", OLD)
    store.replace_value("API_KEY", NEW)
    store.take_back("API_KEY")
    assert store.values()["API_KEY"].reveal() == OLD
    assert store.previous("API_KEY") is None


def test_what_has_no_previous_value_is_neither_confirmed_nor_taken_back(store):
    store.write("API_KEY", OLD)
    for act in (store.confirm, store.take_back):
        with pytest.raises(NotFound, match="previous value of API_KEY"):
            act("API_KEY")
    for act in (store.confirm, store.take_back, store.previous, lambda name: store.replace_value(name, NEW)):
        with pytest.raises(NotFound, match="OTHER"):
            act("OTHER")


# -- the key


def test_a_new_key_opens_the_file_and_the_old_one_stays_for_copies(store, tmp_path):
    store.write("API_KEY", OLD)
    store.replace_value("API_KEY", NEW)
    copy = store.path.read_bytes()
    old, new = store.rotate_key()
    assert old != new
    assert json.loads(store.path.read_text())["key"] == new
    assert store.values()["API_KEY"].reveal() == NEW
    assert store.previous("API_KEY").reveal() == OLD
    assert [each.id for each in key.load(store._key)] == [new, old]
    store.path.write_bytes(copy)
    assert store.values()["API_KEY"].reveal() == NEW


def test_an_old_key_is_forgotten_when_asked(store):
    store.write("API_KEY", OLD)
    copy = store.path.read_bytes()
    _, new = store.rotate_key(forget=True)
    assert [each.id for each in key.load(store._key)] == [new]
    assert store.values()["API_KEY"].reveal() == OLD
    store.path.write_bytes(copy)
    with pytest.raises(ConfigurationError):
        store.read("API_KEY")


def test_two_files_of_one_key_both_stay_readable_when_one_gets_a_new_key(tmp_path):
    (tmp_path / "other").mkdir()
    one = store_in(tmp_path)
    other = EncryptedStore(tmp_path / "other" / "secrets.enc.json", one._key)
    one.write("API_KEY", OLD)
    other.write("API_KEY", NEW)
    one.rotate_key()
    assert other.values()["API_KEY"].reveal() == NEW
    assert one.values()["API_KEY"].reveal() == OLD


def test_without_a_file_there_is_nothing_to_encrypt_anew(store):
    with pytest.raises(NotFound, match="does not exist"):
        store.rotate_key()


def test_a_running_program_goes_on_over_a_change_of_key_and_of_value(store, tmp_path):
    backend = Backend(store_in(tmp_path))
    store.write("API_KEY", OLD)
    told = []
    backend.on_rotation(lambda name, secret: told.append((name, secret.reveal())))
    assert backend.get("API_KEY").reveal() == OLD
    store.rotate_key(forget=True)
    assert backend.refresh() == ()
    store.replace_value("API_KEY", NEW)
    assert backend.refresh() == ("API_KEY",)
    assert told == [("API_KEY", NEW)]


# -- crashes


def first(folder):
    store_in(folder).write("API_KEY", NEW)


def set_again(folder):
    store_in(folder).write("API_KEY", NEW)


def replace_value(folder):
    store_in(folder).replace_value("API_KEY", NEW)


@pytest.mark.parametrize("change", [set_again, replace_value])
def test_a_crash_while_a_value_is_set_leaves_the_old_or_the_new_one(change, tmp_path):
    crashes = list(crash_points(change, tmp_path, prepare, power_cut=True))
    for crash in crashes:
        found = value_of(crash.folder).reveal()
        assert found == NEW if crash.finished else found in {OLD, NEW}, crash
        store_in(crash.folder).write("API_KEY", "after the crash")
        assert value_of(crash.folder).reveal() == "after the crash"
    assert len(crashes) > 20


def test_a_crash_at_the_very_first_secret_leaves_nothing_or_the_secret(tmp_path):
    for crash in crash_points(first, tmp_path, power_cut=True):
        found = value_of(crash.folder)
        assert found is None or found.reveal() == NEW, crash
        assert found is not None or not crash.finished
        first(crash.folder)
        assert value_of(crash.folder).reveal() == NEW


def test_a_crash_while_the_key_is_changed_loses_nothing(tmp_path):
    def change(folder):
        store_in(folder).rotate_key(forget=True)

    crashes = list(crash_points(change, tmp_path, prepare, power_cut=True))
    for crash in crashes:
        assert value_of(crash.folder).reveal() == OLD, crash
        change(crash.folder)
        assert value_of(crash.folder).reveal() == OLD, crash
    assert len(crashes) > 40


def test_a_crash_while_a_typed_in_value_is_encrypted_loses_nothing(tmp_path):
    def typed(folder):
        prepare(folder)
        edit(store_in(folder), lambda entries: entries.update(OTHER_KEY=HAND))

    for crash in crash_points(lambda folder: value_of(folder, "OTHER_KEY"), tmp_path, typed, power_cut=True):
        if crash.finished:
            assert HAND not in store_in(crash.folder).path.read_text()
        assert value_of(crash.folder, "OTHER_KEY").reveal() == HAND, crash
        assert value_of(crash.folder).reveal() == OLD, crash


def test_no_crash_leaves_a_value_or_a_key_that_others_may_read(tmp_path):
    for crash in crash_points(set_again, tmp_path, prepare):
        for path in crash.folder.rglob("*"):
            if path.is_file():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, (crash, path)
                assert NEW not in path.read_text()


def test_two_processes_that_set_secrets_at_once_lose_none(tmp_path):
    store_in(tmp_path).write("FIRST", OLD)
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            for each in range(5):
                store_in(tmp_path).write(f"KEY_{number}_{each}", NEW)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(store_in(tmp_path).values()) == 11


def test_the_file_is_found_by_variable_and_by_default(tmp_path):
    environ = {
        "SECRETS_BACKEND": "encrypted_file",
        "ROADWORTHY_SECRETS_FILE": "deep.json",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HOME": str(tmp_path),
    }
    (tmp_path / "project").mkdir()
    backend = open_backend(environ, folder=tmp_path / "project")
    backend.set("API_KEY", OLD)
    assert (tmp_path / "project" / "deep.json").exists()
    assert (tmp_path / "config" / "roadworthy" / "secrets.key").exists()
