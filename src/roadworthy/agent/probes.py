"""What a built-in check does: one look at a dependency, answered with a status and a sentence. Passwords never show.

A probe never raises for a dependency's failure: that is its answer. What could not be verified is *unknown*, and says
what is missing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import struct
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from roadworthy.agent import host
from roadworthy.errors import ConfigurationError
from roadworthy.log.redact import redact
from roadworthy.types import Status

DISK_WARN: Final = 85.0
DISK_FULL: Final = 98.0
MEMORY_WARN: Final = 80.0
MEMORY_FULL: Final = 97.0
CPU_WARN: Final = 70.0
_WRITE_TEST: Final = b"roadworthy wrote this to see that it can\n" * 100
_ANSWER: Final = 4096
_CLIENT_ERROR: Final = 400
_REDIRECT: Final = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look found."""

    status: Status
    detail: str


Probe = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class InThread:
    """A probe that blocks, in a thread; it cannot be cancelled, so it is left to end and not started a second time."""

    act: Callable[[Path], Outcome]
    path: Path

    async def __call__(self) -> Outcome:
        """Run it in a thread of the default executor."""
        return await asyncio.to_thread(self.act, self.path)


def probe_for(target: str) -> Probe:  # noqa: PLR0911 - one line per scheme
    """Return the probe for a target: a URL (http, https, tcp, sqlite, postgresql, redis, dir, disk, env) or a path.

    Raises :class:`ConfigurationError` for a target that no probe understands.
    """
    scheme = target.partition("://")[0].lower().partition("+")[0] if "://" in target else ""  # "+psycopg": a driver
    url = urlsplit(target)
    match scheme:
        case "http" | "https":
            return lambda: http(url)
        case "tcp":
            _need_port(target, url)
            return lambda: tcp(url.hostname or "127.0.0.1", url.port or 0)
        case "sqlite":
            return InThread(sqlite, _path_of(target))
        case "postgresql" | "postgres":
            return lambda: postgresql(url)
        case "redis" | "rediss" | "valkey":
            return lambda: redis(url)
        case "env":
            return lambda: environment(target.partition("://")[2])
        case "dir" | "file":
            return InThread(directory, _path_of(target))
        case "disk":
            return InThread(disk, _path_of(target))
        case "" if target.startswith(("/", ".", "~")):
            return InThread(directory, Path(target).expanduser())
        case _:
            raise ConfigurationError(
                f"no built-in check understands {redact(target)!r}",
                why="It is a path, or a URL of http, https, tcp, sqlite, postgresql, redis, dir, disk or env",
                hint="For example: --check database=postgresql://localhost/app",
            )


def _need_port(target: str, url: SplitResult) -> None:
    try:
        port = url.port
    except ValueError:
        port = None
    if not port:
        raise ConfigurationError(f"{redact(target)!r} names no port", hint="Write tcp://HOST:PORT.")


def _path_of(target: str) -> Path:
    """Return the path of ``scheme:///absolute`` or ``scheme://relative``.

    SQLAlchemy writes four slashes for absolute ones.
    """
    rest = target.partition("://")[2].partition("?")[0]
    return Path("/" + rest.lstrip("/")) if rest.startswith("/") else Path(rest)


# -- this machine


def disk(path: Path) -> Outcome:
    """Look at the space of the file system that holds ``path``.

    Above 85 % it warns, above 98 % it is as good as full.
    """
    total, used = host.space(str(path))
    if not total or used is None:
        return Outcome(Status.UNKNOWN, f"the file system of {path} cannot be asked")
    percent = used / total * 100.0
    left = (total - used) / (1 << 30)
    text = f"{percent:.0f} % used, {left:.1f} GiB left"
    if percent >= DISK_FULL:
        return Outcome(Status.UNHEALTHY, f"full: {text}")
    return Outcome(Status.DEGRADED if percent >= DISK_WARN else Status.OK, text)


def writable(path: Path) -> Outcome:
    """Really write, sync and remove a small file: a full or read-only disk looks well until somebody writes."""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".roadworthy-") as file:
            file.write(_WRITE_TEST)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = "no space left" if error.errno in {errno.ENOSPC, errno.EDQUOT} else (error.strerror or str(error)).lower()
        return Outcome(Status.UNHEALTHY, f"cannot write to {path}: {why}")
    return Outcome(Status.OK, "a file was written and removed")


def storage(path: Path) -> Outcome:
    """Look at space first, then write; the worse of the two answers."""
    space = disk(path)
    wrote = writable(path)
    return wrote if wrote.status is not Status.OK else space


def directory(path: Path) -> Outcome:
    """See that ``path`` is a directory that we may read and write, or a file that we may read."""
    if path.is_file():
        readable = os.access(path, os.R_OK)
        return Outcome(Status.OK, "readable") if readable else Outcome(Status.UNHEALTHY, f"{path} cannot be read")
    if not path.is_dir():
        return Outcome(Status.UNHEALTHY, f"{path} does not exist")
    return writable(path)


def memory(percent: float | None, limit: int | None, cpu: float | None = None) -> Outcome:
    """Judge the memory in use (and CPU) as last sampled against 80 % (C-09) and 97 %."""
    if percent is None:
        return Outcome(Status.UNKNOWN, "memory was not measured yet")
    of = f" of {limit / (1 << 30):.1f} GiB" if limit else ""
    text = f"{percent:.0f} %{of} used" + (f", CPU {cpu:.0f} %" if cpu is not None else "")
    if percent >= MEMORY_FULL:
        return Outcome(Status.UNHEALTHY, text)
    return Outcome(Status.DEGRADED if percent >= MEMORY_WARN else Status.OK, text)


def sqlite(path: Path) -> Outcome:
    """Open a database read-only and read from it.

    Its structure is checked as far as a hundred problems or two million steps.
    """
    if not path.exists():
        return Outcome(Status.UNHEALTHY, f"{path} does not exist")
    steps = 0

    def enough() -> int:
        nonlocal steps
        steps += 1
        return int(steps > 200)  # noqa: PLR2004 - of ten thousand instructions each

    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.set_progress_handler(enough, 10_000)
            (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Outcome(Status.OK, "readable; too large to be checked as a whole")
        return Outcome(Status.UNHEALTHY, f"cannot be read: {error}")
    except sqlite3.DatabaseError as error:
        return Outcome(Status.UNHEALTHY, f"broken: {error}")
    return (
        Outcome(Status.OK, "readable and whole") if problem == "ok" else Outcome(Status.UNHEALTHY, f"broken: {problem}")
    )


async def environment(names: str) -> Outcome:
    """See that variables (``env://SECRET_KEY,DATABASE_URL``) are set and not empty; values are never shown.

    The program was given the environment that we were given.
    """
    wanted = [name for name in names.strip("/").split(",") if name]
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing or not wanted:
        return Outcome(Status.UNHEALTHY, f"not set: {', '.join(missing)}" if wanted else "no variable is named")
    return Outcome(Status.OK, f"set: {', '.join(wanted)}")


# -- the network


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
