"""What both servers do with a request: find its token, judge its origin and method. Pure functions of text."""

from __future__ import annotations

from roadworthy.app.sessions.channel import SUBPROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

TOKEN = "token."  # noqa: S105 - what stands before one in a list of subprotocols
METHODS = "POST, GET, HEAD"
NO_STORE = "no-store"


def offered(header: str) -> list[str]:
    """Return the subprotocols of a ``Sec-WebSocket-Protocol`` header."""
    return [one.strip() for one in header.split(",") if one.strip()]


def token_of(transports: Sequence[str], subprotocols: Sequence[str], authorization: str, query: str) -> str:
    """Return the token that a request presents in one of the ways that are allowed, empty when there is none."""
    if "subprotocol" in transports:
        for one in subprotocols:
            if one.startswith(TOKEN):
                return one[len(TOKEN) :]
    if "header" in transports and (found := bearer(authorization)):
        return found
    if "query" in transports:
        from urllib.parse import parse_qs

        return parse_qs(query).get("token", [""])[0]
    return ""


def bearer(authorization: str) -> str:
    """Return the token of an ``Authorization: Bearer`` header."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def chosen(subprotocols: Sequence[str]) -> str | None:
    """Return the subprotocol that is accepted; a browser fails a connection whose offer is not answered."""
    return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None


def foreign(origin: str, allowed: Collection[str]) -> bool:
    """Return whether a browser of an origin that is not allowed asks; what sends no origin is no browser."""
    return bool(allowed and origin and origin not in allowed)
