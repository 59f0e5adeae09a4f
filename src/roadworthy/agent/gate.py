"""Who may ask the operations API for what: hosts, origins, tokens, sizes. In front of everything that answers.

The API can restart a program and shows its errors, and every page in the user's browser can send requests to loopback.
So:

- the Host header must be a loopback name, an address, or configured, else a foreign name could be pointed here (DNS
  rebinding);
- a request that another site's page made is refused, except following a link;
- reading needs the token unless the server listens on loopback only; changing something always needs it;
- a change from a browser also needs the page's CSRF value and the same origin;
- sizes, counts and times are bounded.

Every refusal is one ``application/problem+json`` document that says what to do and repeats nothing secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from roadworthy.errors import problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 64 * 1024
MOST_PATH = 1024
MOST_QUERY = 8 * 1024
MOST_HEADERS = 64
MOST_HEADER_BYTES = 16 * 1024
BODY_TIMEOUT = 10.0
CLOSE = ((b"connection", b"close"),)
_SECURITY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST})
"""Refusals that somebody who watches over security wants to see: token, origin, CSRF value, host."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
PROBLEM_TYPE = b"application/problem+json"

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


@dataclass(eq=False)
class Denied(Exception):
    """A request that goes no further."""

    status: int
    code: str
    detail: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate goes by; ``public`` paths answer without login wherever the server listens."""

    token: str
    loopback: bool = True
    hosts: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()

    @property
    def csrf(self) -> str:
        """Return the value that pages send back; it tells nothing about the token."""
        return hmac.new(self.token.encode(), b"roadworthy csrf", hashlib.sha256).hexdigest()


def judge(rules: Rules, method: str, path: str, headers: dict[str, str]) -> bool:
    """Return whether the request may see data; raises :class:`Denied` when it may not go on. Pure."""
    _check_host(rules, headers.get("host", ""))
    _check_site(method, headers)
    known = _token_fits(rules, headers)
    if method not in SAFE_METHODS:
        if not known:
            raise _no_token("Changing something needs the token.")
        _check_page(rules, headers)
        return True
    if rules.loopback or known:
        return True
    if path in rules.public:
        return False
    raise _no_token("Reading from here needs the token, because this server does not listen on loopback only.")


class Gate:
    """The ASGI application that stands in front of another; ``refused`` is told code, path and address of refusals."""

    def __init__(self, app: App, rules: Rules, refused: Callable[[str, str, str], object] | None = None) -> None:
        self._app = app
        self._rules = rules
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge the request, bound its body and its answer, and pass it on."""
        if scope["type"] != "http":
            message = f"this server speaks HTTP, not {scope['type']}"
            raise NotImplementedError(message)
        guarded = _Answer(send)
        try:
            _check_size(scope)
            headers = _fold(scope["headers"])
            reader = judge(self._rules, scope["method"], scope["path"], headers)
            body = await _body(headers, receive)
        except Denied as denied:
            if self._refused is not None and denied.status in _SECURITY:
                client = scope.get("client")
                self._refused(denied.code, str(scope["path"])[:200], f"api, {client[0] if client else 'unknown'}")
            await refuse(guarded, denied, head=scope["method"] == "HEAD")
            return
        scope["roadworthy.reader"] = reader
        scope["roadworthy.csrf"] = self._rules.csrf
        await self._app(scope, _Replay(body, receive), guarded)


class _Answer:
    """Sends with our headers."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            present = {name.lower() for name, _ in given}
            message = {**message, "headers": [*given, *(header for header in HEADERS if header[0] not in present)]}
        await self._send(message)


class _Replay:
    """Gives the body that was read already, then what the server says next (that the client went)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


async def refuse(send: Send, denied: Denied, *, head: bool = False) -> None:
    """Send the refusal as a problem document."""
    body = document(denied.status, denied.code, denied.detail, denied.hint)
    headers = [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(body)), *denied.headers]
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def document(status: int, code: str, detail: str, hint: str = "") -> bytes:
    """Return a problem document as bytes."""
    return json.dumps(problem(status, HTTPStatus(status).phrase, code, detail, hint), ensure_ascii=False).encode()


# -- the rules one by one


def host_of(header: str) -> str:
    """Return the host without its port, in lower case and without the brackets of IPv6; empty when it is malformed."""
    host = header.strip().lower()
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or (port[0] == ":" and port[1:].isdigit())) else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdigit() else ""


