"""systemd's notification protocol: one datagram per message, to the socket that ``NOTIFY_SOCKET`` names."""

from __future__ import annotations

import _socket


def send(address: str, text: str) -> bool:
    """Tell the service manager ``text`` (``READY=1``, ``STATUS=…``); returns whether it was delivered, never waits."""
    if not address:
        return False
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        end = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    except OSError:
        return False
    try:
        end.sendto(text.encode(), target)
    except OSError:
        return False
    finally:
        end.close()
    return True
