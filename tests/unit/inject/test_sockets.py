"""Which binds mean the keeper's port, and what a program gets that does."""

import os
import socket
import threading

import pytest

from roadworthy.app.inject import sockets


def promise(host="127.0.0.1", port=8000):
    return sockets.Promise(3, host, port)


@pytest.mark.parametrize(
    ("bound", "address", "verdict"),
    [
        ("127.0.0.1", ("127.0.0.1", 8000), True),
        ("127.0.0.1", ("localhost", 8000), True),
        ("127.0.0.1", ("", 8000), True),
        ("127.0.0.1", ("0.0.0.0", 8000), True),
        ("127.0.0.1", ("::", 8000, 0, 0), True),
        ("127.0.0.1", (b"127.0.0.1", 8000), True),
        ("0.0.0.0", ("127.0.0.1", 8000), True),
        ("10.0.0.1", ("10.0.0.1", 8000), True),
        ("10.0.0.1", ("127.0.0.1", 8000), False),
        ("127.0.0.1", ("10.0.0.1", 8000), False),
        ("127.0.0.1", ("127.0.0.1", 8001), False),
        ("127.0.0.1", ("127.0.0.1", 0), False),
        ("127.0.0.1", "/run/app.sock", False),
        ("127.0.0.1", ("127.0.0.1",), False),
    ],
)
def test_a_bind_means_our_port_or_it_does_not(bound, address, verdict):
    assert sockets.meant(address, promise(bound)) is verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7:127.0.0.1:8000", (7, "127.0.0.1", 8000)),
        ("7:[::1]:8000", (7, "::1", 8000)),
        ("7:::1:8000", (7, "::1", 8000)),
        ("7::8000", (7, "", 8000)),
        ("", None),
        ("x:localhost:80", None),
        ("7:localhost:http", None),
    ],
)
def test_the_variable_is_read_or_refused(text, expected):
    found = sockets.promised(text)
    assert (found and (found.descriptor, found.host, found.port)) == expected


@pytest.fixture
def kept(monkeypatch):
    """The keeper's socket, promised to a socket module of the test's own."""

    class Module:
        AF_INET, AF_INET6, SOCK_STREAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM
        SOL_SOCKET, SO_ACCEPTCONN = socket.SOL_SOCKET, socket.SO_ACCEPTCONN

        class socket(socket.socket):  # noqa: N801 - the module's name
            def bind(self, address):
                return super().bind(address)

            def listen(self, *backlog):
                return super().listen(*backlog)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("ROADWORTHY_LISTEN", f"{listener.fileno()}:127.0.0.1:{port}")
        sockets.install(Module)
        yield Module, listener, port


def test_binding_the_port_gives_the_kept_socket_under_the_same_number(kept):
    module, listener, port = kept
    with module.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        number = made.fileno()
        made.settimeout(0.5)
        made.bind(("", port))
        made.listen(5)
        assert made.fileno() == number
        assert os.fstat(number).st_ino == os.fstat(listener.fileno()).st_ino
        assert made.getsockname() == ("127.0.0.1", port)
        assert made.gettimeout() == 0.5
        assert not os.get_blocking(number)
        assert not os.get_inheritable(number)
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, address = made.accept()
            connection.close()
            assert address == client.getsockname()
    with module.socket(socket.AF_INET, socket.SOCK_STREAM) as again:
        again.bind(("localhost", port))
        assert again.gettimeout() is None


def test_a_worker_that_expects_accept_to_block_waits_without_having_the_others_block(kept):
    module, listener, port = kept
    listener.setblocking(False)  # noqa: FBT003 - as an event loop in another worker has it
    with module.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind(("", port))
        came = []

        def take():
            came.append(made.accept())

        for name, value in (("getsockname", ()), ("setblocking", (True,)), ("settimeout", (None,))):
            getattr(made, name)(*value)
            assert not os.get_blocking(listener.fileno())
            waits = threading.Thread(target=take)
            waits.start()
            with socket.create_connection(("127.0.0.1", port)) as client:
                waits.join(10)
                connection, address = came.pop()
                assert connection.gettimeout() is None
                connection.close()
                assert address == client.getsockname()
        made.setblocking(False)  # noqa: FBT003 - the socket's signature
        with pytest.raises(BlockingIOError):
            made.accept()


def test_other_sockets_are_bound_as_ever(kept):
    module, _, port = kept
    with module.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        assert other.getsockname()[1] != port
    with module.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", port))
        assert datagrams.type == socket.SOCK_DGRAM


def test_a_descriptor_that_became_something_else_is_not_used(kept, monkeypatch, tmp_path):
    module, _, port = kept
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setenv("ROADWORTHY_LISTEN", f"{file.fileno()}:127.0.0.1:{port}")
        with module.socket(socket.AF_INET, socket.SOCK_STREAM) as made, pytest.raises(OSError, match="in use"):
            made.bind(("127.0.0.1", port))


def test_python_children_get_the_socket_and_others_do_not(kept):
    _, listener, _ = kept
    number = listener.fileno()
    assert sockets._with_ours(["/usr/bin/python3", "x.py"], True, ()) == (number,)  # noqa: FBT003 - Popen's signature
    assert sockets._with_ours(["git", "status"], True, (9,)) == (9,)  # noqa: FBT003 - as above
    assert sockets._with_ours(["python3"], False, ()) == ()  # noqa: FBT003 - as above


@pytest.mark.parametrize(
    ("family", "address", "marked"),
    [(socket.AF_INET, ("127.0.0.1", 0), True), (socket.AF_UNIX, "", False)],
    ids=["TCP", "a local socket"],
)
def test_without_a_promise_only_the_first_port_that_is_listened_on_is_noted(monkeypatch, family, address, marked):
    class Module:
        AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6

        class socket(socket.socket):  # noqa: N801 - the module's name
            def bind(self, address):
                return super().bind(address)

            def listen(self, *backlog):
                return super().listen(*backlog)

    class Marks(list):
        def mark(self, *given):
            self.append(given)

    marks = Marks()
    monkeypatch.delenv("ROADWORTHY_LISTEN", raising=False)
    monkeypatch.setattr(sockets.start, "current", lambda: marks)
    monkeypatch.setattr(sockets, "_marked", False)
    bind = Module.socket.bind
    sockets.install(Module)
    assert Module.socket.bind is bind
    for _ in range(2):
        with Module.socket(family) as made:
            made.bind(address)
            assert marks == ([("checkpoint", "listening")] if marked and _ else []), "not before it listens"
            made.listen()
    assert marks == ([("checkpoint", "listening")] if marked else [])
