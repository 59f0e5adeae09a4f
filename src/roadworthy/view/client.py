"""How the command line asks a running agent: by its address and token from the run directory, over loopback.

Standard library only, so that ``roadworthy status`` answers at once.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from roadworthy.arena.identity import boot_id, is_alive
from roadworthy.config.places import Places, arena_root, places, run_root
from roadworthy.errors import NotFound, NotRunning, Refused, RoadworthyError, Temporary, Unavailable, UsageError

TIMEOUT = 5.0
STREAM_TIMEOUT = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
MOST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent's address."""

    app: str
    url: str
    token: str
    timeout: float = TIMEOUT
    """Seconds that an answer may take."""

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON answer; raises :class:`Unavailable` when there is none, :class:`Refused` for a wrong token.

        :class:`Temporary` tells that the agent has measured nothing yet.
        """
        return self._ask("GET", path, query)

    def post(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON value
        """Have something changed and return the JSON answer; raises as :meth:`get`.

        Of what the agent refuses, a wrong value is :class:`UsageError`, an unknown name :class:`NotFound`, and what was
        done a moment ago :class:`Temporary`.
        """
        return self._ask("POST", path, query)

    def delete(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON value
        """Have something undone and return the JSON answer; raises as :meth:`post`."""
        return self._ask("DELETE", path, query)

    def events(self, after: int = 1) -> Iterator[list[dict[str, Any]]]:
        """Yield the flight recorder's events behind the running id ``after``, then each second what is new, for ever.

        The first list is what the agent has kept, which may be nothing. Raises as :meth:`get`.
        """
        found = urlsplit(self.url)
        connection = http.client.HTTPConnection(found.hostname or "127.0.0.1", found.port or 80, timeout=STREAM_TIMEOUT)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Last-Event-ID": str(after)}
            connection.request("GET", "/api/events", headers=headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                self._judge(answer.status, answer.read(MOST_ANSWER))
            kind, first, shots = "", True, 0
            while line := answer.readline(MOST_ANSWER):
                name, _, data = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
                if name == "event":
                    kind = data
                    shots += kind == "snapshot"
                    if first and shots > 1:  # a second has passed and it has told of none: there were none
                        first = False
                        yield []
                elif name == "data" and kind == "events":
                    first = False
                    yield json.loads(data)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the agent of {self.app} does not answer at {self.url}",
                why=f"{type(error).__name__}: {error}".rstrip(": ") + ".",
                hint="It is restarted by itself; ask again in a few seconds.",
            ) from error
        finally:
            connection.close()

    def _ask(self, method: str, path: str, query: Mapping[str, object]) -> Any:  # noqa: ANN401 - any JSON value
        found = urlsplit(self.url)
        if query:
            path = f"{path}?{urlencode(query)}"
        connection = http.client.HTTPConnection(found.hostname or "127.0.0.1", found.port or 80, timeout=self.timeout)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
            if method != "GET":
                headers["X-Roadworthy-Actor"] = user()
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(MOST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the agent of {self.app} does not answer at {self.url}",
                why=f"{type(error).__name__}: {error}".rstrip(": ") + ".",
                hint="It is restarted by itself, one that hangs after half a minute; ask again then.",
            ) from error
        finally:
            connection.close()
        return self._judge(answer.status, body)

    def _judge(self, status: int, body: bytes) -> Any:  # noqa: ANN401 - any JSON value
        try:
            document = json.loads(body)
        except ValueError as error:
            message = f"what answers at {self.url} is not the agent of {self.app}"
            raise Unavailable(
                message, why="Its answer is no JSON.", hint="Another program may have its port; restart the agent."
            ) from error
        if status in {http.client.OK, http.client.ACCEPTED}:
            return document
        detail, hint = (str(document.get(key, "")) if isinstance(document, dict) else "" for key in ("detail", "hint"))
        if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise Refused(
                f"the agent of {self.app} refused", why=detail, hint="Run this as the user that runs the program."
            )
        if status == http.client.SERVICE_UNAVAILABLE:
            raise Temporary(f"the agent of {self.app} cannot tell yet", why=detail, hint="Ask again in a second.")
        refused = _REFUSED.get(status)
        if refused is not None and detail:
            raise refused(detail, hint=hint)
        raise Unavailable(f"the agent of {self.app} answered {status}", why=detail)


_REFUSED: dict[int, type[RoadworthyError]] = {
    http.client.BAD_REQUEST: UsageError,
    http.client.NOT_FOUND: NotFound,
    http.client.CONFLICT: Unavailable,
    http.client.TOO_MANY_REQUESTS: Temporary,
    http.client.NOT_IMPLEMENTED: Unavailable,
}
"""What the agent refused, by its status; the words are the agent's own."""


