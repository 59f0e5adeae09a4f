"""The program's port: where it binds the port that the keeper holds, it gets the keeper's socket.

``bind`` succeeds as if the port were free: the listening socket that came with ``ROADWORTHY_LISTEN`` takes the place
of the new one, under the same descriptor number. All workers and their successors so accept from one queue, which no
restart empties. What is not that port, not a stream socket, or not the socket that the variable promises, is bound as
ever. Where nothing is promised only ``listen`` is looked at: the first TCP port of the program's own is its
checkpoint "listening".

Whether ``accept`` blocks is a flag of the one socket that all of them share: a worker that made it block for itself
would have another one's event loop hang in ``accept`` until the next connection comes. It never blocks, therefore; for
a program that expects it to, ``accept`` waits by ``poll``.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import os
import stat

from roadworthy.app import guard, start
from roadworthy.app.inject.patch import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_ANY = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - recognised, not bound
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "localhost.localdomain", "ip6-localhost"})

_HOST_AND_PORT = 2

_adopted: set[tuple[int, int]] = set()
_marked = False


class Promise:
    """The inherited listening socket: its descriptor, and the address that the keeper bound."""

    __slots__ = ("descriptor", "host", "port")

    def __init__(self, descriptor: int, host: str, port: int) -> None:
        self.descriptor = descriptor
        self.host = host
        self.port = port


def promised(text: str | None = None) -> Promise | None:
    """Return what ``ROADWORTHY_LISTEN`` (``fd:host:port``; the host may hold colons) promises, None when nothing."""
    value = os.environ.get("ROADWORTHY_LISTEN", "") if text is None else text
    descriptor, _, rest = value.partition(":")
    host, _, port = rest.rpartition(":")
    if not (descriptor.isdecimal() and port.isdecimal()):
        return None
    return Promise(int(descriptor), host.strip("[]"), int(port))


def meant(address: object, bound: Promise) -> bool:
    """Return True when a program that binds ``address`` means the port that the keeper bound."""
    if not isinstance(address, tuple) or len(address) < _HOST_AND_PORT or not bound.port or address[1] != bound.port:
        return False
    wanted = address[0]
    if isinstance(wanted, (bytes, bytearray)):
        wanted = bytes(wanted).decode("ascii", "replace")
    if wanted is None or wanted in _ANY or bound.host in _ANY:
        return True
    return wanted == bound.host or (wanted in _LOOPBACK and bound.host in _LOOPBACK)


def install(module: ModuleType) -> None:
    """Watch ``bind`` and ``listen``; where there is no promise, only ``listen``."""
    wrap(module.socket, "listen", lambda original: _listening(module, original))
    if promised() is None:
        return
    wrap(module.socket, "bind", lambda original: _binding(module, original))
    wrap(module.socket, "accept", _accepting)
    wrap(module.socket, "setblocking", _switching)
    wrap(module.socket, "settimeout", _switching)


def install_subprocess(module: ModuleType) -> None:
    """Let Python children have the socket too: they may be the ones who bind."""
    if promised() is None:
        return

    def make(original: Any) -> Any:
        def _execute_child(
            self: Any, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
        ) -> Any:
            return original(self, args, executable, preexec_fn, close_fds, _with_ours(args, close_fds, pass_fds), *rest)

        return _execute_child

    wrap(module.Popen, "_execute_child", make)


def install_uvloop(module: ModuleType) -> None:
    """Uvloop binds in C: hand it the socket that it would have bound, and see that it listens."""

    def make(original: Any) -> Any:
        async def create_server(self: Any, factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
            ours = _socket_for(host, port) if kwargs.get("sock") is None else None
            if ours is None:
                server = await original(self, factory, host, port, **kwargs)
                if promised() is None:
                    _mark()
                return server
            for name in ("family", "flags", "reuse_address", "reuse_port"):
                kwargs.pop(name, None)
            server = await original(self, factory, **{**kwargs, "sock": ours})
            _mark()
            return server

        return create_server

    wrap(module.Loop, "create_server", make)


def protect(_arena: object = None) -> None:
    """Keep the promised socket when the program closes "all" descriptors by ``os.closerange``: its port is in it."""
    bound = promised()
    if bound is None or _is_ours(bound) is None:
        return

    def make(original: Any) -> Any:
        def closerange(low: int, high: int, /) -> None:
            number = bound.descriptor
            if type(low) is int and type(high) is int and low <= number < high and _is_ours(bound):
                original(low, number)
                original(number + 1, high)
            else:
                original(low, high)

        return closerange

    wrap(os, "closerange", make)


def _binding(module: ModuleType, original: Any) -> Any:
    def bind(self: Any, address: Any, /) -> Any:
        bound = promised()
        if bound is not None and meant(address, bound) and _adopt(self, bound, module):
            return None
        return original(self, address)

    return bind


def _listening(module: ModuleType, original: Any) -> Any:
    def listen(self: Any, *args: Any) -> Any:
        result = original(self, *args)
        if not _marked:
            _told(self, module)
        return result

    return listen


def _accepting(original: Any) -> Any:
    def accept(self: Any) -> Any:
        while True:
            try:
                return original(self)
            except BlockingIOError:
                if self.gettimeout() is not None or not _is_adopted(self):
                    raise
            _wait(self)

    return accept


def _switching(original: Any) -> Any:
    def switch(self: Any, value: Any, /) -> Any:
        result = original(self, value)
        if (value is None or value) and _is_adopted(self):
            _never_block(self)
        return result

    return switch


def _never_block(sock: Any) -> None:
    try:
        os.set_blocking(sock.fileno(), False)
    except OSError:
        pass  # it was closed meanwhile


def _is_adopted(sock: Any) -> bool:
    if not _adopted:
        return False
    try:
        found = os.fstat(sock.fileno())
    except (OSError, ValueError):
        return False
    return (found.st_dev, found.st_ino) in _adopted


def _wait(sock: Any) -> None:
    """Return when somebody may have connected; other workers may be quicker."""
    import select

    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    poll.poll()


def _told(listener: Any, module: ModuleType) -> None:
    try:
        tcp = listener.family in {module.AF_INET, module.AF_INET6}
        if _is_adopted(listener) if promised() is not None else tcp:
            _mark()
    except Exception as error:
        if guard.failed("socket", error):
            raise


def _mark() -> None:
    global _marked  # noqa: PLW0603 - a process begins to listen once
    arena = start.current()
    if arena is not None and not _marked:
        _marked = True
        arena.mark("checkpoint", "listening")


def _adopt(sock: Any, bound: Promise, module: ModuleType) -> bool:
    try:
        if sock.type != module.SOCK_STREAM or sock.family not in {module.AF_INET, module.AF_INET6}:
            return False
        identity = _is_ours(bound)
        if identity is None:
            return False
        os.dup2(bound.descriptor, sock.fileno(), os.get_inheritable(sock.fileno()))
        _never_block(sock)
        _adopted.add(identity)
        if sock.getsockopt(module.SOL_SOCKET, module.SO_ACCEPTCONN):
            _mark()  # it listens already, and some programs (gunicorn) look and then do not call listen()
    except Exception as error:
        if guard.failed("socket", error):
            raise
        return False
    return True


def _is_ours(bound: Promise) -> tuple[int, int] | None:
    """Return the identity of the promised socket, None when something else is there by now."""
    import socket

    try:
        found = os.fstat(bound.descriptor)
        if not stat.S_ISSOCK(found.st_mode):
            return None
        probe = socket.socket(fileno=bound.descriptor)
    except OSError:
        return None
    try:
        right = probe.type == socket.SOCK_STREAM and probe.getsockname()[1] == bound.port
    except (OSError, IndexError):
        right = False
    finally:
        probe.detach()
    return (found.st_dev, found.st_ino) if right else None


def _socket_for(host: Any, port: Any) -> Any:
    import socket

    bound = promised()
    if bound is None or not meant((host, port), bound):
        return None
    identity = _is_ours(bound)
    if identity is None:
        return None
    _adopted.add(identity)
    made = socket.socket(fileno=os.dup(bound.descriptor))
    made.setblocking(False)  # noqa: FBT003 - the socket's own signature
    return made


def _with_ours(args: Any, close_fds: Any, pass_fds: Any) -> Any:
    try:
        bound = promised()
        first = args if isinstance(args, (str, bytes)) else args[0] if args else ""
        name = os.path.basename(os.fsdecode(first))
        if bound is None or not close_fds or not name.startswith("python") or not _is_ours(bound):
            return pass_fds
        return tuple({*pass_fds, bound.descriptor})
    except Exception as error:
        if guard.failed("subprocess", error):
            raise
        return pass_fds
