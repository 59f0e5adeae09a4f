"""The program's port: bound once, here, by the process that becomes the keeper; who owns it when it is taken."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from roadworthy.errors import PortInUse, Unavailable

BACKLOG = 1024
_LISTENING = "0A"


def check_free(host: str, port: int, option: str) -> None:
    """Raise as :func:`listen` when nobody could listen there now: the agent, which will, has no other way to say it."""
    listen(host, port, option=option).close()


def listen(host: str, port: int, *, option: str = "--port NUMBER") -> socket.socket:
    """Return a listening TCP socket; raises :class:`PortInUse`, naming the owner if known, or :class:`Unavailable`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise Unavailable(
            f"cannot listen on {host}",
            why=f"The name does not resolve: {error.strerror}.",
            hint="Use 127.0.0.1, or a name of this host.",
        ) from error
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use",
                why=f"{owner(port) or 'Another process'} listens there.",
                hint=f"Stop it, or choose another: {option}",
            ) from error
        raise Unavailable(
            f"cannot listen on {host}:{port}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Ports below 1024 need a privilege; an address must be one of this host's.",
        ) from error
    return made


def owner(port: int) -> str:
    """Return who listens on a TCP port as ``name (pid N)``, or an empty text when /proc does not tell us."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) in inodes for entry in (folder / "fd").iterdir()):
                comm = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{comm} (pid {folder.name})"
        except OSError:
            continue  # not ours to look at, or gone
    return ""