def user() -> str:
    """Return the name of the user that asks, for the audit trail; the number where there is no name."""
    import pwd

    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def running(environ: dict[str, str] | None = None, living: Callable[[Places], bool] | None = None) -> list[str]:
    """Return the names of the applications of which something lives; ``living`` decides, :func:`lives` if not given."""
    env = dict(os.environ) if environ is None else environ
    names = sorted({*_entries(run_root(env)), *_entries(arena_root(env))})
    return [name for name in names if NAME.match(name) and (living or lives)(places(name, env))]


def lives(place: Places) -> bool:
    """Return whether anything of the application lives: an agent, a keeper or a process with an arena."""
    for name in ("agent.json", "keeper.json"):
        try:
            described = read_json(place.run / name)
        except Unavailable:
            return True  # somebody is just writing it, or it is broken: either is for the one who asks to see
        if described is not None and (alive(described) or any(alive(slot) for slot in described.get("slots") or ())):
            return True
    return any(_arena_alive(name) for name in _entries(place.arena))


def alive(described: Mapping[str, Any]) -> bool:
    """Return whether the process that a file tells of still runs; the boot id is asked where the file has one."""
    boot, pid, ticks = described.get("boot_id") or boot_id(), described.get("pid"), described.get("start_ticks")
    return isinstance(boot, str) and isinstance(pid, int) and isinstance(ticks, int) and is_alive(boot, pid, ticks)


def _arena_alive(name: str) -> bool:
    """Return whether the process that an arena file is named for still runs."""
    parts = name.removesuffix(".arena").split("-")
    if not name.endswith(".arena") or len(parts) < 4 or not (parts[1].isdigit() and parts[2].isdigit()):  # noqa: PLR2004 - FORMAT.md
        return False
    boot = boot_id()
    return boot.startswith(parts[0]) and is_alive(boot, int(parts[1]), int(parts[2]))


def _entries(directory: Path) -> list[str]:
    """Return the visible names in a directory; none when it is not there."""
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]  # noqa: PTH208 - names are wanted
    except (FileNotFoundError, NotADirectoryError):
        return []


def choose(
    name: str | None, environ: dict[str, str] | None = None, living: Callable[[Places], bool] | None = None
) -> Places:
    """Return the directories of the named application, or of the only one that there is; ``living`` as above.

    Raises :class:`NotRunning` when there is none, :class:`UsageError` when there are several and none was named.
    """
    if name is not None and (living or lives)(found := places(name, environ)):
        return found
    known = running(environ, living)
    if name is None and len(known) == 1:
        return places(known[0], environ)
    if name is None and known:
        raise UsageError(
            "which application?",
            why=f"{len(known)} are running: {', '.join(known)}.",
            hint=f"Name one, for example: {known[0]}",
        )
    raise NotRunning(
        "nothing is running" if name is None else f"{name} is not running",
        why=f"Running now: {', '.join(known)}." if known else "There is no application of this user.",
        hint="Start it with: roadworthy run -- COMMAND",
    )


def connect(place: Places) -> Agent | None:
    """Return the application's agent, or None when none is running.

    Raises :class:`Unavailable` when its files cannot be read and :class:`Refused` when its address is not this machine.
    """
    described = read_json(place.run / "agent.json")
    if described is None or not alive(described):
        return None
    url, token_file = str(described.get("url", "")), Path(str(described.get("token_file") or place.run / "token"))
    if token_file.parent != place.run or not _local(url):
        raise Refused(
            f"agent.json of {place.app} points elsewhere",
            why="The token would be sent to somebody else.",
            hint="Restart the agent.",
        )
    try:
        token = token_file.read_text("ascii").strip()
    except OSError as error:
        raise Unavailable(
            f"cannot read the token of {place.app}",
            why=f"{error.strerror}.",
            hint="Run this as the user that runs the program.",
        ) from error
    return Agent(place.app, url, token)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file, or None when there is no file; raises :class:`Unavailable` for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"cannot read {path.name}", why=f"{type(error).__name__}: {error}.", hint="Is the agent just starting?"
        ) from error
    if not isinstance(found, dict):
        raise Unavailable(f"cannot read {path.name}", why="It holds no object.", hint="Restart the agent.")
    return found


def _local(url: str) -> bool:
    """Return whether the address is one of this machine's own: the token goes nowhere else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((parts.hostname, 0))
    except OSError:
        return False
    return True
