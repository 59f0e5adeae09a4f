"""WebSocket sessions: a token opens the connection before it is accepted, and a cut one resumes with nothing lost.

::

    sessions = Sessions()

    async def talk(channel):
        async for message in channel:
            await channel.send({"echo": message})

    app = sessions.asgi(app, talk)         # or sessions.aiohttp(app, talk)

The names are resolved lazily: importing this package loads nothing else.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.app.sessions.channel import Channel
    from roadworthy.app.sessions.core import Created, Session, SessionRefused, Sessions

__all__ = ["Channel", "Created", "Session", "SessionRefused", "Sessions"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    where = f"{__name__}.{'channel' if name == 'Channel' else 'core'}"
    __import__(where)
    value: object = getattr(sys.modules[where], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
