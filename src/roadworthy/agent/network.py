"""Looks at dependencies over the network: TCP, HTTP, Redis, PostgreSQL. Passwords never show.

A look never raises for a dependency's failure: that is its answer. What could not be verified is *unknown*, and says
what is missing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from roadworthy.agent.outcome import Outcome
from roadworthy.log.redact import redact
from roadworthy.types import Status

_ANSWER: Final = 4096
_CLIENT_ERROR: Final = 400
_REDIRECT: Final = 300


async def tcp(address: str, port: int) -> Outcome:
    """Open and close a connection."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        return Outcome(Status.UNHEALTHY, f"{address}:{port} {_refused(error)}")
    await _close(writer)
    return Outcome(Status.OK, f"{address}:{port} accepts connections")


async def http(url: SplitResult) -> Outcome:
    """GET a URL: 2xx is well.

    A redirect is not followed: within the host it is an answer, to another it is a failure.
    """
    where = f"{url.scheme}://{url.hostname}{':' + str(url.port) if url.port else ''}{url.path or '/'}"
    secure = url.scheme == "https"
    try:
        reader, writer = await asyncio.open_connection(
            url.hostname, url.port or (443 if secure else 80), ssl=True if secure else None
        )
    except OSError as error:
        return Outcome(Status.UNHEALTHY, f"{where} {_refused(error)}")
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = [
            f"GET {path} HTTP/1.1",
            f"Host: {url.netloc.rpartition('@')[2]}",
            "User-Agent: roadworthy",
            "Accept: */*",
        ]
        if url.username is not None:
            from base64 import b64encode

            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            head.append(f"Authorization: Basic {b64encode(pair.encode()).decode()}")
        writer.write(("\r\n".join([*head, "Connection: close"]) + "\r\n\r\n").encode())
        await writer.drain()
        status, location = await _http_head(reader)
    except asyncio.IncompleteReadError:
        return Outcome(Status.UNHEALTHY, f"{where} hung up without an answer")
    except (OSError, ValueError, asyncio.LimitOverrunError) as error:
        return Outcome(Status.UNHEALTHY, f"{where} does not speak HTTP: {error}")
    finally:
        await _close(writer)
    if status >= _CLIENT_ERROR:
        return Outcome(Status.UNHEALTHY, f"{where} answers {status}")
    if status >= _REDIRECT and location and urlsplit(location).hostname not in {None, url.hostname}:
        return Outcome(Status.UNHEALTHY, f"{where} answers {status} and leads to another host")
    return Outcome(Status.OK, f"{where} answers {status}")


async def _http_head(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    parts = head[0].split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdigit():  # noqa: PLR2004 - version, status
        message = f"it answers {head[0][:80]!r}"
        raise ValueError(message)
    locations = [line.partition(":")[2].strip() for line in head[1:] if line.lower().startswith("location:")]
    return int(parts[1]), locations[0] if locations else ""


async def redis(url: SplitResult) -> Outcome:
    """PING a Redis or Valkey server, after AUTH and SELECT when the URL has a password or a database."""
    where = f"{url.hostname or '127.0.0.1'}:{url.port or 6379}"
    try:
        reader, writer = await asyncio.open_connection(
            url.hostname or "127.0.0.1", url.port or 6379, ssl=True if url.scheme == "rediss" else None
        )
    except OSError as error:
        return Outcome(Status.UNHEALTHY, f"{where} {_refused(error)}")
    try:
        commands: list[list[str]] = []
        if url.password:
            user = [unquote(url.username)] if url.username else []
            commands.append(["AUTH", *user, unquote(url.password)])
        if url.path.strip("/"):
            commands.append(["SELECT", url.path.strip("/")])
        for command in [*commands, ["PING"]]:
            writer.write(_resp(command))
            await writer.drain()
            answer = (await reader.readline()).decode("utf-8", "replace").strip()
            if not answer.startswith("+"):
                said = redact(answer.lstrip("-")) or "it closed the connection"
                return Outcome(Status.UNHEALTHY, f"{where} refuses {command[0]}: {said}")
    except (OSError, ValueError) as error:
        return Outcome(Status.UNHEALTHY, f"{where} broke off: {error}")
    finally:
        await _close(writer)
    return Outcome(Status.OK, f"{where} answers PING")


def _resp(words: list[str]) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


async def postgresql(url: SplitResult) -> Outcome:
    """Run ``SELECT 1``: through psycopg when it is installed, else by the protocol when no password is asked for.

    Where a password is asked for and psycopg is missing the answer is unknown: it is reachable, not verified.
    """
    try:
        import psycopg
    except ImportError:
        return await _postgresql_plain(url)
    where = f"{url.hostname or 'localhost'}:{url.port or 5432}"
    address = url._replace(scheme="postgresql").geturl()  # without SQLAlchemy's "+psycopg"

    def select() -> Outcome:
        try:
            with psycopg.connect(address, connect_timeout=5, autocommit=True) as connection:
                connection.execute("SELECT 1").fetchone()
        except psycopg.Error as error:
            lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
            return Outcome(Status.UNHEALTHY, f"{where}: {lines[0]}")
        return Outcome(Status.OK, f"{where} answers SELECT 1")

    return await asyncio.to_thread(select)


async def _postgresql_plain(url: SplitResult) -> Outcome:
    where = f"{url.hostname or 'localhost'}:{url.port or 5432}"
    user = unquote(url.username or os.environ.get("USER", "postgres"))
    database = url.path.strip("/") or user
    try:
        reader, writer = await asyncio.open_connection(url.hostname or "localhost", url.port or 5432)
    except OSError as error:
        return Outcome(Status.UNHEALTHY, f"{where} {_refused(error)}")
    try:
        said = "".join(f"{key}\0{value}\0" for key, value in (("user", user), ("database", database))).encode() + b"\0"
        writer.write(struct.pack("!II", 8 + len(said), 196_608) + said)
        await writer.drain()
        return await _postgresql_answer(reader, writer, where)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(Status.UNHEALTHY, f"{where} does not speak PostgreSQL's protocol: {_said(error)}")
    finally:
        await _close(writer)


async def _postgresql_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> Outcome:
    asked = False
    while True:
        kind, body = await _postgresql_message(reader)
        if kind == b"E":
            return Outcome(Status.UNHEALTHY, f"{where}: {_postgresql_error(body)}")
        if kind == b"R" and struct.unpack_from("!I", body)[0] != 0:
            return Outcome(
                Status.UNKNOWN, f"{where} is reachable and asks for a password; not verified: psycopg is missing"
            )
        if kind == b"Z" and not asked:
            query = b"SELECT 1\0"
            writer.write(b"Q" + struct.pack("!I", 4 + len(query)) + query)
            await writer.drain()
            asked = True
        elif kind == b"D":
            return Outcome(Status.OK, f"{where} answers SELECT 1")


async def _postgresql_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!I", await reader.readexactly(4))
    if kind not in b"ERKSZTDCNX" or not 4 <= length <= 1 << 20:  # noqa: PLR2004 - a length counts itself
        message = f"it answers {kind!r}"
        raise ValueError(message)
    return kind, await reader.readexactly(length - 4)


def _said(error: Exception) -> str:
    return "it closed the connection" if isinstance(error, asyncio.IncompleteReadError) else str(error)


def _postgresql_error(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return redact(fields.get(b"M", "it refused the connection"))


def _refused(error: OSError) -> str:
    match error.errno:
        case errno.ECONNREFUSED:
            return "refuses connections"
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return "cannot be reached"
        case _:
            return f"cannot be connected to: {error.strerror or error}"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return
