"""Identifiers in HTTP headers: ``X-Request-ID``, and ``traceparent`` as the W3C has it (Trace Context, level 1).

What comes in from outside is believed only where it has the form of an identifier: a header that has not is passed
over, as if it were not there.
"""

from __future__ import annotations

import os

from roadworthy.log.correlation import Bound

REQUEST_ID = "X-Request-ID"
TRACEPARENT = "traceparent"
LONGEST = 64

_IDENTIFIER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=-")
_HEX = frozenset("0123456789abcdef")
_VERSION, _TRACE, _SPAN, _FLAGS, _WHOLE = 2, 32, 16, 2, 55


def identifier(text: str) -> str:
    """Return an identifier from outside, empty when it has not the form of one, or looks like a secret."""
    text = text.strip()
    if not (0 < len(text) <= LONGEST and _IDENTIFIER.issuperset(text)):
        return ""
    from roadworthy.log.redact import redact

    return text if redact(text) == text else ""


def parse_traceparent(text: str) -> tuple[str, str, str] | None:
    """Return trace, parent span and flags of a ``traceparent``, None when it is not a valid one."""
    text = text.strip()
    parts = text.split("-")
    if len(text) < _WHOLE or len(parts) < 4:  # noqa: PLR2004 - version, trace, span, flags
        return None
    version, trace, span, flags = parts[:4]
    sizes = (len(version), len(trace), len(span), len(flags))
    if sizes != (_VERSION, _TRACE, _SPAN, _FLAGS) or not _HEX.issuperset(version + trace + span + flags):
        return None
    if version == "ff" or trace == "0" * _TRACE or span == "0" * _SPAN:
        return None
    if version == "00" and len(parts) != 4:  # noqa: PLR2004 - as above; later versions may have more
        return None
    return trace, span, flags


def format_traceparent(trace: str, span: str, flags: str = "00") -> str:
    """Return the header's value; empty when the identifiers are none that it may hold."""
    made = f"00-{trace}-{span}-{flags}"
    return made if parse_traceparent(made) else ""


def from_headers(request_id: str = "", traceparent: str = "") -> Bound | None:
    """Return what a request's headers bind, None when there is nothing in them that is valid.

    The request gets a span of its own; the trace and its flags are those of the caller.
    """
    given = identifier(request_id) if request_id else ""
    parsed = parse_traceparent(traceparent) if traceparent else None
    if parsed is not None:
        trace, _parent, flags = parsed
        return Bound(given or trace, "", trace, os.urandom(8).hex(), flags)
    return Bound(given) if given else None


def to_headers(bound: Bound) -> list[tuple[str, str]]:
    """Return the headers that carry ``bound``, to who is asked next and back to who asked."""
    made = []
    if bound.correlation:
        made.append((REQUEST_ID, bound.correlation))
    if bound.trace and (value := format_traceparent(bound.trace, bound.span, bound.flags)):
        made.append((TRACEPARENT, value))
    return made
