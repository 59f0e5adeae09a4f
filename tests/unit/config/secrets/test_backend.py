"""Values are kept for a bounded time, asked for by one thread at a time, and told about when they change."""

import os
import threading

import pytest

from roadworthy.config.secrets import Backend, Held
from roadworthy.config.secrets.remote import Client
from roadworthy.config.secrets.store import Entry
from roadworthy.errors import NotFound, Refused, Unavailable
from roadworthy.types import Secret


class Memory:
    """A store in memory that counts how often it is asked."""

    kind = "memory"
    place = "the memory"
    writable = True
    plain = True

    def __init__(self, secrets, *, whole=False):
        self.secrets = secrets
        self.whole = whole
        self.asked = []
        self.failure = None

    def read(self, name):
        self.asked.append(name)
        if self.failure is not None:
            raise self.failure
        if name not in self.secrets:
            raise NotFound(name)
        found = self.secrets if self.whole else {name: self.secrets[name]}
        return {key: Held(Secret(value, key)) for key, value in found.items()}

    def entries(self):
        return tuple(Entry(name) for name in self.secrets)

    def write(self, name, value):
        self.secrets[name] = value

    def remove(self, name):
        del self.secrets[name]


def made(*, whole=False, **options):
    store = Memory({"A": "value-a", "B": "value-b"}, whole=whole)
    now = [0.0]
    return store, now, Backend(store, now=lambda: now[0], **options)


def test_a_value_is_asked_for_once_while_it_is_young_enough():
    store, now, backend = made(max_age=60)
    for at in (0, 30, 59.9):
        now[0] = at
        assert backend.get("A").reveal() == "value-a"
    assert store.asked == ["A"]
    now[0] = 60
    backend.get("A")
    assert store.asked == ["A", "A"]


def test_a_store_that_brings_everything_is_asked_once_for_all_and_for_what_it_has_not():
    store, now, backend = made(whole=True, max_age=60)
    for name in ("A", "B", "C", "D"):
        backend.find(name)
    assert store.asked == ["A"]
    now[0] = 61
    backend.find("C")
    backend.find("D")
    assert store.asked == ["A", "C"]


def test_a_store_that_is_closed_to_us_says_so_of_every_name_and_is_asked_again():
    store, _, backend = made(whole=True, max_age=60)
    store.failure = Refused("closed")
    for name in ("A", "B", "A", "MISSING"):
        with pytest.raises(Refused, match="closed"):
            backend.get(name)
    store.failure = None
    assert backend.get("B").reveal() == "value-b"


def test_a_value_that_was_removed_is_gone_when_it_is_read_again():
    store, now, backend = made(whole=True, max_age=60)
    backend.get("A")
    del store.secrets["A"]
    now[0] = 61
    backend.get("B")
    assert backend.find("A") is None


def test_a_refresh_reads_what_comes_together_once():
    store, _, backend = made(whole=True)
    backend.get("A")
    store.secrets |= {"A": "new-a", "B": "new-b"}
    assert backend.refresh() == ("A", "B")
    assert store.asked == ["A", "A"]


def test_a_refresh_names_what_is_gone():
    store, _, backend = made()
    backend.get("A")
    backend.get("B")
    del store.secrets["A"]
    assert backend.refresh() == ("A",)
    assert backend.find("A") is None


def test_what_a_subscriber_raises_reaches_the_caller_after_all_were_told():
    store, _, backend = made()
    told = []

    def fails(_name, _secret):
        message = "subscriber"
        raise RuntimeError(message)

    backend.on_rotation(fails)
    end = backend.on_rotation(lambda name, secret: told.append(name))
    backend.get("A")
    store.secrets["A"] = "new-a"
    with pytest.raises(RuntimeError, match="subscriber"):
        backend.refresh()
    assert told == ["A"]
    assert backend.get("A").reveal() == "new-a"
    end()
    end()


def test_a_subscriber_may_ask_for_secrets():
    store, _, backend = made()
    seen = []
    backend.on_rotation(lambda name, _secret: seen.append(backend.get(name).reveal()))
    backend.get("A")
    store.secrets["A"] = "new-a"
    backend.refresh()
    assert seen == ["new-a"]


def test_while_one_thread_asks_the_others_go_on_with_what_is_there():
    store, now, backend = made(max_age=60)
    backend.get("A")
    now[0] = 61
    asked, go_on = threading.Event(), threading.Event()
    real = store.read

    def slow(name):
        asked.set()
        assert go_on.wait(30)
        return real(name)

    store.read = slow
    store.secrets["A"] = "new-a"
    got = []
    thread = threading.Thread(target=lambda: got.append(backend.get("A").reveal()))
    thread.start()
    assert asked.wait(30)
    assert backend.get("A").reveal() == "value-a"
    go_on.set()
    thread.join()
    assert got == ["new-a"]
    assert backend.get("A").reveal() == "new-a"


def test_what_was_never_read_is_not_made_up_while_the_store_is_away():
    store, _, backend = made()
    store.failure = Unavailable("away")
    for _ in range(2):
        with pytest.raises(Unavailable):
            backend.get("A")
    assert store.asked == ["A", "A"]


def test_it_tells_what_it_is():
    _, _, backend = made()
    described = backend.describe()
    assert (described.kind, described.place, described.writable, described.plain) == (
        "memory",
        "the memory",
        True,
        True,
    )


def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    store, _, backend = made()
    asked, go_on = threading.Event(), threading.Event()
    real = store.read

    def slow(name):
        asked.set()
        assert go_on.wait(30)
        return real(name)

    store.read = slow
    thread = threading.Thread(target=backend.get, args=("A",))
    thread.start()
    assert asked.wait(30)
    child = os.fork()
    if child == 0:
        store.read = real
        os._exit(0 if backend.get("A").reveal() == "value-a" else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    thread.join()


def test_a_client_is_made_once_a_process_and_anew_in_a_child():
    made_by = []
    client = Client(lambda: made_by.append(os.getpid()) or object())
    assert client.get() is client.get()
    assert len(made_by) == 1
    parents = client.get()
    child = os.fork()
    if child == 0:
        os._exit(0 if client.get() is not parents and client.get() is client.get() else 1)
    assert os.waitpid(child, 0)[1] == 0