def is_loopback(host: str) -> bool:
    """Return whether this host name or address is this machine and no other can reach it."""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _check_host(rules: Rules, header: str) -> None:
    """Refuse foreign names: a name can be pointed anywhere by whoever owns it, an address cannot."""
    host = host_of(header)
    if is_loopback(host) or host.rstrip(".") in rules.hosts or "*" in rules.hosts:
        return
    if not rules.loopback and _address(host) is not None:
        return
    raise Denied(
        421,
        "foreign-host",
        f"This server does not answer for the host {header[:80]!r}." if header else "The request has no Host header.",
        "Use the address that `roadworthy status` shows, or allow the name with --allow-host.",
    )


def _check_site(method: str, headers: dict[str, str]) -> None:
    if headers.get("sec-fetch-site") == "cross-site" and not (
        method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
    ):
        raise Denied(403, "foreign-origin", "Another site's page made this request.", "Open the dashboard itself.")


def _token_fits(rules: Rules, headers: dict[str, str]) -> bool:
    given = headers.get("authorization")
    if given is None:
        return False
    scheme, _, value = given.partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), rules.token.encode()) and rules.token:
        return True
    raise _no_token("The token is wrong.")


def _no_token(detail: str) -> Denied:
    hint = "Send `Authorization: Bearer <token>`; the token is in the file `token` in the program's run directory."
    return Denied(401, "no-token", detail, hint, ((b"www-authenticate", b'Bearer realm="roadworthy"'),))


def _check_page(rules: Rules, headers: dict[str, str]) -> None:
    """Refuse what carries headers that only browsers send and does not come from our own page."""
    if not any(name in headers for name in ("origin", "referer", "cookie", "sec-fetch-site", "sec-fetch-mode")):
        return
    origin, host = headers.get("origin", ""), headers.get("host", "").lower()
    if origin.lower() not in {f"http://{host}", f"https://{host}"}:
        raise Denied(
            403,
            "foreign-origin",
            f"A request from {origin[:80]!r} may not change anything.",
            "Use the dashboard itself.",
        )
    if not hmac.compare_digest(headers.get("x-roadworthy-csrf", "").encode(), rules.csrf.encode()):
        raise Denied(
            403, "no-csrf", "The CSRF value is missing or wrong.", "Load the dashboard again and repeat what you did."
        )


def _check_size(scope: Scope) -> None:
    if len(scope.get("raw_path") or b"") > MOST_PATH or len(scope["path"]) > MOST_PATH:
        raise Denied(414, "path-too-long", f"The path is longer than {MOST_PATH} bytes.", headers=CLOSE)
    if len(scope.get("query_string", b"")) > MOST_QUERY:
        raise Denied(
            414, "query-too-long", f"The query is longer than {MOST_QUERY} bytes.", "Ask for fewer things at once."
        )
    if len(scope["headers"]) > MOST_HEADERS:
        raise Denied(431, "too-many-headers", f"There are more than {MOST_HEADERS} headers.", headers=CLOSE)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
        raise Denied(431, "headers-too-large", f"The headers are larger than {MOST_HEADER_BYTES} bytes.", headers=CLOSE)
    if scope.get("http_version") not in {"1.0", "1.1"}:
        raise Denied(505, "wrong-version", "This server speaks HTTP/1.1.", headers=CLOSE)


def _fold(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by lower-case name; what must be unique and is not is refused."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name in found and name in {
            "host",
            "authorization",
            "origin",
            "content-length",
            "content-type",
            "x-roadworthy-csrf",
        }:
            raise Denied(400, "repeated-header", f"The header {name!r} came twice.")
        found[name] = value.decode("latin-1")
    return found


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    """Return the whole body; it may be small and JSON, and must arrive soon."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Denied(400, "two-lengths", "The request says its length in two ways.", headers=CLOSE)
    length = headers.get("content-length", "0").strip()
    if not (length.isascii() and length.isdigit()) and length:
        raise Denied(400, "bad-length", f"Content-Length cannot be {length[:40]!r}.")
    if length in {"", "0"} and "transfer-encoding" not in headers:
        return b""
    too_large = Denied(413, "body-too-large", f"The body is larger than {MOST_BODY} bytes.", headers=CLOSE)
    if len(length) > len(str(MOST_BODY)) + 1 or int(length or 0) > MOST_BODY:
        raise too_large
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                body += bytes(message.get("body", b""))
                if len(body) > MOST_BODY:
                    raise too_large
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_TIMEOUT:.0f} s."
        raise Denied(408, "body-too-slow", detail, headers=CLOSE) from None
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media != "application/json":
        raise Denied(415, "wrong-type", f"The body is {media[:60] or 'of no stated type'}, not application/json.")
    return body
